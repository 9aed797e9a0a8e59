"""CIFAR-10 and CIFAR-100: python batches (pickles) and binary batches.

A folder ``cifar-10-batches-py``, ``cifar-10-batches-bin``, ``cifar-100-python`` or
``cifar-100-binary`` has ``@train`` and ``@test``; a single batch file is a data set too.
``::coarse`` takes the 20 superclasses of CIFAR-100 for labels. Class names come from
``batches.meta``, ``meta`` or the ``*.txt`` beside the batches.

The pickles are read by an unpickler that can build NumPy arrays and nothing else. Pixels of a row
are red, green, blue planes of 32x32.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import combined, file_digest
from entangle_cli.datasets.formats.arrays import Columns, dataset_of
from entangle_cli.datasets.formats.pickles import load_pickle
from entangle_cli.datasets.labels import class_names_from, read_labels
from entangle_cli.datasets.reference import Reference, choose_split
from entangle_cli.datasets.signature import regular_file
from entangle_cli.datasets.trees import natural_key
from entangle_cli.errors import DataError

_PIXELS = 3 * 32 * 32
_TRAIN = re.compile(r"(data_batch_\d+|train)(\.bin)?$")
_TEST = re.compile(r"(test_batch|test)(\.bin)?$")
_META = ("batches.meta", "meta")
_NAMES = {
    "fine": ("batches.meta.txt", "fine_label_names.txt"),
    "coarse": ("coarse_label_names.txt",),
}


@dataclass(frozen=True)
class Batch:
    """The rows of one file: ``pixels (n, 3072)`` uint8, ``labels (n,)``."""

    pixels: np.ndarray
    labels: np.ndarray


def is_cifar_folder(names: list[str]) -> bool:
    """Whether a folder with these files holds CIFAR batches."""
    batches = [n for n in names if _TRAIN.match(n) or _TEST.match(n)]
    telling = [n for n in batches if n.endswith(".bin") or "_batch" in n]
    return bool(telling) or (bool(batches) and "meta" in names)


def is_binary_batch(path: Path) -> bool:
    """Whether a file has the name and the length of a binary batch."""
    size = path.stat().st_size
    named = _TRAIN.match(path.name) or _TEST.match(path.name)
    return bool(named) and path.suffix == ".bin" and (size % 3073 == 0 or size % 3074 == 0)


def read_cifar(reference: Reference) -> Dataset:
    """The images and labels of one split, or of one batch file.

    Raises:
        DataError: damaged, a pickle that holds anything but arrays, or no such split.
    """
    level = reference.inside or "fine"
    if level not in _NAMES:
        raise DataError(f"{reference}: no labels {level!r}; leave it out or give ::coarse")
    folder, files, split, notes = _files(reference)
    batches = [_read_batch(file, level) for file in files]
    pixels = np.concatenate([batch.pixels for batch in batches])
    stored = np.concatenate([batch.labels for batch in batches])
    labels, _ = read_labels(stored, len(pixels), folder)
    images = pixels.reshape(-1, 3, 32, 32)
    digest = combined(*(file_digest(file) for file in files))
    columns = Columns(
        {"images": images}, digest, labels, _class_names(folder, level, labels), notes
    )
    return dataset_of(Reference(reference.path, reference.inside, split), columns, "cifar")


def _files(reference: Reference) -> tuple[Path, list[Path], str | None, tuple[str, ...]]:
    path = reference.path
    if not path.is_dir():
        if reference.split is not None:
            choose_split(reference.split, (), path)
        return path.parent, [path], None, ()
    files = sorted(path.iterdir(), key=lambda p: natural_key(p.name))
    splits = {
        split: found
        for split, pattern in (("train", _TRAIN), ("test", _TEST))
        if (found := [file for file in files if pattern.match(file.name)])
    }
    split, notes = choose_split(reference.split, splits, path)
    return path, splits[split], split, notes


def _read_batch(path: Path, level: str) -> Batch:
    if path.suffix == ".bin":
        return _binary_batch(path, level)
    content = load_pickle(path)
    keys = ("coarse_labels",) if level == "coarse" else ("labels", "fine_labels")
    key = next((k for k in keys if isinstance(content, dict) and k in content), None)
    pixels = content.get("data") if isinstance(content, dict) else None
    if key is None or not isinstance(pixels, np.ndarray):
        raise DataError(f"{path}: lacks 'data' or {keys[-1]!r}; not such a CIFAR batch")
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise DataError(f"{path}: pixels are {pixels.dtype} {pixels.shape}, not uint8 (n, 3072)")
    return Batch(pixels, read_labels(_plain_list(content[key], path), len(pixels), path)[0])


def _plain_list(values: object, path: Path) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, list) or not all(isinstance(v, int) for v in values):
        raise DataError(f"{path}: labels are no list of integers; not a CIFAR batch")
    return np.array(values)


def _binary_batch(path: Path, level: str) -> Batch:
    size = regular_file(path).stat().st_size
    # CIFAR-100 rows start with two labels, coarse then fine; a 10,000-row file of either kind
    # can be told by its length, other lengths by the files beside it
    hundred = size % 3074 == 0 and (size % 3073 != 0 or path.name in ("train.bin", "test.bin"))
    heads = 2 if hundred else 1
    if size == 0 or size % (_PIXELS + heads):
        raise DataError(f"{path}: {size} bytes are no whole number of rows; get the file again")
    if level == "coarse" and not hundred:
        raise DataError(f"{path}: CIFAR-10 has no coarse labels; leave out ::coarse")
    rows = np.fromfile(path, np.uint8).reshape(-1, _PIXELS + heads)
    return Batch(rows[:, heads:], np.asarray(rows[:, 0 if level == "coarse" else heads - 1]))


def _class_names(folder: Path, level: str, labels: np.ndarray) -> tuple[str, ...] | None:
    for name in _NAMES[level]:
        if (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            return class_names_from([line for line in text.splitlines() if line.strip()], labels)
    meta = next((folder / name for name in _META if (folder / name).is_file()), None)
    content = load_pickle(meta) if meta else {}
    keys = ("coarse_label_names",) if level == "coarse" else ("label_names", "fine_label_names")
    names = next((content[k] for k in keys if isinstance(content, dict) and k in content), [])
    return class_names_from(names, labels) if isinstance(names, list) else None
