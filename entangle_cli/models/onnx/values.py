"""Arrays on their way into an ONNX network: types, shapes, and which axis counts the samples."""

from collections.abc import Sequence

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models import TensorSpec

_FLOATS = ("float16", "float32", "float64", "bfloat16")


def batch_axis(spec: TensorSpec) -> int | None:
    """The axis of a declared tensor that counts samples; None for a scalar.

    It is the first one, unless the first length is fixed and a later one is free, as in a
    recurrent state of shape ``(2, ?, 128)``.
    """
    if spec.shape is None:
        return 0
    if not spec.shape:
        return None
    free = [i for i, length in enumerate(spec.shape) if length is None]
    return free[0] if free else 0


def conform(inputs: Sequence[np.ndarray], specs: Sequence[TensorSpec]) -> list[np.ndarray]:
    """The inputs in the types that the model declares.

    Raises:
        ModelError: wrong number of inputs, rank or lengths, fractions where integers are wanted,
            or inputs with different numbers of samples.
    """
    if len(inputs) != len(specs):
        names = ", ".join(spec.name for spec in specs)
        raise ModelError(f"the model has {len(specs)} inputs ({names}), {len(inputs)} were given")
    arrays = [_typed(np.asarray(x), spec) for x, spec in zip(inputs, specs, strict=True)]
    for array, spec in zip(arrays, specs, strict=True):
        _check_shape(array, spec)
    lengths = {
        spec.name: array.shape[axis]
        for array, spec in zip(arrays, specs, strict=True)
        if (axis := batch_axis(spec)) is not None
    }
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise ModelError(f"all inputs need the same number of samples, found {found}")
    return arrays


def sample_count(arrays: Sequence[np.ndarray], specs: Sequence[TensorSpec]) -> int:
    """How many samples a batch has; 1 if every input is a scalar."""
    axes = ((array, batch_axis(spec)) for array, spec in zip(arrays, specs, strict=True))
    return next((array.shape[axis] for array, axis in axes if axis is not None), 1)


def take(
    arrays: Sequence[np.ndarray], specs: Sequence[TensorSpec], rows: np.ndarray
) -> list[np.ndarray]:
    """The samples ``rows`` of a batch; scalars are passed on as they are."""
    axes = [batch_axis(spec) for spec in specs]
    return [
        array if axis is None else np.take(array, rows, axis=axis)
        for array, axis in zip(arrays, axes, strict=True)
    ]


def bfloat16_bits(array: np.ndarray) -> np.ndarray:
    """Float32 numbers as the bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def as_float(array: np.ndarray) -> np.ndarray:
    """A tapped array as float32; float64 stays, and so do booleans and text."""
    if array.dtype == np.float64 or array.dtype.kind not in "fiu":
        return array
    return array.astype(np.float32, copy=False)


def widened(array: np.ndarray) -> np.ndarray:
    """An output of half precision as float32, any other as it is."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _typed(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    wanted = np.dtype(np.float32 if spec.dtype == "bfloat16" else _numpy_type(spec))
    if array.dtype == wanted or (array.dtype.kind in "fiub" and spec.dtype in _FLOATS):
        return array.astype(wanted, copy=False)
    if array.dtype.kind in "iub" and wanted.kind in "iub":
        converted = array.astype(wanted)
        if np.array_equal(converted, array):
            return converted
    raise ModelError(f"input {spec.name!r} takes {spec.dtype}, {array.dtype} was given")


def _numpy_type(spec: TensorSpec) -> str:
    if spec.dtype == "string":
        return "object"
    try:
        np.dtype(spec.dtype)
    except TypeError:
        raise ModelError(
            f"input {spec.name!r} takes {spec.dtype}, which numpy has no type for"
        ) from None
    return spec.dtype


def _check_shape(array: np.ndarray, spec: TensorSpec) -> None:
    if spec.shape is None:
        return
    axis = batch_axis(spec)
    fits = array.ndim == len(spec.shape) and all(
        wanted is None or i == axis or wanted == found
        for i, (wanted, found) in enumerate(zip(spec.shape, array.shape, strict=True))
    )
    if not fits:
        wanted = ", ".join(
            "?" if n is None or i == axis else str(n) for i, n in enumerate(spec.shape)
        )
        raise ModelError(f"input {spec.name!r} takes shape ({wanted}), {array.shape} was given")
