"""`Model` for ONNX files, run by onnxruntime."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models import Layer
from entangle_cli.models.head import HeadSearch, LinearHead
from entangle_cli.models.head_check import Named
from entangle_cli.models.onnx.batches import Batcher, open_batcher, trial_shapes
from entangle_cli.models.onnx.file import read_file
from entangle_cli.models.onnx.head import find_head
from entangle_cli.models.onnx.session import TapSession, providers_for
from entangle_cli.models.onnx.values import as_float, conform, sample_count, widened
from entangle_cli.models.selection import NamedValue, name_layers
from entangle_cli.text import plain, suggestion

if TYPE_CHECKING:
    from entangle_cli.models import Sink

# entries per sample of the layers that are surveyed at once
_MOST_AT_ONCE = 20_000_000
# sessions kept: one for a set of layers, one for the outputs alone
_KEPT_SESSIONS = 2


@dataclass(frozen=True)
class _Tap:
    """A layer and the tensor it is read from."""

    layer: NamedValue
    tensor: str
    node: str


class OnnxModel(HeadSearch):
    """An ONNX file: layers from its static graph, values from onnxruntime.

    ``metadata`` has the key-value pairs stored in the file, ``declared`` the shapes that it gives
    for layers, by name and with the samples first. Sessions are opened when values are
    asked for, and kept for the next batch that asks for the same layers.
    """

    format: Literal["onnx"] = "onnx"

    def __init__(self, path: Path, *, device: str = "cpu", seed: int = 0):
        """Read a file; nothing is run, and nothing is random, whatever the seed.

        Raises:
            ModelError: the file is damaged, no ONNX, or lacks its external data; or the device
                is not one that this onnxruntime knows.
        """
        self.path = Path(path)
        self.device = device
        self._providers = providers_for(device)
        self._file = read_file(self.path)
        self.sha256, self.inputs = self._file.sha256, self._file.inputs
        self.metadata = self._file.metadata
        self.notes: list[str] = []
        self._taps = self._read_taps()
        known = self._file.shapes
        self.declared = {t.layer.name: known[t.tensor] for t in self._taps if known.get(t.tensor)}
        self._order = {tap: i for i, tap in enumerate(self._taps)}
        self._by_name = _lookup(self._taps)
        self._misfits: set[_Tap] = set()
        self._shapes: dict[_Tap, tuple[int | None, ...]] = {}
        self._batchers: dict[tuple[_Tap, ...], Batcher] = {}

    def layers(self, example: Sequence[np.ndarray] | None = None) -> tuple[Layer, ...]:
        """Every tappable layer in execution order.

        With ``example``, a small batch of inputs, all layers are run: their shapes become exact,
        and those without one entry per sample have none and are no longer default. A network
        that onnxruntime cannot run is listed all the same, with a note that says why.
        """
        default = tuple(tap for tap in self._taps if tap.layer.default)
        samples = None if example is None else conform(example, self.inputs)
        try:
            if samples is None:
                self._note_shapes(default)
            else:
                self._survey(default, samples)
        except ModelError as error:
            reason = str(error).removeprefix(f"{self.path}: ")
            self._note(f"the layers are listed, but the model {reason}")
        return tuple(self._layer(tap) for tap in self._taps)

    def run(
        self, inputs: Sequence[np.ndarray], layers: Sequence[str], sink: "Sink"
    ) -> list[np.ndarray]:
        """Run one batch of any size: each layer goes to ``sink`` once, in execution order.

        Returns the outputs that are tensors, half precision as float32; sequences and maps are
        left out.

        Raises:
            ModelError: onnxruntime cannot run the network, the inputs do not fit, there is no
                such layer, or a layer does not have one entry per sample.
        """
        taps = tuple(sorted({self._find(name) for name in layers}, key=self._order.__getitem__))
        arrays = conform(inputs, self.inputs)
        batcher = self._batcher(taps, arrays)
        outputs = [n for n in self._file.outputs if n in batcher.session.types]
        results = batcher.run(arrays, [*(tap.tensor for tap in taps), *outputs])
        rows = sample_count(arrays, self.inputs)
        for tap, array in zip(taps, results, strict=False):
            self._check_rows(tap, array.shape, rows)
        for tap, array in zip(taps, results, strict=False):
            sink(tap.layer.name, self._real(tap, array))
        return [widened(array) for array in results[len(taps) :]]

    def _find_head(self, example: Sequence[np.ndarray]) -> LinearHead:
        layers = {tap.tensor: Named(tap.layer.name, tap.layer.default) for tap in self._taps}
        return find_head(self, self._file, layers, self._providers, example)

    def _read_taps(self) -> list[_Tap]:
        source, maker = self._file.network.source, self._file.node_names
        known = self._file.quantizations
        named = [(v, str(source[v.value])) for v in name_layers(self._file.network, self.notes)]
        # integers whose scale is computed from the data mean nothing by themselves
        return [_Tap(v, t, maker.get(t, "")) for v, t in named if known.get(t, True)]

    def _find(self, name: str) -> _Tap:
        if name not in self._by_name:
            hint = suggestion(name, self._by_name)
            raise ModelError(f"{self.path}: no layer '{plain(name)}'{hint}")
        return self._by_name[name]

    def _layer(self, tap: _Tap) -> Layer:
        aliases = (*tap.layer.aliases, *([tap.node] if tap.node else []))
        shape = self._shapes.get(tap)
        if shape is None and tap not in self._misfits and tap.layer.name in self.declared:
            shape = self.declared[tap.layer.name][1:]
        return Layer(
            name=tap.layer.name,
            kind=tap.layer.kind,
            default=tap.layer.default and tap not in self._misfits,
            shape=shape,
            aliases=tuple(a for a in dict.fromkeys(aliases) if a != tap.layer.name),
        )

    def _open(self, taps: Iterable[_Tap], free: Mapping[str, int]) -> TapSession:
        names = [*(tap.tensor for tap in taps), *self._file.outputs]
        return TapSession(self.path, names, providers=self._providers, free=free)

    def _note_shapes(self, taps: tuple[_Tap, ...]) -> None:
        """Take over the shapes that onnxruntime infers; a rank it does not know stays unknown."""
        session = self._open(taps, {})
        for tap in taps:
            if session.shapes.get(tap.tensor):
                self._shapes[tap] = session.shapes[tap.tensor][1:]

    def _survey(self, default: tuple[_Tap, ...], samples: Sequence[np.ndarray]) -> None:
        """Run every layer: exact shapes, and which have no entry per sample."""
        batcher = self._new_batcher(default, samples)
        misfits = self._misfitting(default, batcher, samples)
        if default and not misfits:
            self._keep(default, batcher)
        for tap, (rows, shape) in misfits.items():
            self._note(
                f"layer '{plain(tap.layer.name)}' is not measured by default: its shape is "
                f"{shape} for {rows} samples, not one entry per sample"
            )
        for group in self._groups([tap for tap in self._taps if tap not in default]):
            alike = replace(batcher, session=self._open(group, batcher.freed))
            misfits |= self._misfitting(group, alike, samples)
        self._misfits = set(misfits)
        if misfits:
            self._note(
                f"{len(misfits)} of {len(self._taps)} layers do not have one entry per sample; "
                "'all' and globs leave them out"
            )

    def _groups(self, taps: Sequence[_Tap]) -> Iterable[tuple[_Tap, ...]]:
        """Layers that are small enough together to be held at once."""
        group: list[_Tap] = []
        held = 0
        for tap in taps:
            size = math.prod(n or 1 for n in self._file.shapes.get(tap.tensor, ()))
            if group and held + size > _MOST_AT_ONCE:
                yield tuple(group)
                group, held = [], 0
            group.append(tap)
            held += size
        if group:
            yield tuple(group)

    def _batcher(self, taps: tuple[_Tap, ...], arrays: Sequence[np.ndarray]) -> Batcher:
        """A session for these layers, opened and checked when they are first asked for."""
        if taps not in self._batchers:
            batcher = self._new_batcher(taps, arrays)
            for tap, (rows, shape) in self._misfitting(taps, batcher, arrays).items():
                self._check_rows(tap, shape, rows)
            self._keep(taps, batcher)
        return self._batchers[taps]

    def _keep(self, taps: tuple[_Tap, ...], batcher: Batcher) -> None:
        while len(self._batchers) >= _KEPT_SESSIONS:
            del self._batchers[next(iter(self._batchers))]
        self._batchers[taps] = batcher

    def _new_batcher(self, taps: tuple[_Tap, ...], arrays: Sequence[np.ndarray]) -> Batcher:
        compared = [*(tap.tensor for tap in taps), *self._file.outputs]
        return open_batcher(lambda free: self._open(taps, free), self.inputs, arrays, compared)

    def _misfitting(
        self, taps: tuple[_Tap, ...], batcher: Batcher, arrays: Sequence[np.ndarray]
    ) -> dict[_Tap, tuple[int, tuple[int, ...]]]:
        """Layers that do not have one entry per sample, with a number of samples and a shape."""
        found: dict[_Tap, tuple[int, tuple[int, ...]]] = {}
        shapes = trial_shapes(batcher, arrays, [tap.tensor for tap in taps])
        for tap in taps:
            wrong = [(rows, shape) for rows, shape in shapes[tap.tensor] if shape[:1] != (rows,)]
            if wrong:
                found[tap] = wrong[0]
            else:
                self._shapes[tap] = shapes[tap.tensor][-1][1][1:]
        return found

    def _check_rows(self, tap: _Tap, shape: tuple[int, ...], rows: int) -> None:
        if shape[:1] != (rows,):
            name = plain(tap.layer.name)
            raise ModelError(
                f"{self.path}: layer '{name}' has shape {shape} for {rows} samples, not one entry "
                f"per sample; leave it out, with --exclude-layers '{name}'"
            )

    def _real(self, tap: _Tap, array: np.ndarray) -> np.ndarray:
        quantization = self._file.quantizations.get(tap.tensor)
        return as_float(array) if quantization is None else quantization.real(array)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _lookup(taps: Sequence[_Tap]) -> dict[str, _Tap]:
    """Layers by name; where several go by one alias, the first."""
    found = {tap.layer.name: tap for tap in taps}
    for tap in taps:
        for alias in (*tap.layer.aliases, tap.tensor, tap.node):
            found.setdefault(alias, tap)
    found.pop("", None)
    return found
