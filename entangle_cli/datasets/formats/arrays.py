"""Arrays with one row per sample become a `Dataset`: images where they look like it.

Images are

* uint8 ``(n, h, w)``, or ``(n, h, w, c)`` / ``(n, c, h, w)`` with 1, 3 or 4 channels (where both
  axes could be channels, the last one is);
* floats of the same four-axis shapes, or ``(n, h, w)`` under the name ``images``, with values in
  0..1, or in 0..255 with a maximum above 1.5 (then divided by 255, with a note);
* uint8 ``(n, d)`` under the name ``images`` where d is a square number: grey squares, with a note.

Everything else passes untouched as arrays: features, tokens, several inputs, rows of pixels under
another name, and floats with negative values, which are taken as normalized already.
Not finite values are refused.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from entangle_cli.datasets.dataset import Dataset, RowIds
from entangle_cli.datasets.fingerprint import combined
from entangle_cli.datasets.reference import Reference
from entangle_cli.datasets.rows import take_rows
from entangle_cli.errors import DataError

# decimal digits of 1.0 that float images lose on their way through resizing
_ABOVE_ONE = 1.0 + 1e-6
_BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Columns:
    """What a file of arrays holds: inputs by name, and what is known of each sample.

    An input has a shape, a dtype and row slices, as NumPy arrays, `RowsOnDisk` and HDF5 data
    sets do; 0-d inputs are constants. ``digest`` is the sha256 of the bytes they come from.
    """

    inputs: Mapping[str, Any]
    digest: str
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=())


def row_count(inputs: Mapping[str, Any], where: object) -> int:
    """The number of samples that all inputs agree on.

    Raises:
        DataError: the inputs have different lengths, or only constants are there.
    """
    lengths = {name: array.shape[0] for name, array in inputs.items() if array.ndim}
    if not lengths:
        raise DataError(f"{where}: holds no array with one row per sample")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise DataError(f"{where}: arrays of different lengths ({found}); give one row per sample")
    n = next(iter(lengths.values()))
    if n == 0:
        raise DataError(f"{where}: no samples; give a data set with at least one")
    return n


def dataset_of(reference: Reference, columns: Columns, reader: str) -> Dataset:
    """The data set of these columns; see the module for what counts as images.

    Raises:
        DataError: no rows, different lengths, numbers that are not finite, or no numbers at all.
    """
    n = row_count(columns.inputs, reference)
    for name, array in columns.inputs.items():
        if array.dtype.kind not in "iufb":
            raise DataError(f"{reference}: {name!r} is {array.dtype}; give an array of numbers")
        if 0 in array.shape:
            raise DataError(f"{reference}: {name!r} has shape {array.shape}; give rows with values")
    view, notes = _image_view(columns.inputs, reference)
    return Dataset(
        name=reference.name,
        reference=str(reference),
        kind="arrays" if view is None else "images",
        read=_array_reader(columns.inputs) if view is None else view,
        labels=columns.labels,
        class_names=columns.class_names,
        ids=RowIds(reference.split or "row", n),
        fingerprint=combined(
            reader,
            columns.digest,
            reference.inside or "",
            reference.split or "",
            "\0".join(columns.inputs),
            b"" if columns.labels is None else columns.labels.astype("<i8").tobytes(),
        ),
        notes=(*columns.notes, *notes),
    )


def _array_reader(inputs: Mapping[str, Any]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    def read(rows: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: take_rows(array, rows) if array.ndim else np.asarray(array[()])
            for name, array in inputs.items()
        }

    return read


def _image_view(
    inputs: Mapping[str, Any], where: object
) -> tuple[Callable[[np.ndarray], list[np.ndarray]] | None, tuple[str, ...]]:
    """How to read the inputs as images, or None; and notes on the decision."""
    ranges = {name: _checked_range(a, name, where) for name, a in inputs.items() if a.ndim}
    if len(inputs) != 1:
        return None, ()
    ((name, array),) = inputs.items()
    axes = _image_axes(array, name)
    if axes is None:
        return None, ()
    shape, channels_first = axes
    divisor, notes = 1.0, ()
    if array.dtype.kind == "f":
        low, high = ranges[name]
        divisor, notes = _float_range(low, high)
    elif array.ndim == 2:
        notes = (f"{array.shape[1]} pixels a row read as {shape[0]}x{shape[1]} images",)
    if divisor is None:
        return None, notes

    def read(rows: np.ndarray) -> list[np.ndarray]:
        batch = take_rows(array, rows).reshape(-1, *shape)
        if array.dtype.kind == "f":
            batch = np.divide(batch, divisor, dtype=np.float32, casting="same_kind")
        return list(np.moveaxis(batch, 1, -1) if channels_first else batch)

    return read, notes


def _image_axes(array: Any, name: str) -> tuple[tuple[int, ...], bool] | None:
    """The shape of one sample with a channel axis, and whether that axis is the first."""
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        return None
    shape = tuple(array.shape[1:])
    named = name == "images"
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        return shape, False
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return shape, True
    if len(shape) == 2 and (named or array.dtype == np.uint8):
        return (*shape, 1), False
    if (
        len(shape) == 1
        and named
        and array.dtype == np.uint8
        and math.isqrt(shape[0]) ** 2 == shape[0]
    ):
        side = math.isqrt(shape[0])
        return (side, side, 1), False
    return None


def _float_range(low: float, high: float) -> tuple[float | None, tuple[str, ...]]:
    """What to divide float images by to reach 0..1, None where that cannot be told."""
    found = f"float values from {low:.4g} to {high:.4g}"
    if low < 0:
        return None, (f"{found}: taken as normalized already, passed untouched",)
    if high <= _ABOVE_ONE:
        return 1.0, ()
    if 1.5 < high <= 255.5:
        return 255.0, (f"{found}: taken as pixels 0-255",)
    return None, (f"{found}: neither 0-1 nor 0-255, passed untouched",)


def _checked_range(array: Any, name: str, where: object) -> tuple[float, float]:
    """The smallest and largest value of a float array, (0, 0) for other types."""
    low, high = np.inf, -np.inf
    if array.dtype.kind != "f":
        return 0.0, 0.0
    row_bytes = max(1, array.dtype.itemsize * math.prod(array.shape[1:]))
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        block = np.asarray(array[start : start + step])
        # NaN goes through min and max, so that two passes serve both checks
        low, high = min(low, block.min()), max(high, block.max())
        if not (np.isfinite(block.min()) and np.isfinite(block.max())):
            finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
            raise DataError(
                f"{where}: row {start + int(np.argmin(finite))} of {name!r} is not finite; "
                "remove or repair it"
            )
    return float(low), float(high)
