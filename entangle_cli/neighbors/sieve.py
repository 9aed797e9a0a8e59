"""The search kernel: one product of single precision per pair, and almost nothing is kept of it.

*Conventions*: a *score* is ``q.y - |y|^2 / 2``, the larger the nearer; for centered coordinates it
is ``|q|^2 / 2`` minus half the squared distance. Scores are rounded: they choose candidates, never
results.

A sample of the points gives every query a threshold that a little more than k points pass. Of a
tile of scores only the groups whose largest score passes are looked at, and only scores that pass
are kept.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Columns of a tile are taken in this many strided runs; a group is one column of each run
RUNS = 32
# Queries whose scores are sorted together
SORTED_ROWS = 256


class Sieve:
    """The best scores of some queries so far, and a threshold below which nothing is kept.

    Whatever was offered and is not kept has a score of at most ``threshold`` ``(b,)``.
    """

    def __init__(self, threshold: Tensor, k: int, count: int) -> None:
        self.threshold = threshold
        self.keep, self.room = capacity(k, count)
        rows, device = len(threshold), threshold.device
        self._values = threshold.new_full((rows, self.room), -torch.inf)
        self._columns = torch.zeros((rows, self.room), dtype=torch.int32, device=device)
        self._counts = torch.zeros(rows, dtype=torch.int64, device=device)

    def offer(self, part: slice, scores: Tensor, first: int) -> None:
        """Scores ``(b, c)`` of the queries ``part`` with points ``first`` to ``first + c``."""
        threshold = self.threshold[part]
        runs = scores.view(len(scores), RUNS, -1)
        rows, groups = torch.nonzero(runs.amax(1) > threshold[:, None], as_tuple=True)
        members = runs[rows, :, groups]
        hits, run = torch.nonzero(members > threshold[rows, None], as_tuple=True)
        rows, columns = rows[hits], first + groups[hits] + run * runs.shape[2]
        added = torch.bincount(rows, minlength=len(scores))
        counts = self._counts[part]
        if int((counts + added).max()) > self.room:
            self._condense(part, scores, first)
            return
        place = torch.arange(len(rows), device=rows.device)
        place += (counts - added.cumsum(0) + added)[rows]
        self._values[part][rows, place] = members[hits, run]
        self._columns[part][rows, place] = columns.int()
        counts += added

    def best(self) -> tuple[Tensor, Tensor]:
        """The best scores of every query and their points, ``(b, keep)`` each, best first.

        Where fewer were kept, scores are minus infinity.
        """
        for part in _pieces(slice(0, len(self._counts))):
            self._raise_threshold(part, self._values[part], self._columns[part])
        return self._values[:, : self.keep], self._columns[:, : self.keep].long()

    def _condense(self, part: slice, scores: Tensor, first: int) -> None:
        columns = torch.arange(first, first + scores.shape[1], device=scores.device).int()
        for piece in _pieces(part):
            offered = scores[piece.start - part.start : piece.stop - part.start]
            values = torch.cat([self._values[piece], offered], 1)
            numbers = torch.cat([self._columns[piece], columns.expand(offered.shape)], 1)
            self._raise_threshold(piece, values, numbers)

    def _raise_threshold(self, part: slice, values: Tensor, columns: Tensor) -> None:
        best, place = values.topk(self.keep, dim=1)
        self._values[part] = -torch.inf
        self._values[part, : self.keep] = best
        self._columns[part, : self.keep] = columns.gather(1, place)
        self._counts[part] = (best > -torch.inf).sum(1)
        # an unfilled row has dropped nothing that was above its threshold
        full = best[:, -1]
        self.threshold[part] = torch.maximum(self.threshold[part], full)


def _pieces(part: slice) -> Iterator[slice]:
    """The rows of ``part``, a bounded number at a time."""
    for start in range(part.start, part.stop, SORTED_ROWS):
        yield slice(start, min(start + SORTED_ROWS, part.stop))


def capacity(k: int, count: int) -> tuple[int, int]:
    """How many of ``count`` scores a query keeps in the end, and how many on the way."""
    keep = min(6 * k + RUNS, count)
    return keep, min(3 * keep, count)


def sample_threshold(scores: Tensor, k: int, count: int) -> Tensor:
    """A score that a little more than k of ``count`` points pass, from those of a sample, ``(b,)``.

    Six standard deviations beyond the expected rank of the k-th best, so that fewer than k pass
    hardly ever; how many passed is counted afterwards.
    """
    size = scores.shape[1]
    # one more, as the sample may hold the query itself
    expected = (k + 1) * size / count
    rank = int(expected + 6 * expected**0.5) + 6
    if rank >= size:
        return scores.new_full((len(scores),), -torch.inf)
    return scores.topk(rank, dim=1, sorted=False).values.amin(1)
