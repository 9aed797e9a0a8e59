"""The layers of a TorchScript network, each with the tap that reads it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from entangle_cli.errors import ModelError
from entangle_cli.models import Layer
from entangle_cli.models.kinds import SHAPE_ONLY, canonical
from entangle_cli.models.selection import name_layers
from entangle_cli.models.torchscript.graph import Site, TapGraph
from entangle_cli.models.torchscript.probe import Recording
from entangle_cli.models.torchscript.taps import Firing
from entangle_cli.text import plain, suggestion


@dataclass(frozen=True)
class Tappable:
    """A layer, the firing that brings its value, and why it cannot be read in rows, if so."""

    layer: Layer
    firing: Firing
    problem: str | None = None


class Catalog:
    """All tappable layers in execution order, found by name or alias."""

    def __init__(self, entries: Iterable[Tappable]) -> None:
        self.entries = tuple(entries)
        self.layers = tuple(entry.layer for entry in self.entries)
        self._by_name: dict[str, Tappable] = {}
        for entry in self.entries:
            self._by_name.setdefault(entry.layer.name, entry)
        for entry in self.entries:
            for alias in entry.layer.aliases:
                self._by_name.setdefault(alias, entry)

    def find(self, names: Sequence[str], model: str) -> dict[Firing, Tappable]:
        """The entries for ``names`` by firing; raises ModelError for what cannot be tapped."""
        found = {}
        for name in names:
            entry = self._by_name.get(name)
            if entry is None:
                raise ModelError(
                    f"{model} has no layer {plain(name)!r}{suggestion(name, self._by_name)}; "
                    f"`entangle layers {model}` lists them all"
                )
            if entry.problem is not None:
                raise ModelError(f"{model}, layer {plain(name)}: {entry.problem}")
            found[entry.firing] = entry
        return found


def recorded_catalog(
    graph: TapGraph,
    recording: Recording,
    rows: int,
    wider: dict[Firing, tuple[int, ...]] | None,
    notes: list[str],
) -> Catalog:
    """The layers of a probe run with ``rows`` rows.

    ``wider`` has the shapes of a run with one row more: a value whose first axis did not grow
    with the batch has no rows, and is neither default nor readable.
    """
    spelled = _operator_names(graph, recording)
    entries = []
    for named in name_layers(recording.oplist, notes):
        firing = recording.firings[recording.oplist.source[named.value]]
        shape = recording.shapes[firing]
        problem = _problem(shape, rows, wider, firing)
        if problem is not None and named.default:
            notes.append(f"layer {named.name} is left out of the default: {problem}")
        aliases = dict.fromkeys((*named.aliases, *spelled.get(firing, ())))
        aliases.pop(named.name, None)
        layer = Layer(
            named.name,
            named.kind,
            named.default and problem is None,
            shape[1:] if problem is None else None,
            tuple(aliases),
        )
        entries.append(Tappable(layer, firing, problem))
    return Catalog(entries)


def static_catalog(graph: TapGraph) -> Catalog:
    """The layers that the graph promises, for a network that no input is known for.

    Names are module paths and ``path>kind``; nothing is default, since the main flow is unknown.
    """
    count: dict[str, int] = defaultdict(int)
    entries = []
    for number, site in enumerate(graph.sites):
        kind = canonical(site.kind)
        if site.role in ("enter", "leave") or (site.role == "op" and kind in SHAPE_ONLY):
            continue
        path = "" if site.call is None else graph.calls[site.call].path
        if site.role == "op":
            name = f"{path}>{kind}"
        else:
            name, kind = path + site.kind, graph.calls[site.call].kind.lower()
        further = count[name]
        count[name] += 1
        layer = Layer(f"{name}:{further}" if further else name, kind, default=False)
        entries.append(Tappable(layer, (number, 0, 0)))
    return Catalog(entries)


def _problem(
    shape: tuple[int, ...],
    rows: int,
    wider: dict[Firing, tuple[int, ...]] | None,
    firing: Firing,
) -> str | None:
    other = None if wider is None else wider.get(firing)
    if shape[:1] != (rows,):
        seen = f"shape {list(shape)} for a batch of {rows}"
    elif other is not None and other[:1] != (rows + 1,):
        seen = f"shape {list(shape)} for a batch of {rows}, {list(other)} for {rows + 1}"
    else:
        return None
    return f"its first axis is not the batch ({seen}); choose another layer"


def _operator_names(graph: TapGraph, recording: Recording) -> dict[Firing, tuple[str, ...]]:
    """For each firing of an operator, its path and name as feature extractors spell it: relu_1."""
    count: dict[str, int] = defaultdict(int)
    names = {}
    for firing in recording.firings:
        site: Site = graph.sites[firing[0]]
        if site.role == "op" and firing[2] == 0:
            path = "" if site.call is None else graph.calls[site.call].path
            operator = site.kind.rpartition("::")[2].strip("_")
            name = f"{path}.{operator}" if path else operator
            further = count[name]
            count[name] += 1
            names[firing] = (f"{name}_{further}" if further else name,)
    return names
