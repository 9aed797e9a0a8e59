"""What passes a threshold, of tiles of scores in which almost nothing does.

*Conventions*: ``b`` queries; a tile holds the scores of all of them with consecutive points.
"""

import numpy as np

# The number of columns of a tile is a multiple of this
WORD = 8


class Rooms:
    """Rooms of ``size`` places for up to ``count`` queries; a tile has up to ``tile`` points."""

    def __init__(self, count: int, size: int, tile: int) -> None:
        self._values = np.empty((count, size), np.float32)
        self._columns = np.empty((count, size), np.int32)
        self._size = size
        # made once: fresh memory costs more than what is done with it
        self._passed = np.empty(count * tile, bool)
        self.clear(count)

    def clear(self, count: int) -> None:
        """Start anew with the first ``count`` rooms."""
        self._counts = np.zeros(count, np.int64)

    def offer(self, scores: np.ndarray, threshold: np.ndarray, first: int) -> None:
        """Take what exceeds ``threshold`` ``(b,)`` of scores ``(b, c)`` with points from ``first``.

        c is a multiple of ``WORD`` and at most ``tile``.
        """
        passed = self._passed[: scores.size]
        np.greater(scores, threshold[:, None], out=passed.reshape(scores.shape))
        # eight answers at a time: nearly all are no
        words = passed.view(np.uint64)
        hits = np.flatnonzero(words != 0)
        among = np.flatnonzero(words[hits].view(bool))
        place = hits[among // WORD] * WORD + among % WORD
        values, rows = scores.reshape(-1)[place], place // scores.shape[1]
        columns = place - rows * scores.shape[1] + first
        added = np.bincount(rows, minlength=len(scores))
        place = np.arange(len(rows)) + (self._counts - added.cumsum() + added)[rows]
        self._counts += added
        if self._counts.max() > self._size:
            fits = place < self._size
            rows, place, columns, values = rows[fits], place[fits], columns[fits], values[fits]
        place += rows * self._size
        self._values.reshape(-1)[place], self._columns.reshape(-1)[place] = values, columns

    def content(self, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and columns of some queries, ``(b, m)``, and which rooms ran over.

        Values are minus infinity where nothing is.
        """
        counts = self._counts[rows]
        full = counts > self._size
        widest = min(self._size, int(counts.max()))
        values = self._values[rows, :widest].copy()
        columns = self._columns[rows, :widest].astype(np.int64)
        empty = (np.arange(widest) >= counts[:, None]) | full[:, None]
        values[empty], columns[empty] = -np.inf, 0
        return values, columns, full
