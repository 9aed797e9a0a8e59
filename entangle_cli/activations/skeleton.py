"""The HDF5 file of a store before its first row: all structure, no activations.

The HDF5 library writes into memory and never to the disk: it can lose a write error, and a full
disk can end the process inside it. The schema is told in `file`.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from entangle_cli.activations.durable import pread_chunks, pwrite_all
from entangle_cli.activations.journal import Header
from entangle_cli.activations.schema import (
    FORMAT,
    FORMAT_VERSION,
    FileSpec,
    StoredLayer,
    canonical,
    digest,
)
from entangle_cli.errors import StoreError
from entangle_cli.scratch import reserve

_PAGE = 1 << 14
# a start divisible by 64 suits every number type and vector instruction
_ALIGNMENT = 64
_IDS_AT_ONCE = 1 << 14


class SparseImage(io.RawIOBase):
    """A file in memory that keeps only the pages written to."""

    def __init__(self) -> None:
        self.size = 0
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def readable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as in any file."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def truncate(self, size: int | None = None) -> int:
        """Set the size; bytes never written read as zero."""
        self.size = self._position if size is None else size
        return self.size

    def readinto(self, buffer: bytearray) -> int:
        """Fill ``buffer`` from the position on."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, self.size - self._position)]
        for page, inside, here in self._pieces(len(view)):
            held = self._pages.get(page)
            count = here.stop - here.start
            view[here] = held[inside : inside + count] if held else bytes(count)
        return len(view)

    def write(self, data: bytes) -> int:
        """Keep ``data`` at the position."""
        view = memoryview(data).cast("B")
        for page, inside, here in self._pieces(len(view)):
            held = self._pages.setdefault(page, bytearray(_PAGE))
            held[inside : inside + here.stop - here.start] = view[here]
        self.size = max(self.size, self._position)
        return len(view)

    def _pieces(self, count: int) -> Iterator[tuple[int, int, slice]]:
        done = 0
        while done < count:
            page, inside = divmod(self._position, _PAGE)
            length = min(_PAGE - inside, count - done)
            yield page, inside, slice(done, done + length)
            done += length
            self._position += length

    def copy_to(self, fd: int) -> None:
        """Write every page kept to the same place of a real file."""
        for page, held in sorted(self._pages.items()):
            start = page * _PAGE
            pwrite_all(fd, memoryview(held)[: self.size - start], start)


def create(fd: int, spec: FileSpec) -> Header:
    """Turn the empty file ``fd`` into a store without rows, all space reserved, and sync it.

    Raises:
        OSError: no space, or the disk fails.
        StoreError: a layer's name, or a number in the provenance, cannot be stored.
    """
    image = SparseImage()
    blocks, sample_offsets = _lay_out(image, spec)
    reserve(fd, image.size)
    image.copy_to(fd)
    _write_samples(fd, spec, *sample_offsets)
    os.fsync(fd)
    header = Header(
        identity=digest(spec.identity),
        skeleton=skeleton_digest(fd, image.size, spec.rows, blocks),
        size=image.size,
        rows=spec.rows,
        line_rows=spec.line_rows,
        blocks=blocks,
    )
    if not header.fits():
        raise StoreError("the HDF5 library placed the layers in an unexpected way")
    return header


def needed_bytes(spec: FileSpec) -> int:
    """About what a store of this specification takes, for messages."""
    return spec.rows * sum(block.row_bytes for block in spec.blocks)


def skeleton_digest(fd: int, size: int, rows: int, blocks: Sequence[tuple[int, int]]) -> str:
    """sha256 of every byte of the file outside the blocks (offset, bytes per row)."""
    found = hashlib.sha256()
    start = 0
    for offset, row_bytes in (*blocks, (size, 0)):
        for piece in pread_chunks(fd, start, offset):
            found.update(piece)
        start = offset + row_bytes * rows
    return found.hexdigest()


def _lay_out(
    image: SparseImage, spec: FileSpec
) -> tuple[tuple[tuple[int, int], ...], tuple[int, int]]:
    """Blocks as (offset, bytes per row), and the offsets of labels and ids."""
    with h5py.File(
        image,
        "w",
        # the oldest format: every reader knows it, and no object carries a time
        libver=("earliest", "v110"),
        alignment_threshold=1,
        alignment_interval=_ALIGNMENT,
    ) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["rows"] = np.int64(spec.rows)
        file.attrs["identity"] = canonical(spec.identity)
        file.attrs["provenance"] = canonical(spec.provenance)
        samples = file.create_group("samples")
        names = None if spec.class_names is None else list(spec.class_names)
        samples.attrs["class_names"] = canonical(names)
        label = _contiguous(samples, "label", (spec.rows,), h5py.h5t.STD_I64LE)
        ids = _contiguous(samples, "id", (spec.rows,), _text_type(_id_width(spec.ids)))
        placed = [_layer(file, index, layer, spec.rows) for index, layer in enumerate(spec.layers)]
        if spec.classes is not None:
            placed.append(
                _contiguous(file, "logits", (spec.rows, spec.classes), _number("float32"))
            )
        sizes = [block.row_bytes for block in spec.blocks]
    return tuple(zip(placed, sizes, strict=True)), (label, ids)


def _layer(file: h5py.File, index: int, layer: StoredLayer, rows: int) -> int:
    group = file.create_group(f"layers/{index:04d}_{safe_name(layer.name)}")
    try:
        group.attrs["name"] = layer.name
    except (UnicodeEncodeError, ValueError):
        raise StoreError(
            f"layer {layer.name!r}: HDF5 cannot hold this name (NUL or not Unicode); "
            "leave it out with --exclude-layers"
        ) from None
    group.attrs["raw_shape"] = np.asarray(layer.raw_shape, dtype="<i8")
    group.attrs["reduce"] = layer.reduce
    group.attrs["kind"] = layer.kind
    return _contiguous(group, "activations", (rows, *layer.shape), _number(layer.dtype))


def safe_name(name: str) -> str:
    """A layer's name as part of an HDF5 path: letters, digits, ``._-`` kept, at most 60."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)[:60]


def _contiguous(group: h5py.Group, name: str, shape: tuple[int, ...], kind: h5py.h5t.TypeID) -> int:
    """A data set that has its place in the file before it has content; returns that place."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    # else the time of day is in the bytes
    properties.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(group.id, name.encode(), kind, space, properties).get_offset()


def _number(dtype: str) -> h5py.h5t.TypeID:
    return h5py.h5t.py_create(np.dtype(dtype).newbyteorder("<"))


def _text_type(width: int) -> h5py.h5t.TypeID:
    return h5py.h5t.py_create(h5py.string_dtype("utf-8", width), logical=True)


def _encoded(text: str) -> bytes:
    # file names that are not Unicode keep a readable, unique form
    return text.encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")


def _id_width(ids: Sequence[str]) -> int:
    return max(1, max(len(_encoded(text)) for text in ids))


def _write_samples(fd: int, spec: FileSpec, labels_at: int, ids_at: int) -> None:
    labels = np.full(spec.rows, -1) if spec.labels is None else spec.labels
    pwrite_all(fd, np.ascontiguousarray(labels, dtype="<i8").tobytes(), labels_at)
    width = _id_width(spec.ids)
    for start in range(0, spec.rows, _IDS_AT_ONCE):
        stop = min(start + _IDS_AT_ONCE, spec.rows)
        texts = b"".join(_encoded(spec.ids[row]).ljust(width, b"\0") for row in range(start, stop))
        pwrite_all(fd, texts, ids_at + start * width)
