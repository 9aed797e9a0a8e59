"""`ActivationWriter`: fills a store so that any end of the process can be resumed.

The file gets its structure and all its space first (`skeleton`). Rows then go straight to their
place with ``pwrite``; a commit syncs them and only then appends their journal lines. The lines
lie on a fixed grid of rows and carry no times, so an interrupted store ends with the same bytes
as an uninterrupted one. How many lines one commit appends depends on time and does not show.
"""

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from entangle_cli.activations.durable import pwrite_all, sync_data, writing
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.journal import Entry, JournalAppender
from entangle_cli.activations.lock import OutputLock
from entangle_cli.activations.manifest import write_manifest
from entangle_cli.activations.precision import as_stored
from entangle_cli.activations.schema import LOGITS, FileSpec, journal_path
from entangle_cli.activations.starting import prepare_output, started_store
from entangle_cli.errors import EntangleError, ModelError
from entangle_cli.text import plain

# a commit follows the first full journal line after this much data or time
COMMIT_BYTES = 64_000_000
COMMIT_SECONDS = 10.0


class ActivationWriter:
    """A store being filled in order, batch by batch: ``put`` every block, then ``end_batch``.

    A context manager: leaving it commits what is whole and lets the next writer in.

    Attributes:
        path: the ``.h5`` file.
        rows: rows handed in so far; after opening, where to go on.
        committed: rows that a resume will find.
        complete: whether the store was finished when it was opened.
    """

    def __init__(self, store: ActivationFile, spec: FileSpec, lock: OutputLock) -> None:
        self.path, self.rows, self.complete = store.path, store.rows, store.complete
        self.committed = store.rows
        self._header = store.journal.header
        self._blocks = spec.blocks
        self._index = {layer.name: i for i, layer in enumerate(spec.layers)}
        self._given: dict[int, int] = {}
        self._pending: list[Entry] = []
        self._failed = self._closed = False
        self._start_line()
        self._start_commit()
        self._lock = lock
        self._fd = os.open(store.path, os.O_RDWR)
        try:
            self._journal = JournalAppender(journal_path(store.path), store.journal.good)
        except BaseException:
            os.close(self._fd)
            raise

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
        entry = Entry(self._line_start, self.rows, tuple(self._crc), tuple(self._nonfinite))
        self._pending.append(entry)
        self._start_line()
        waited = time.monotonic() - self._committed_at
        if self._uncommitted >= COMMIT_BYTES or waited >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make every full journal line durable: the rows first, then the lines.

        Raises:
            StoppedEarly: the disk is full or failing.
        """
        if self._pending:
            with self._guarded():
                sync_data(self._fd)
                self._journal.append(self._pending)
            self.committed = self._pending[-1].stop
            self._pending.clear()
        self._start_commit()

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
            with self._guarded():
                write_manifest(self.path, store.journal, store.identity, store.nonfinite)
            self.complete = True
        return ActivationFile.open(self.path)

    def close(self) -> None:
        """Commit what is whole, unless the disk failed, and free the lock."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._failed:
                self.commit()
        finally:
            self._journal.close()
            os.close(self._fd)
            self._lock.release()

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
        stored, nonfinite = as_stored(block.name, values, block.dtype)
        data = stored.reshape(-1).view(np.uint8).data
        offset, row_bytes = self._header.blocks[index]
        with self._guarded():
            pwrite_all(self._fd, data, offset + first * row_bytes)
        self._crc[index] = zlib.crc32(data, self._crc[index])
        self._nonfinite[index] += nonfinite
        self._given[index] = self._given.get(index, 0) + len(values)
        self._uncommitted += len(data)

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

    def _start_line(self) -> None:
        self._line_start = self.rows
        self._crc = [0] * len(self._blocks)
        self._nonfinite = [0] * len(self._blocks)

    def _start_commit(self) -> None:
        self._uncommitted, self._committed_at = 0, time.monotonic()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """After a failed write nothing more may be committed: the rows may not be there."""
        try:
            with writing(self.path, self._header.size):
                yield
        except EntangleError:
            self._failed = True
            raise
