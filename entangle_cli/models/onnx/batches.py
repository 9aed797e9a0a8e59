"""Batches of any size through networks that may accept only one size.

Many files are exported for exactly one sample. Setting the length free works for most of them;
whether it does is found out by comparing with the fixed size on a few samples, tensor by tensor.
Where it does not, the fixed size is run again and again, the last batch filled up and trimmed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models import TensorSpec
from entangle_cli.models.onnx.session import TapSession
from entangle_cli.models.onnx.values import batch_axis, sample_count, take

# networks in half precision round differently at another batch size
_TOLERANCE = {np.dtype(np.float16): 1e-2}
_PROBE = 4
# a tensor that has one entry per sample for both of these numbers of samples has it for all
_TRIAL_SIZES = (2, 3)


@dataclass(frozen=True)
class Batcher:
    """A session with the batch size it takes: ``size`` samples, or any number if None.

    ``freed`` are the inputs whose declared size was set free, with the axis.
    """

    session: TapSession
    specs: tuple[TensorSpec, ...]
    size: int | None = None
    freed: Mapping[str, int] = field(default_factory=dict)

    def run(self, inputs: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """The tensors ``names`` for all samples of ``inputs``.

        Several runs of a fixed size are joined along each tensor's first axis. A tensor without
        one entry per sample there is returned as the last run gave it.
        """
        rows = sample_count(inputs, self.specs)
        if self.size is None or rows == self.size:
            return self._once(inputs, names)
        parts = [
            self._once(take(inputs, self.specs, chosen), names)
            for start in range(0, rows, self.size)
            for chosen in [np.minimum(np.arange(start, start + self.size), rows - 1)]
        ]
        return [_join(pieces, self.size, rows) for pieces in zip(*parts, strict=True)]

    def _once(self, inputs: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        feed = {spec.name: array for spec, array in zip(self.specs, inputs, strict=True)}
        return self.session.run(feed, names)


def fixed_size(specs: Sequence[TensorSpec]) -> int | None:
    """The only batch size that the declared inputs accept, None if any is."""
    sizes = {
        spec.shape[axis]
        for spec in specs
        if spec.shape is not None and (axis := batch_axis(spec)) is not None
    }
    return sizes.pop() if len(sizes) == 1 else None


def open_batcher(
    load: Callable[[Mapping[str, int]], TapSession],
    specs: tuple[TensorSpec, ...],
    inputs: Sequence[np.ndarray],
    names: Sequence[str],
) -> Batcher:
    """Find how the network takes batches of any size; ``inputs`` are samples to try it with.

    ``load`` opens a session, with the axes of the given inputs set free; ``names`` are the
    tensors that must come out the same.
    """
    size = fixed_size(specs)
    session = load({})
    names = [name for name in names if name in session.types]
    if size is None:
        return _declared_free(Batcher(session, specs), inputs, names)
    fixed = Batcher(session, specs, size)
    probe = distinct_samples(inputs, specs, max(_PROBE, size + 1))
    try:
        expected = fixed.run(probe, names)
    except ModelError:
        return fixed  # the run that follows says why
    axes = {spec.name: axis for spec in specs if (axis := batch_axis(spec)) is not None}
    try:
        free = Batcher(load(axes), specs, freed=axes)
        found = free.run(probe, names)
    except ModelError:
        return fixed
    return free if all(map(_equal, found, expected)) else fixed


def _declared_free(free: Batcher, inputs: Sequence[np.ndarray], names: Sequence[str]) -> Batcher:
    """``free``, or its session sample by sample if the network stops at any other size."""
    single = Batcher(free.session, free.specs, 1)
    try:
        free.run(distinct_samples(inputs, free.specs, 3), names)
    except ModelError:
        try:
            single.run(distinct_samples(inputs, free.specs, 1), names)
        except ModelError:
            return free
        return single
    return free


def trial_shapes(
    batcher: Batcher, inputs: Sequence[np.ndarray], names: Sequence[str]
) -> dict[str, list[tuple[int, tuple[int, ...]]]]:
    """Shapes of tensors for different numbers of samples, as (samples, shape)."""
    found: dict[str, list[tuple[int, tuple[int, ...]]]] = {name: [] for name in names}
    for size in _TRIAL_SIZES if names else ():
        probe = distinct_samples(inputs, batcher.specs, size)
        rows = sample_count(probe, batcher.specs)
        for name, value in zip(names, batcher.run(probe, names), strict=True):
            found[name].append((rows, value.shape))
    return found


def distinct_samples(
    inputs: Sequence[np.ndarray], specs: Sequence[TensorSpec], count: int
) -> list[np.ndarray]:
    """``count`` samples made of a batch; where it is too short, samples are shifted copies.

    Copies are shifted along their last axis, so that they differ but hold valid numbers.
    """
    rows = sample_count(inputs, specs)
    chosen = take(inputs, specs, np.arange(count) % rows)
    for array, spec in zip(chosen, specs, strict=True):
        axis = batch_axis(spec)
        if axis is None or axis == array.ndim - 1:
            continue
        samples = np.moveaxis(array, axis, 0)
        for i in range(rows, count):
            samples[i] = np.roll(samples[i], i // rows, axis=-1)
    return chosen


def _equal(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if found.dtype.kind != "f":
        return bool(np.array_equal(found, expected))
    finite = np.isfinite(expected)
    scale = float(np.abs(expected, where=finite, out=np.zeros_like(expected)).max(initial=0.0))
    tolerance = _TOLERANCE.get(found.dtype, 1e-4) * scale
    return bool(np.allclose(found, expected, rtol=0, atol=tolerance, equal_nan=True))


def _join(pieces: Sequence[np.ndarray], size: int, rows: int) -> np.ndarray:
    if all(piece.ndim and piece.shape[0] == size for piece in pieces):
        return np.concatenate(pieces)[:rows]
    return pieces[-1]
