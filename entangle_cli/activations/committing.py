"""What lies behind a writer: one thread writes its rows, another makes them durable."""

import os
import threading
import zlib
from collections.abc import Callable

import numpy as np

from entangle_cli.activations.durable import pwrite_all, writing
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.journal import Entry, JournalAppender
from entangle_cli.activations.precision import count_nonfinite
from entangle_cli.activations.schema import journal_path
from entangle_cli.activations.staging import Line, Parcel, Ring

# rows that wait to be written; a batch that is larger goes through this in pieces
RING_BYTES = 1 << 24
# commits that may wait for the disk while rows behind them are written
_COMMITS_WAITING = 2


class Committer:
    """What happens to the rows of a store once they lie in ``ring``.

    A journal line is written after its rows are synced, and nothing at all after a failure.

    Attributes:
        ring: where rows are copied to.
        line: takes the parcels that point into the ring.
        committed: rows that a resume will find.
    """

    def __init__(self, store: ActivationFile, sync: Callable[[int], None]) -> None:
        """Open the files of ``store``; ``sync`` makes what was written to a file durable."""
        header = store.journal.header
        self.committed = store.rows
        self._path, self._size, self._blocks = store.path, header.size, len(header.blocks)
        self._sync_data = sync
        self._pending: list[Entry] = []
        self._unsynced = threading.Semaphore(_COMMITS_WAITING)
        self._start_line()
        self._fd = os.open(store.path, os.O_RDWR)
        try:
            self._journal = JournalAppender(journal_path(store.path), store.journal.good)
            self.ring = Ring(RING_BYTES)
            self.line = Line((self._write, self._sync), self.ring.close)
        except BaseException:
            os.close(self._fd)
            raise

    def end(self, last: Callable[[], None]) -> None:
        """Close the files and call ``last`` when everything under way is done."""

        def release() -> None:
            try:
                self.ring.close()
                self._journal.close()
                os.close(self._fd)
            finally:
                last()

        self.line.end(release)

    def _write(self, parcel: Parcel) -> None:
        with writing(self._path, self._size):
            for piece in parcel.pieces:
                # one after another, so that the bytes are still in the processor's cache
                data = piece.values.view(np.uint8).data
                self._crc[piece.block] = zlib.crc32(data, self._crc[piece.block])
                self._nonfinite[piece.block] += count_nonfinite(piece.values)
                pwrite_all(self._fd, data, piece.offset)
                self.ring.free(piece.held)
        # only commits go on, and without the memory
        parcel.pieces.clear()
        if parcel.rows is not None:
            entry = Entry(*parcel.rows, tuple(self._crc), tuple(self._nonfinite))
            self._pending.append(entry)
            self._start_line()
        if parcel.commit and self._pending:
            self._unsynced.acquire()
            parcel.entries, self._pending = self._pending, []

    def _start_line(self) -> None:
        self._crc, self._nonfinite = [0] * self._blocks, [0] * self._blocks

    def _sync(self, parcel: Parcel) -> None:
        if not parcel.entries:
            return
        try:
            with writing(self._path, self._size):
                self._sync_data(self._fd)
                self._journal.append(parcel.entries)
        finally:
            self._unsynced.release()
        self.committed = parcel.entries[-1].stop
