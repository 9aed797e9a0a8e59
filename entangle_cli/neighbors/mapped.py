"""The .npz files that arrays are mapped from: written in small pieces, read where they lie.

Neither takes memory of its own.
"""

import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

# bytes of a member of an archive before its name; the last four are the lengths of the name and of
# the extras that follow it
_LOCAL_HEADER = 30
# numpy's own writer copies 16 MiB at a time
_PIECE = 1 << 20


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed .npz file, as ``np.savez`` does.

    Raises:
        OSError: no space.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                plain = {"descr": np.lib.format.dtype_to_descr(array.dtype)}
                plain |= {"fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(member, plain)
                for piece in _pieces(array):
                    member.write(np.ascontiguousarray(piece).tobytes())


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    if array.ndim == 0 or array.nbytes <= _PIECE:
        yield array
        return
    step = max(1, _PIECE * len(array) // array.nbytes)
    for start in range(0, len(array), step):
        yield array[start : start + step]


def mapped_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Arrays of an uncompressed .npz file, read-only, where they lie in it.

    Raises:
        KeyError, ValueError: no such array, or none that can be mapped; a damaged file raises what
            numpy and zipfile find.
    """
    found = []
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for name in names:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{name} is compressed")
            file.seek(member.header_offset + _LOCAL_HEADER - 4)
            skipped = sum(struct.unpack("<HH", file.read(4)))
            file.seek(skipped, os.SEEK_CUR)
            end = file.tell() + member.file_size
            shape, by_column, dtype = _array_header(file)
            place = file.tell()
            if dtype.hasobject or by_column or place + dtype.itemsize * math.prod(shape) != end:
                raise ValueError(f"{name} is no plain array of its size")
            array = (
                np.memmap(file, dtype, "r", place, shape) if end > place else np.empty(shape, dtype)
            )
            found.append(np.asarray(array))
    return found


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)
