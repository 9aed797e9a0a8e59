"""``.npz``: NumPy arrays by name; `columns` tells which is what.

Arrays that are stored plainly (``np.savez``) are read from the archive when asked for;
compressed ones are unpacked once.
"""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from entangle_cli.datasets.columns import choose_roles
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import file_digest
from entangle_cli.datasets.formats.arrays import Columns, dataset_of, row_count
from entangle_cli.datasets.formats.npy import read_header
from entangle_cli.datasets.labels import class_names_from, read_labels
from entangle_cli.datasets.reference import Reference, no_inside
from entangle_cli.datasets.rows import RowsOnDisk
from entangle_cli.datasets.trees import ZIP_DAMAGE, checked_members, member_bytes, open_zip
from entangle_cli.errors import DataError

UNPACKED_LIMIT = 16 * 2**30


def is_npz(path: Path) -> bool:
    """Whether a .zip file holds NumPy arrays at its top.

    Raises:
        DataError: a damaged archive.
    """
    with open_zip(path) as archive:
        names = archive.namelist()
    return path.suffix.lower() == ".npz" or (
        bool(names) and all(n.endswith(".npy") and "/" not in n for n in names)
    )


def read_npz(reference: Reference) -> Dataset:
    """The samples and labels of an archive of arrays.

    Raises:
        DataError: damaged, pickled objects, a name twice, or no array for the samples.
    """
    no_inside(reference, "an .npz file")
    path = reference.path
    with open_zip(path) as archive:
        members = {_key(m.filename): m for m in checked_members(archive, path)}
        roles = choose_roles(members, reference)
        inputs = {n: _array(archive, members[key], path) for n, key in roles.inputs.items()}
        n = row_count(inputs, reference)
        labels = class_names = None
        notes = roles.notes if roles.labels else (*roles.notes, "no labels")
        if roles.labels:
            values = _array(archive, members[roles.labels], path)[...]
            labels, class_names = read_labels(values, n, f"{path}::{roles.labels}")
        if roles.class_names:
            stored = _array(archive, members[roles.class_names], path)[...]
            class_names = class_names or class_names_from(stored.ravel(), labels)
    columns = Columns(inputs, file_digest(path), labels, class_names, notes)
    chosen = Reference(path, None, reference.split or roles.split)
    return dataset_of(chosen, columns, "npz")


def _key(member: str) -> str:
    return member.removesuffix(".npy")


def _array(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path
) -> np.ndarray | RowsOnDisk:
    where = f"{path}::{_key(member.filename)}"
    try:
        with archive.open(member) as stream:
            head = io.BytesIO(stream.read(2**16))
    except ZIP_DAMAGE as error:
        raise DataError(f"{where}: damaged ({error}); save the file again") from None
    shape, fortran, dtype, offset = read_header(head, member.file_size, where)
    if member.compress_type == zipfile.ZIP_STORED and shape and not fortran:
        return RowsOnDisk(path, dtype, shape, _data_start(path, member) + offset)
    order = "F" if fortran else "C"
    data = member_bytes(archive, member, path, UNPACKED_LIMIT)
    return np.frombuffer(data, dtype, offset=offset).reshape(shape, order=order)


def _data_start(path: Path, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header, whose lengths are its own."""
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        header = stream.read(30)
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    start = member.header_offset + 30 + name_length + extra_length
    if start + member.file_size > path.stat().st_size:
        raise DataError(f"{path}: member {member.filename!r} is cut short; save the file again")
    return start
