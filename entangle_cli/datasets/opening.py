"""Which reader answers a reference."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.reference import Reference, cut_rows, parse_reference
from entangle_cli.datasets.signature import Signature, regular_file, signature_of
from entangle_cli.errors import DataError

_LOOKED_FOR = (
    "looked for class folders, labels.csv, images, *-ubyte files, CIFAR batches, .npz, .npy, .h5"
)


def open_dataset(reference: str, *, name: str | None = None) -> Dataset:
    """Open the data behind ``PATH[::inside][@split]`` or ``digits[@split]``; samples stay on disk.

    ``[a:b]`` at the end takes samples a to b - 1, ``[a:b:4]`` every fourth of them.
    ``name`` replaces the short name that tables show.

    Raises:
        DataError: nothing there, nothing readable, or not what a data set must be.
    """
    whole, rows = cut_rows(reference)
    parsed = parse_reference(whole)
    dataset = _reader(parsed)(parsed)
    if rows is not None:
        dataset = _part(dataset, rows)
    return dataset if name is None else replace(dataset, name=name)


def _part(dataset: Dataset, rows: slice) -> Dataset:
    first, stop, step = rows.indices(len(dataset))
    if first >= stop:
        raise DataError(
            f"{dataset.reference}: has {len(dataset)} samples, none in "
            f"[{rows.start or 0}:{'' if rows.stop is None else rows.stop}]"
        )
    part = dataset.take(np.arange(first, stop, step))
    every = f":{step}" if step > 1 else ""
    return replace(part, name=f"{dataset.name}[{first}:{stop}{every}]")


def _reader(reference: Reference) -> Callable[[Reference], Dataset]:
    if reference.path is None:
        from entangle_cli.datasets.formats.digits import read_digits

        return read_digits
    if reference.path.is_dir():
        return _folder_reader(reference.path)
    regular_file(reference.path)
    return _file_reader(reference.path, signature_of(reference.path))


def _folder_reader(folder: Path) -> Callable[[Reference], Dataset]:
    from entangle_cli.datasets.formats import cifar, idx, image_folder

    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    if idx.is_idx_folder(names):
        return idx.read_idx
    if cifar.is_cifar_folder(names):
        return cifar.read_cifar
    return image_folder.read_image_folder


def _file_reader(path: Path, signature: Signature) -> Callable[[Reference], Dataset]:
    if signature in ("zip", "npy", "hdf5", "matlab"):
        return _array_reader(path, signature)
    from entangle_cli.datasets.formats import cifar, idx, image_folder

    if signature == "idx":
        return idx.read_idx
    if signature == "image":
        return image_folder.read_image_file
    if signature == "text" and path.suffix.lower() == ".csv":
        return image_folder.read_table_file
    if signature == "pickle" or cifar.is_binary_batch(path):
        return cifar.read_cifar
    raise DataError(f"{path}: {_what(path, signature)}")


def _array_reader(path: Path, signature: Signature) -> Callable[[Reference], Dataset]:
    if signature == "hdf5":
        from entangle_cli.datasets.formats.hdf5 import read_hdf5

        return read_hdf5
    if signature == "matlab":
        from entangle_cli.datasets.formats.svhn import read_svhn

        return read_svhn
    if signature == "npy":
        from entangle_cli.datasets.formats.npy import read_npy

        return read_npy
    from entangle_cli.datasets.formats.npz import is_npz, read_npz

    if is_npz(path):
        return read_npz
    from entangle_cli.datasets.formats.image_folder import read_image_folder

    return read_image_folder


def _what(path: Path, signature: Signature) -> str:
    if signature == "tar" or path.name.endswith((".tar.gz", ".tgz")):
        return "a tar archive; unpack it first and give the folder"
    if signature == "gzip":
        return "gzip data that is no IDX file; unpack it first"
    if path.suffix.lower() in (".npz", ".npy", ".h5", ".hdf5", ".zip", ".mat"):
        return f"not a {path.suffix.lower()} file (cut short or damaged); get it again"
    return f"no data set is recognised here; {_LOOKED_FOR}, .mat"
