"""IDX, the format of the MNIST family: ``train-images-idx3-ubyte`` and the like, plain or .gz.

A folder holds pairs of images and labels: ``train-*`` is ``@train``, ``t10k-*`` or ``test-*`` is
``@test``, any other name before ``images`` is a split of that name. A single images file finds its
labels by its name. Plain files are read when asked for, .gz files unpacked once.

Format: two zero bytes, a type byte, the number of axes, each axis as a big-endian uint32, the
values in row-major order, big-endian.
"""

import gzip
import math
import re
import zlib
from pathlib import Path

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.fingerprint import combined, file_digest
from entangle_cli.datasets.formats.arrays import Columns, dataset_of
from entangle_cli.datasets.labels import read_labels
from entangle_cli.datasets.reference import Reference, choose_split, no_inside
from entangle_cli.datasets.rows import RowsOnDisk
from entangle_cli.datasets.signature import is_idx, read_head, regular_file
from entangle_cli.errors import DataError

UNPACKED_LIMIT = 8 * 2**30
_PIECE = 1 << 24

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_IMAGES = re.compile(r"(?P<set>.*?)[-_.]?images[-_.]idx\d[-_.]ubyte(\.gz)?$", re.IGNORECASE)


def is_idx_folder(names: list[str]) -> bool:
    """Whether a folder with these files holds IDX images."""
    return any(_IMAGES.match(name) for name in names)


def read_idx(reference: Reference) -> Dataset:
    """The images and labels of one pair of IDX files.

    Raises:
        DataError: damaged, cut short, no such split, or labels that do not fit.
    """
    no_inside(reference, "an IDX file")
    notes: tuple[str, ...] = ()
    images_path = reference.path
    if images_path.is_dir():
        sets = _sets(images_path)
        split, notes = choose_split(reference.split, sets, images_path)
        images_path = sets[split]
    else:
        split = _set_name(images_path)
        if reference.split is not None:
            choose_split(reference.split, (split,) if split else (), images_path)
    images = read_idx_array(images_path)
    if images.ndim < 2:
        raise DataError(f"{images_path}: labels, not images; give the images file beside it")
    labels_path = _labels_path(images_path)
    labels = None
    if labels_path is None:
        notes += (f"no labels: no labels file beside {images_path.name}",)
    else:
        labels, _ = read_labels(read_idx_array(labels_path)[...], len(images), labels_path)
    digest = combined(*(file_digest(p) for p in (images_path, labels_path) if p))
    columns = Columns({"images": images}, digest, labels, None, notes)
    return dataset_of(Reference(reference.path, None, split or None), columns, "idx")


def read_idx_array(path: Path) -> np.ndarray | RowsOnDisk:
    """The array of one IDX file, big-endian as stored, on disk unless it is zipped.

    Raises:
        DataError: not IDX, damaged, or not as long as its header says.
    """
    zipped = read_head(path, 2) == b"\x1f\x8b"
    head = _gunzip(path, 20) if zipped else read_head(path, 20)
    if not is_idx(head) or len(head) < 4 + 4 * head[3]:
        raise DataError(f"{path}: not an IDX file; get it again")
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", head[3], offset=4))
    dtype = np.dtype(_TYPES[head[2]])
    start = 4 + 4 * len(shape)
    expected = start + math.prod(shape) * dtype.itemsize
    if zipped and expected > UNPACKED_LIMIT:
        raise DataError(f"{path}: unpacks to {expected >> 30} GiB; unpack it first (gunzip)")
    data = _gunzip(path, expected + 1) if zipped else None
    found = len(data) if zipped else regular_file(path).stat().st_size
    if found != expected:
        raise DataError(
            f"{path}: the header says {shape}, {expected} bytes, but "
            f"{'more' if found > expected else found} are there; get the file again"
        )
    if data is not None:
        return np.frombuffer(data, dtype, offset=start).reshape(shape)
    return RowsOnDisk(path, dtype, shape, start)


def _gunzip(path: Path, n: int) -> bytes:
    try:
        with gzip.open(path, "rb") as stream:
            # in pieces: what the header promises is not set aside before it has come
            data = bytearray()
            while len(data) < n and (piece := stream.read(min(n - len(data), _PIECE))):
                data += piece
            return bytes(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip data ({error}); get the file again") from None


def _sets(folder: Path) -> dict[str, Path]:
    """The images files of a folder by split; of a plain and a zipped one the plain is taken."""
    sets: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: (len(p.name), p.name)):
        if _IMAGES.match(path.name):
            sets.setdefault(_set_name(path), path)
    return dict(sorted(sets.items(), reverse=True))


def _set_name(path: Path) -> str:
    match = _IMAGES.match(path.name)
    name = match["set"].strip("-_.") if match else ""
    return {"t10k": "test"}.get(name, name)


def _labels_path(images: Path) -> Path | None:
    name = re.sub("images", "labels", images.name, flags=re.IGNORECASE)
    name = re.sub(r"idx\d", "idx1", name, flags=re.IGNORECASE)
    if name == images.name:
        return None
    plain = name.removesuffix(".gz")
    found = (images.with_name(n) for n in (name, plain, plain + ".gz"))
    return next((path for path in found if path.exists()), None)
