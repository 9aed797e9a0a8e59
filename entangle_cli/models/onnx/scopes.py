"""Which module calls an ONNX node lies in, as the two torch exporters write it down.

The TorchScript exporter puts the path into the node's name (``/layer1/layer1.0/conv1/Conv``), the
dynamo exporter into its metadata. Both leave out when a module is called again; the second use of
its first weight, or a second visit to a module without weights, tells.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entangle_cli.models.oplist import Frame

if TYPE_CHECKING:
    import onnx

_DYNAMO_KEY = "pkg.torch.onnx.name_scopes"
_REPEATED = re.compile(r"(.+)_\d+")


@dataclass
class Visit:
    """Where one operation lies: its module paths, outermost first, and the weight it applies.

    ``weight`` is the weight's name and the kind of operation. ``exact`` paths are the modules'
    own; others may be numbered for a further call.
    """

    paths: list[str]
    weight: tuple[str, str] | None = None
    exact: bool = False

    @property
    def lead(self) -> tuple[str, str, str] | None:
        """What tells that a module starts anew: this weight, used like this, at this place.

        The place counts because exporters store equal weights of different modules once.
        """
        return (*self.weight, self.paths[-1]) if self.weight and self.paths else None


def module_paths(node: "onnx.NodeProto") -> list[str]:
    """Paths of the modules a node lies in, outermost first; empty where no exporter left any."""
    scopes = _dynamo_scopes(node)
    if scopes is not None:
        return [s for s in scopes[:-1] if s and not s.startswith("_empty")]
    return _slash_paths(node.name)


def has_exact_paths(node: "onnx.NodeProto") -> bool:
    """Whether the paths of a node are the modules' own, without numbers for further calls."""
    return _dynamo_scopes(node) is not None


def is_normalized(node: "onnx.NodeProto") -> bool:
    """Whether an exporter folded a batch normalisation into this node's weights.

    The dynamo exporter gives such a node the scope of the normalisation; the TorchScript exporter
    replaces weight and bias by unnamed ones.
    """
    scopes = _dynamo_scopes(node)
    if scopes is not None:
        return bool(scopes) and "batch_norm" in scopes[-1]
    folded = [name.startswith("onnx::Conv") for name in node.input[1:3]]
    return node.name.startswith("/") and len(folded) == 2 and all(folded)


def _dynamo_scopes(node: "onnx.NodeProto") -> list[str] | None:
    for entry in node.metadata_props:
        if entry.key == _DYNAMO_KEY:
            try:
                scopes = ast.literal_eval(entry.value)
            except (ValueError, SyntaxError):
                return None
            return [str(s) for s in scopes] if isinstance(scopes, list) else None
    return None


def _slash_paths(name: str) -> list[str]:
    """Module paths in a name like ``/layer1/layer1.0/conv1/Conv``.

    An element that continues the one before it (``layer1.0`` after ``layer1``) replaces it.
    """
    paths: list[str] = []
    path = previous = ""
    if not name.startswith("/"):
        return paths
    for element in name.split("/")[1:-1]:
        if previous and element.startswith(f"{previous}.") and path.endswith(previous):
            path = path[: len(path) - len(previous)] + element
        else:
            path = f"{path}.{element}" if path else element
        paths.append(path)
        previous = element
    return paths


def merge_repeats(visits: Sequence[Visit], weight_names: Iterable[str]) -> None:
    """Give further calls of a module its path again: ``block_1.lin`` becomes ``block.lin``.

    The TorchScript exporter numbers them. A numbered path is a further call if the bare path
    exists and no weight belongs to the numbered one.
    """
    known = {path for visit in visits for path in visit.paths}
    owners = _owners(visits, weight_names)
    merged = {path: _merged(path, known, owners) for path in known}
    for visit in visits:
        if not visit.exact:
            visit.paths = [merged[path] for path in visit.paths]


def _owners(visits: Sequence[Visit], weight_names: Iterable[str]) -> set[str]:
    """Paths that own weights: by the weights' names, else as the first to apply one."""
    owned = [name.rpartition(".")[0] for name in weight_names if not name.startswith("onnx::")]
    first_user: dict[str, str] = {}
    for visit in visits:
        if visit.weight and visit.paths and visit.weight[0].startswith("onnx::"):
            first_user.setdefault(visit.weight[0], visit.paths[-1])
    owners: set[str] = set()
    for path in (*owned, *first_user.values()):
        while path and path not in owners:
            owners.add(path)
            path = path.rpartition(".")[0]
    return owners


def _merged(path: str, known: set[str], owners: set[str]) -> str:
    parts = path.split(".")
    for i, part in enumerate(parts):
        repeated = _REPEATED.fullmatch(part)
        if repeated and ".".join(parts[: i + 1]) not in owners:
            bare = ".".join([*parts[:i], repeated.group(1)])
            if bare in known:
                parts[i] = repeated.group(1)
    return ".".join(parts)


class _CallCounter:
    """Counts the calls of one module along the operations inside it."""

    def __init__(self, leading_stays: set[int] | None):
        self.leading_stays = leading_stays
        self.stay = -1
        self.applied = 0
        self.occurrence = -1

    def visit(self, stay: int, leads: bool) -> int:
        """The occurrence of an operation in ``stay``; ``leads`` if it applies the first weight."""
        if stay != self.stay:
            self.stay = stay
            if self.leading_stays is None:
                self.occurrence += 1
            elif stay in self.leading_stays:
                self.occurrence = self.applied
            else:  # a detour: other work was scheduled in between
                self.occurrence = max(self.applied - 1, 0)
        if leads:
            self.occurrence = self.applied
            self.applied += 1
        return self.occurrence


def number_calls(visits: Sequence[Visit]) -> list[tuple[Frame, ...]]:
    """Module calls of each operation: its paths with the occurrence that the operation is in.

    A module with weights is called as often as its first weight is applied by the same kind of
    operation; one without weights is called again whenever it is entered again.
    """
    leading: dict[str, tuple[str, str, str]] = {}
    for visit in visits:
        for path in visit.paths:
            if visit.lead:
                leading.setdefault(path, visit.lead)
    stays = _stays(visits)
    leading_stays: dict[str, set[int]] = {path: set() for path in leading}
    for visit, stay in zip(visits, stays, strict=True):
        for path, number in stay.items():
            if visit.lead and leading[path] == visit.lead:
                leading_stays[path].add(number)
    counters = {
        path: _CallCounter(leading_stays.get(path)) for visit in visits for path in visit.paths
    }
    return [
        tuple(
            (path, counters[path].visit(number, v.lead is not None and leading[path] == v.lead))
            for path, number in stay.items()
        )
        for v, stay in zip(visits, stays, strict=True)
    ]


def _stays(visits: Sequence[Visit]) -> list[dict[str, int]]:
    """For each operation and path, the number of the uninterrupted stay it belongs to."""
    stays: list[dict[str, int]] = []
    current: dict[str, int] = {}
    count = 0
    for visit in visits:
        if not visit.paths:  # work that no module owns interrupts nothing
            stays.append({})
            continue
        here: dict[str, int] = {}
        for path in visit.paths:
            here[path] = current.get(path, count)
            count += here[path] == count
        current = here
        stays.append(here)
    return stays
