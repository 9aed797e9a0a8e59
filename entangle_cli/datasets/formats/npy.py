"""``.npy``: one array, one row per sample, read when asked for.

Labels come from a second file beside it where there is one: ``<stem>_labels.npy`` or
``<stem>-labels.npy``, ``y.npy`` beside ``x.npy``, ``labels.npy`` beside ``images.npy``,
``y_test.npy`` beside ``x_test.npy``.
"""

import io
import math
import tokenize
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import combined, file_digest
from entangle_cli.datasets.formats.arrays import Columns, dataset_of
from entangle_cli.datasets.labels import read_labels
from entangle_cli.datasets.reference import Reference, no_inside, no_split
from entangle_cli.datasets.rows import RowsOnDisk
from entangle_cli.datasets.signature import read_head, regular_file
from entangle_cli.errors import DataError

# the longest header NumPy itself accepts without being told to trust the file
HEADER_LIMIT = 10_000
_HEADER_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    EOFError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)
_BESIDE = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "targets"))


def read_npy(reference: Reference) -> Dataset:
    """The array of one file, with labels from the file beside it.

    Raises:
        DataError: damaged, pickled objects, or labels that do not fit.
    """
    no_split(reference, "a .npy file")
    no_inside(reference, "a .npy file")
    path = reference.path
    array = open_array(path)
    if array.ndim == 0:
        raise DataError(f"{path}: a single number; give an array with one row per sample")
    beside = next((p for p in _label_files(path) if p.is_file()), None)
    name = "images" if path.stem.lower().startswith("images") else "x"
    if beside is None:
        notes = (f"no labels; {path.stem}_labels.npy beside it would give them",)
        return dataset_of(reference, Columns({name: array}, file_digest(path), notes=notes), "npy")
    labels, class_names = read_labels(open_array(beside)[...], len(array), beside)
    digest = combined(file_digest(path), file_digest(beside))
    notes = (f"labels from {beside.name}",)
    return dataset_of(reference, Columns({name: array}, digest, labels, class_names, notes), "npy")


def open_array(path: Path) -> np.ndarray | RowsOnDisk:
    """The array of a .npy file, on disk until read; a column-major one is read at once.

    Raises:
        DataError: damaged, cut short, or pickled objects.
    """
    size = regular_file(path).stat().st_size
    shape, fortran, dtype, offset = read_header(io.BytesIO(read_head(path, 2**16)), size, path)
    if shape and not fortran:
        return RowsOnDisk(path, dtype, shape, offset)
    return np.fromfile(path, dtype, offset=offset).reshape(shape, order="F" if fortran else "C")


def read_header(
    stream: BinaryIO, size: int, where: object
) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, dtype and data offset of .npy bytes that are ``size`` long.

    Raises:
        DataError: no such header, pickled objects, or another length than the header promises.
    """
    try:
        version = np.lib.format.read_magic(stream)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        with warnings.catch_warnings():
            # NumPy remarks on headers that Python 2 wrote, and reads them
            warnings.simplefilter("ignore")
            shape, fortran, dtype = reader(stream, max_header_size=HEADER_LIMIT)
    except _HEADER_DAMAGE:
        raise DataError(f"{where}: not a .npy array, or a damaged one; save it again") from None
    if dtype.hasobject:
        raise DataError(f"{where}: pickled Python objects, which are never loaded; save numbers")
    offset = stream.tell()
    # Python integers: a hostile shape must not wrap around
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - offset:
        raise DataError(
            f"{where}: the header says {shape} {dtype}, but {size - offset} bytes follow; "
            "the file is cut or damaged, get it again"
        )
    return shape, fortran, dtype, offset


def _label_files(path: Path) -> list[Path]:
    names = [f"{path.stem}_labels.npy", f"{path.stem}-labels.npy"]
    for data, labels in _BESIDE:
        head, _, tail = path.stem.partition("_")
        if head == data:
            names.append(f"{labels}_{tail}.npy" if tail else f"{labels}.npy")
        if tail == data:
            names.append(f"{head}_{labels}.npy")
    return [path.with_name(name) for name in names]
