"""Rows of arrays that stay on disk until asked for.

Files are read, not mapped into memory: a mapped file that is cut while in use kills the process,
and its pages count as memory used.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np

from entangle_cli.errors import DataError

# rows this close in a file are cheaper to read together than one by one
_GAP = 64


class RowsOnDisk:
    """An array ``(n, ...)`` in row-major order inside a file, sliced along its first axis."""

    def __init__(self, path: Path, dtype: np.dtype, shape: Sequence[int], offset: int) -> None:
        self.path = path
        self.dtype = dtype
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        self.offset = offset

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | EllipsisType) -> np.ndarray:
        rows = slice(None) if rows is ... else rows
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError("rows are read one after another")
        row = math.prod(self.shape[1:])
        count = max(0, stop - start) * row
        try:
            values = np.fromfile(
                self.path, self.dtype, count, offset=self.offset + start * row * self.dtype.itemsize
            )
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror})") from None
        if len(values) != count:
            raise DataError(f"{self.path}: became shorter while in use; run the command again")
        return values.reshape(max(0, stop - start), *self.shape[1:])


def take_rows(array: Any, rows: np.ndarray) -> np.ndarray:
    """The rows of an array in memory, in a file or in HDF5, in this machine's byte order.

    What lies on disk is read in as few runs as the rows allow.
    """
    dtype = array.dtype.newbyteorder("=")
    if isinstance(array, np.ndarray):
        return np.asarray(array[rows], dtype=dtype)
    taken = np.empty((len(rows), *array.shape[1:]), dtype)
    order = np.argsort(rows, kind="stable")
    ends = np.flatnonzero(np.diff(rows[order]) > _GAP) + 1
    for run in np.split(order, ends) if len(rows) else ():
        first, last = int(rows[run[0]]), int(rows[run[-1]])
        taken[run] = array[first : last + 1][rows[run] - first]
    return taken
