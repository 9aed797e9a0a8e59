"""Numeric arrays of MATLAB 5 files (``save -v6`` and ``-v7``).

A reader of its own, as SciPy's can crash the process on a damaged file. Layout: a header of 128
bytes, then elements of an 8-byte tag (type, length) and data padded to 8 bytes; up to 4 bytes of
data may stand in the tag itself. A matrix is an element of elements: flags, dimensions, name,
values in column-major order; a compressed element is a matrix in zlib data.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entangle_cli.datasets.signature import regular_file
from entangle_cli.errors import DataError

UNPACKED_LIMIT = 8 * 2**30

_MATRIX, _COMPRESSED = 14, 15
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_COMPLEX = 0x0800


@dataclass(frozen=True)
class Matrix:
    """A variable of the file; ``values`` is None where it is no real numeric array."""

    name: str
    shape: tuple[int, ...]
    values: np.ndarray | None


def read_matrices(path: Path) -> list[Matrix]:
    """All variables of a file.

    Raises:
        DataError: not MATLAB 5, damaged, cut short, or unpacking to more than the limit.
    """
    if regular_file(path).stat().st_size > UNPACKED_LIMIT:
        raise DataError(f"{path}: larger than {UNPACKED_LIMIT >> 30} GiB; store it as .npy")
    data = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    try:
        if order is None:
            raise ValueError("no MATLAB 5 header")
        return [matrix for matrix in _matrices(data[128:], order) if matrix is not None]
    except (ValueError, OverflowError, struct.error, zlib.error, MemoryError) as error:
        raise DataError(f"{path}: a damaged .mat file ({error}); get it again") from None


def _matrices(data: memoryview, order: str) -> Iterator[Matrix | None]:
    for kind, content in _elements(data, order):
        if kind == _COMPRESSED:
            ((kind, content),) = _elements(_unpacked(content), order)
        yield _matrix(content, order) if kind == _MATRIX else None


def _unpacked(content: memoryview) -> memoryview:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(content, UNPACKED_LIMIT)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError("compressed data cut short or too large")
    return memoryview(data)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of one element after another."""
    at = 0
    while at < len(data):
        kind, length = struct.unpack(order + "II", data[at : at + 8])
        if kind >> 16:
            kind, length, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            if length > 4:
                raise ValueError("a short element of more than 4 bytes")
        else:
            start = at + 8
            # compressed elements alone are not padded
            end = start + length + (0 if kind == _COMPRESSED else -length % 8)
        if start + length > len(data):
            raise ValueError("an element longer than the file")
        yield kind, data[start : start + length]
        at = end


def _matrix(content: memoryview, order: str) -> Matrix:
    parts = _elements(content, order)
    head = [next(parts, None) for _ in range(3)]
    if None in head:
        raise ValueError("a matrix without its head")
    (_, flags), (_, dimensions), (_, name) = head
    flag_bits = struct.unpack(order + "I", flags[:4])[0]
    shape = tuple(int(n) for n in np.frombuffer(dimensions, order + "i4"))
    if any(n < 0 for n in shape):
        raise ValueError("negative dimensions")
    label = bytes(name).decode("latin1")
    target = _CLASSES.get(flag_bits & 0xFF)
    kind, data = next(parts, (0, memoryview(b"")))
    if target is None or flag_bits & _COMPLEX or kind not in _TYPES:
        return Matrix(label, shape, None)
    values = np.frombuffer(data, order + _TYPES[kind])
    if values.size != math.prod(shape):
        raise ValueError(f"{values.size} values for the shape {shape}")
    values = values.astype(target, copy=False)
    return Matrix(label, shape, values.reshape(shape, order="F"))
