"""The HDF5 side of reading a store: where everything lies, checked before anything is believed.

Only hard links are followed, and only contiguous data sets inside the file are accepted: a file
from a stranger can neither show other files of this machine nor load code to unpack itself.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from entangle_cli.activations.schema import DTYPES, FORMAT, FORMAT_VERSION, StoredLayer
from entangle_cli.errors import StoreError
from entangle_cli.rehearsal import rehearsed
from entangle_cli.text import parse_json

# what h5py raises for a file that is not what it seems
_UNREADABLE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
)
# structure takes milliseconds to read; a machine under load gets much more
_SECONDS = 5.0
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# digests of what this process wrote itself, or has read in a child
_SOUND: set[str] = set()
_REDUCTIONS = ("flatten", "mean", "max", "none")


@dataclass(frozen=True)
class Place:
    """A data set: its offset in the file, its type and its shape."""

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """What the HDF5 file of a store holds, and where."""

    rows: int
    identity: dict[str, Any]
    provenance: dict[str, Any]
    layers: tuple[StoredLayer, ...]
    class_names: tuple[str, ...] | None
    activations: tuple[Place, ...]
    logits: Place | None
    labels: Place
    ids: Place

    @property
    def blocks(self) -> tuple[Place, ...]:
        """What the network filled: the layers, then the logits."""
        return self.activations if self.logits is None else (*self.activations, self.logits)


def is_activation_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it is a store of activations, sound or not."""
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            if file.read(len(_HDF5_SIGNATURE)) != _HDF5_SIGNATURE:
                return False
        return _trouble(path) is None and _format(path) == FORMAT
    except _UNREADABLE:
        return False


def _format(path: Path) -> object:
    with h5py.File(path, "r", locking=False) as file:
        return file.attrs.get("format")


def vouch(skeleton: str) -> None:
    """The HDF5 library comes through files whose bytes outside the blocks have this sha256."""
    _SOUND.add(skeleton)


def read_structure(path: Path, skeleton: str) -> Structure:
    """Read everything but the numbers, from a file whose bytes outside its blocks were checked.

    Args:
        path: the ``.h5`` file.
        skeleton: the sha256 of those bytes.

    Raises:
        StoreError: not a store of activations, of a version not known, or damaged.
    """
    if skeleton not in _SOUND:
        trouble = _trouble(path)
        if trouble is not None:
            raise StoreError(
                f"{path}: cannot be read as HDF5 ({trouble}), it is damaged; "
                "dump again with --overwrite"
            )
        vouch(skeleton)
    return _read(path)


def _trouble(path: Path) -> str | None:
    """What keeps the HDF5 library from reading a file, in a few words.

    Checksums find damage; whoever means harm makes them agree, and the library then crashes or
    goes round in circles.
    """
    return rehearsed(lambda: _read(path), _SECONDS)


def _read(path: Path) -> Structure:
    with _reading(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise StoreError(f"{path}: is not an activation file; give one made by entangle dump")
        version = str(file.attrs["format_version"])
        if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
            raise StoreError(
                f"{path}: has format version {version}, this program reads {FORMAT_VERSION}; "
                "use the program that wrote it, or dump again with --overwrite"
            )
        return _structure(file, int(file.attrs["rows"]), path.stat().st_size)


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file") from None
    except PermissionError:
        raise StoreError(f"{path}: may not be read; change its permissions") from None
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(f"{path}: not a readable activation file: {reason}") from error


def _structure(file: h5py.File, rows: int, size: int) -> Structure:
    samples = _member(file, "samples", h5py.Group)
    class_names = parse_json(samples.attrs["class_names"])
    groups = _member(file, "layers", h5py.Group)
    layers, places = [], []
    for name in sorted(groups, key=lambda name: int(name.partition("_")[0])):
        group = _member(groups, name, h5py.Group)
        place = _place(group, "activations", rows, size)
        layers.append(_layer(group, place))
        places.append(place)
    logits = _place(file, "logits", rows, size) if "logits" in file else None
    if logits is not None and (len(logits.shape) != 2 or logits.dtype != np.dtype("<f4")):
        raise ValueError("/logits is not (n, C) float32")
    labels = _place(samples, "label", rows, size)
    ids = _place(samples, "id", rows, size)
    if labels.shape != (rows,) or labels.dtype != np.dtype("<i8"):
        raise ValueError("/samples/label is not (n,) int64")
    if ids.shape != (rows,) or ids.dtype.kind != "S":
        raise ValueError("/samples/id is not (n,) fixed-length text")
    return Structure(
        rows=rows,
        identity=_mapping(file, "identity"),
        provenance=_mapping(file, "provenance"),
        layers=tuple(layers),
        class_names=None if class_names is None else tuple(map(str, class_names)),
        activations=tuple(places),
        logits=logits,
        labels=labels,
        ids=ids,
    )


def _layer(group: h5py.Group, place: Place) -> StoredLayer:
    dtype = place.dtype.name
    if dtype not in DTYPES or place.dtype.newbyteorder("<") != place.dtype:
        raise ValueError(f"{group.name} holds {place.dtype}, not little-endian floats")
    reduce = str(group.attrs["reduce"])
    if reduce not in _REDUCTIONS:
        raise ValueError(f"{group.name} has the unknown reduction {reduce!r}")
    return StoredLayer(
        name=str(group.attrs["name"]),
        shape=place.shape[1:],
        raw_shape=tuple(int(length) for length in group.attrs["raw_shape"]),
        dtype=dtype,
        reduce=reduce,
        kind=str(group.attrs["kind"]),
    )


def _mapping(file: h5py.File, name: str) -> dict[str, Any]:
    value = parse_json(file.attrs[name])
    if not isinstance(value, dict):
        raise TypeError(f"{name} is not a JSON object")
    return value


def _member(group: h5py.Group, name: str, kind: type) -> Any:
    link = group.get(name, getlink=True)
    if link is None:
        raise KeyError(f"{group.name} has no {name}")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name} in {group.name} is a link to somewhere else")
    member = group[name]
    if not isinstance(member, kind):
        raise TypeError(f"{member.name} is not a {kind.__name__.lower()}")
    return member


def _place(group: h5py.Group, name: str, rows: int, size: int) -> Place:
    dataset = _member(group, name, h5py.Dataset)
    properties = dataset.id.get_create_plist()
    if (
        properties.get_layout() != h5py.h5d.CONTIGUOUS
        or properties.get_external_count()
        or properties.get_nfilters()
    ):
        raise ValueError(f"{dataset.name} is not stored as one plain piece of this file")
    offset, length = dataset.id.get_offset(), dataset.id.get_storage_size()
    shape = tuple(map(int, dataset.shape))
    if offset is None or offset + length > size or length != dataset.nbytes:
        raise ValueError(f"{dataset.name} does not lie inside the file")
    if not shape or shape[0] != rows:
        raise ValueError(f"{dataset.name} has shape {shape}, not {rows} rows")
    return Place(int(offset), dataset.dtype, shape)
