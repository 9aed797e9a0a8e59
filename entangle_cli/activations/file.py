"""`ActivationFile`: the reader of a store, and its schema.

Schema, version 1.0. An ordinary HDF5 file; every data set is contiguous and little-endian, and
all text is UTF-8::

    /                        attributes
                               format          "entangle-activations"
                               format_version  "1.0"
                               rows            int64: number of samples n
                               identity        JSON: everything that determines the content
                               provenance      JSON: names, versions and what the checks before
                                               the dump found (``checks``), for people
    /layers/NNNN_<name>      one group per layer, in the order they were asked for; attributes
                               name       the exact layer name
                               kind       the operation, empty where unknown
                               reduce     flatten, mean, max or none
                               raw_shape  int64: shape of one sample before reducing
      activations            (n, ...) float32, float16 or float64
    /logits                  (n, C) float32, where the model has class scores
    /samples                 attribute class_names: JSON list, or null
      label                  (n,) int64, -1 = unknown
      id                     (n,) fixed-length text, padded with NUL

Beside ``NAME.h5`` lie ``NAME.journal``, with the committed rows and their checksums (`journal`),
and, once all rows are there, ``NAME.manifest.json`` (`manifest`). Rows that the journal does not
name are not written yet, whatever their bytes.
"""

import math
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from entangle_cli.activations.journal import Journal, read_journal
from entangle_cli.activations.manifest import is_finished
from entangle_cli.activations.schema import LOGITS, StoredLayer, digest, journal_path
from entangle_cli.activations.skeleton import skeleton_digest
from entangle_cli.activations.structure import Place, is_activation_file, read_structure
from entangle_cli.errors import StoreError
from entangle_cli.text import plain

__all__ = ["ActivationFile", "StoredLayer", "is_activation_file"]


class ActivationFile:
    """Activations of one model on one data set; only committed rows are visible.

    Attributes:
        path: the ``.h5`` file.
        layers: the stored layers, in the order they were asked for.
        rows: committed samples; fewer than ``total_rows`` while a dump is unfinished.
        complete: whether all rows are there and sealed by the manifest.
        identity: what determines the content.
        provenance: names and versions of what made it.
        class_names: names of the classes, or None.
        nonfinite: number of NaN and infinities per layer that has any (``/logits`` included).
    """

    def __init__(self, path: Path, journal: Journal, *, complete: bool) -> None:
        self.path = path
        self.journal = journal
        self.complete = complete
        self.rows, self.total_rows = journal.rows, journal.header.rows
        structure = read_structure(path, journal.header.skeleton)
        _check_agreement(path, structure.identity, structure.rows, structure.blocks, journal)
        self.layers = structure.layers
        self.identity, self.provenance = structure.identity, structure.provenance
        self.class_names = structure.class_names
        self.nonfinite = _nonfinite([*(layer.name for layer in self.layers), LOGITS], journal)
        self._structure = structure
        self._index = {layer.name: i for i, layer in enumerate(self.layers)}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ActivationFile":
        """Open a store for reading, also while it is being written.

        Raises:
            StoreError: not an activation file, damaged, or without its journal.
        """
        path = Path(path)
        _check_regular(path)
        if not journal_path(path).exists() and not is_activation_file(path):
            raise StoreError(f"{path}: is not an activation file; give one made by entangle dump")
        journal = read_journal(journal_path(path))
        # before the HDF5 library sees the file: it is not safe on damaged ones
        _check_skeleton(path, journal)
        return cls(path, journal, complete=is_finished(path, journal))

    def points(self, layer: str) -> np.ndarray:
        """A layer's committed rows ``(n, d)``: a read-only view of the file, nothing is loaded.

        Raises:
            StoreError: there is no such layer.
        """
        dim = self.layer(layer).dim
        return self._view(self._structure.activations[self._index[layer]], (dim,))

    def map(self, layer: str) -> np.ndarray:
        """As `points`, with the network's axes where reducing kept every number.

        Raises:
            StoreError: there is no such layer.
        """
        stored = self.layer(layer)
        kept = math.prod(stored.raw_shape) == stored.dim
        shape = stored.raw_shape if kept else stored.shape
        return self._view(self._structure.activations[self._index[layer]], shape)

    def layer(self, name: str) -> StoredLayer:
        """The stored layer of this name.

        Raises:
            StoreError: there is none.
        """
        if name not in self._index:
            known = ", ".join(plain(layer.name) for layer in self.layers)
            raise StoreError(f"{self.path}: has no layer {plain(name)!r}; it has {known}")
        return self.layers[self._index[name]]

    @property
    def logits(self) -> np.ndarray | None:
        """Class scores ``(n, C)`` as a read-only view; None where the model has none."""
        place = self._structure.logits
        return None if place is None else self._view(place, place.shape[1:])

    @cached_property
    def labels(self) -> np.ndarray | None:
        """True classes ``(n,)`` int64, -1 = unknown; None where no sample has one."""
        labels = np.array(self._view(self._structure.labels, ()))
        return None if self.rows and (labels == -1).all() else labels

    @cached_property
    def ids(self) -> list[str]:
        """One id per sample."""
        return [text.decode("utf-8", "replace") for text in self._view(self._structure.ids, ())]

    @property
    def checks(self) -> tuple[str, ...]:
        """What the checks before the dump found (`self_checks`)."""
        found = self.provenance.get("checks")
        return tuple(map(plain, map(str, found))) if isinstance(found, list) else ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What somebody who reads the numbers should know."""
        notes = list(self.checks)
        notes += [
            f"{plain(name)}: {count} of the stored numbers are NaN or infinite"
            for name, count in self.nonfinite.items()
        ]
        if not self.complete:
            notes.append(f"unfinished: {self.rows} of {self.total_rows} rows are there")
        return tuple(notes)

    def _view(self, place: Place, row_shape: tuple[int, ...]) -> np.ndarray:
        shape = (self.rows, *row_shape)
        if self.rows == 0:
            return np.empty(shape, place.dtype)
        return np.memmap(self.path, place.dtype, "r", place.offset, shape)


def _check_regular(path: Path) -> None:
    """A FIFO or device would wait for ever."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; give a file made by entangle dump") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise StoreError(f"{path}: is not a regular file; give a file made by entangle dump")


def _check_skeleton(path: Path, journal: Journal) -> None:
    header = journal.header
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        size = os.fstat(fd).st_size
        found = skeleton_digest(fd, header.size, header.rows, header.blocks)
    finally:
        os.close(fd)
    if size != header.size:
        raise StoreError(
            f"{path}: has {size} bytes where its journal says {header.size}: cut, or not the "
            "file of this journal; dump again with --overwrite"
        )
    if found != header.skeleton:
        raise StoreError(
            f"{path}: damaged in its header, labels or ids; dump again with --overwrite"
        )


def _check_agreement(
    path: Path, identity: dict[str, Any], rows: int, blocks: tuple[Place, ...], journal: Journal
) -> None:
    header = journal.header
    places = tuple(
        (place.offset, math.prod(place.shape[1:]) * place.dtype.itemsize) for place in blocks
    )
    if (places, rows, digest(identity)) != (header.blocks, header.rows, header.identity):
        raise StoreError(f"{path}: does not agree with its journal; dump again with --overwrite")


def _nonfinite(names: list[str], journal: Journal) -> dict[str, int]:
    found = dict.fromkeys(names, 0)
    for entry in journal.entries:
        for name, count in zip(names, entry.nonfinite, strict=False):
            found[name] += count
    return {name: count for name, count in found.items() if count}
