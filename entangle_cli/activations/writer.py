"""`ActivationWriter`: fills a store so that any end of the process can be resumed.

The file gets its structure and all its space first (`skeleton`). Rows then go straight to their
place with ``pwrite``; a commit syncs them and only then appends their journal lines. The lines
lie on a fixed grid of rows and carry no times, so an interrupted store ends with the same bytes
as an uninterrupted one. How many lines one commit appends depends on time and does not show.

The caller only copies its rows into a bounded piece of memory. Checksums, writing and syncing
happen on threads of their own, in order (`committing`); what fails there is raised by the next
call, at the latest by `commit`, `finish` or `close`.
"""

import os
import time
from pathlib import Path

import numpy as np

from entangle_cli.activations.committing import Committer
from entangle_cli.activations.durable import sync_data, writing
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.lock import OutputLock
from entangle_cli.activations.manifest import write_manifest
from entangle_cli.activations.precision import as_stored
from entangle_cli.activations.schema import LOGITS, FileSpec
from entangle_cli.activations.staging import Parcel, Piece
from entangle_cli.activations.starting import prepare_output, started_store
from entangle_cli.errors import ModelError
from entangle_cli.text import plain

# a commit follows the first full journal line after this much data or time
COMMIT_BYTES = 64_000_000
COMMIT_SECONDS = 10.0
_PIECE_BYTES = 1 << 20
# fewer bytes are not worth waking a thread for
_PARCEL_BYTES = 1 << 22


class ActivationWriter:
    """A store being filled in order, batch by batch: ``put`` every block, then ``end_batch``.

    A context manager: leaving it commits what is whole and lets the next writer in.

    Attributes:
        path: the ``.h5`` file.
        rows: rows handed in so far; after opening, where to go on.
        complete: whether the store was finished when it was opened.
    """

    def __init__(self, store: ActivationFile, spec: FileSpec, lock: OutputLock) -> None:
        self.path, self.rows, self.complete = store.path, store.rows, store.complete
        self._header = store.journal.header
        self._blocks = spec.blocks
        self._index = {layer.name: i for i, layer in enumerate(spec.layers)}
        self._given: dict[int, int] = {}
        self._parcel, self._gathered = Parcel(), 0
        self._line_start = self.rows
        self._start_commit()
        self._told = self._closed = False
        self._lock = lock
        self._committer = Committer(store, lambda fd: sync_data(fd))

    @property
    def committed(self) -> int:
        """Rows that a resume will find."""
        return self._committer.committed

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], spec: FileSpec, *, overwrite: bool = False
    ) -> "ActivationWriter":
        """Start a store, or go on with the one of the same identity.

        Raises:
            StoreError: the place is taken by something else, damaged, or being written.
            StoppedEarly: the disk is full.
        """
        path = Path(path)
        with writing(path, 0):
            prepare_output(path)
            lock = OutputLock.acquire(path)
        try:
            store = started_store(path, spec, overwrite=overwrite)
            with writing(path, store.journal.header.size):
                return cls(store, spec, lock)
        except BaseException:
            lock.release()
            raise

    def put(self, layer: str, values: np.ndarray) -> None:
        """Write this batch's rows of one layer, ``(b, ...)`` shaped as in the specification.

        Raises:
            ModelError: the layer's rows have another shape than before.
            StoreError: numbers that the stored type cannot hold.
            StoppedEarly: the disk is full or failing.
        """
        self._put(self._index[layer], values)

    def put_logits(self, values: np.ndarray) -> None:
        """Write this batch's class scores ``(b, C)``; raises as `put` does."""
        self._put(len(self._index), values)

    def end_batch(self) -> None:
        """Count the batch as written; commits when enough has come together.

        Raises:
            ModelError: a block was not given, or not for the same number of samples.
            StoppedEarly: the disk is full or failing.
        """
        self.rows += self._batch_rows()
        self._given.clear()
        full = self.rows - self._line_start == self._header.line_rows
        if not full and self.rows < self._header.rows:
            return
        self._parcel.rows = (self._line_start, self.rows)
        self._line_start = self.rows
        waited = time.monotonic() - self._committed_at
        if self._uncommitted >= COMMIT_BYTES or waited >= COMMIT_SECONDS:
            self._parcel.commit = True
            self._start_commit()
        self._ship()

    def commit(self) -> None:
        """Make every full journal line durable: the rows first, then the lines.

        Raises:
            StoppedEarly: the disk is full or failing.
        """
        self._parcel.commit = True
        self._start_commit()
        self._ship()
        self._committer.line.drain()
        self._raise_failure()

    def finish(self) -> ActivationFile:
        """Commit the last rows and seal the store with its manifest.

        Raises:
            ModelError: rows are missing.
            StoppedEarly: the disk is full or failing.
        """
        if not self.complete:
            if self.rows != self._header.rows:
                raise ModelError(f"{self.path}: {self.rows} of {self._header.rows} rows given")
            self.commit()
            store = ActivationFile.open(self.path)
            with writing(self.path, self._header.size):
                write_manifest(self.path, store.journal, store.identity, store.nonfinite)
            self.complete = True
        return ActivationFile.open(self.path)

    def close(self) -> None:
        """Commit what is whole, unless the disk failed, and free the lock.

        Raises:
            StoppedEarly: the disk is full or failing, and no call before has said so.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._told:
                self.commit()
        except BaseException as error:
            self._committer.line.stop(error)
            raise
        finally:
            self._committer.end(self._lock.release)

    def __enter__(self) -> "ActivationWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _put(self, index: int, values: np.ndarray) -> None:
        block = self._blocks[index]
        if values.shape[1:] != block.shape:
            raise ModelError(
                f"layer {plain(block.name)}: gives {values.shape[1:]} for a sample and gave "
                f"{block.shape} before; only one shape can be stored: try --reduce mean"
            )
        first = self.rows + self._given.get(index, 0)
        room = min(self._line_start + self._header.line_rows, self._header.rows) - first
        if len(values) > room:
            raise ModelError(f"layer {plain(block.name)}: gives {len(values)} rows, not {room}")
        stored = as_stored(block.name, values, block.dtype)
        offset, row_bytes = self._header.blocks[index]
        self._gather(index, offset + first * row_bytes, stored.reshape(-1))
        self._given[index] = self._given.get(index, 0) + len(values)
        self._uncommitted += stored.nbytes

    def _gather(self, index: int, offset: int, values: np.ndarray) -> None:
        step = _PIECE_BYTES // values.itemsize
        for start in range(0, values.size, step):
            part = values[start : start + step]
            claimed = self._committer.ring.claim(part.nbytes)
            self._raise_failure()
            room, held = claimed
            kept = room.view(part.dtype)
            np.copyto(kept, part)
            place = offset + start * values.itemsize
            self._parcel.pieces.append(Piece(index, place, kept, held))
            self._gathered += part.nbytes
            if self._gathered >= _PARCEL_BYTES:
                self._ship()

    def _ship(self) -> None:
        self._raise_failure()
        parcel, self._parcel, self._gathered = self._parcel, Parcel(), 0
        self._committer.line.put(parcel)

    def _raise_failure(self) -> None:
        if self._committer.line.failure is not None:
            self._told = True
            raise self._committer.line.failure

    def _batch_rows(self) -> int:
        for index, block in enumerate(self._blocks):
            if index not in self._given:
                what = "scores" if block.name == LOGITS else "values"
                raise ModelError(f"layer {plain(block.name)}: the model gave no {what}")
        counts = set(self._given.values())
        if len(counts) > 1:
            raise ModelError(
                f"{self.path}: the layers gave different numbers of rows: "
                f"{', '.join(map(str, sorted(counts)))}"
            )
        return counts.pop()

    def _start_commit(self) -> None:
        self._uncommitted, self._committed_at = 0, time.monotonic()
