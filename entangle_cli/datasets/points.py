"""A data set as points: what it looks like before any network has seen it."""

from pathlib import Path

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import DataError
from entangle_cli.scratch import scratch_array

_ROWS_AT_A_TIME = 1024


def raw_points(dataset: Dataset, *, scratch: Path | None = None) -> np.ndarray:
    """The samples flattened to points (n, d); images have pixels in [0, 1].

    The points are float32, of float64 arrays float64: rounded, points far from the origin would
    coincide.

    With ``scratch``, a folder that exists, the points lie in an unlinked file there, not in memory.

    Raises:
        DataError: images of different sizes, several arrays per sample, or tokens.
    """
    first = _rows(dataset, 0, 1)
    shape = (len(dataset), first.shape[1])
    dtype = np.float64 if first.dtype.itemsize > 4 else np.float32
    points = scratch_array(shape, dtype, scratch)
    for start in range(0, len(dataset), _ROWS_AT_A_TIME):
        stop = min(start + _ROWS_AT_A_TIME, len(dataset))
        rows = _rows(dataset, start, stop)
        if rows.shape[1] != shape[1]:
            raise DataError(
                f"{dataset.name}: samples {start} to {stop - 1} have {rows.shape[1]} numbers "
                f"each, the first has {shape[1]}; points need one size"
            )
        points[start:stop] = rows
    return points


def _rows(dataset: Dataset, start: int, stop: int) -> np.ndarray:
    indices = np.arange(start, stop)
    if dataset.kind == "images":
        return _image_rows(dataset, indices)
    arrays = dataset.arrays(indices)
    if len(arrays) != 1:
        raise DataError(
            f"{dataset.name}: holds {len(arrays)} arrays per sample ({', '.join(arrays)}); "
            "points need one"
        )
    ((name, values),) = arrays.items()
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(
            f"{dataset.name}: array {name!r} holds {values.dtype}, which has no distances; "
            "measure it through a model"
        )
    return values.reshape(len(values), -1)


def _image_rows(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    images = dataset.images(indices)
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        shown = ", ".join("x".join(map(str, size)) for size in sorted(sizes)[:3])
        raise DataError(
            f"{dataset.name}: images of different sizes ({shown}); points need one size: "
            "resize them, or measure through a model"
        )
    stacked = np.stack(images).reshape(len(images), -1)
    return stacked.astype(np.float32) / 255 if stacked.dtype == np.uint8 else stacked
