"""The exact search: in single precision with a bounded error, then by differences in float64.

The k best scores of a query (``sieve``) are each at most ``E`` wrong, so that all of its k nearest
neighbors score at least the k-th best minus ``2 E``. Those that do are measured again and sorted by
(distance, index). Where the sieve cannot have kept all of them, the query is searched again with
scores in float64. The result is exact, ties included, whatever the sizes of blocks.

*Conventions*: a score is ``q.y - |y|^2 / 2`` of centered coordinates; half the squared distance is
``|q|^2 / 2`` minus it. The *reach* of a point is its distance from the center.

Reference: the error of a rounded inner product, Higham, *Accuracy and Stability of Numerical
Algorithms*, 2nd edition, eq. 3.5, which holds for every order of summation.
"""

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.coarse import CoarseSearch
from entangle_cli.neighbors.coordinates import blocks
from entangle_cli.neighbors.distances import product
from entangle_cli.neighbors.pointset import PointSet, pair_distances
from entangle_cli.neighbors.ranking import nearest_pairs
from entangle_cli.neighbors.sieve import RUNS, Sieve, sample_threshold
from entangle_cli.neighbors.tiles import TILE_ROWS, Candidates

PART_ROWS = 2048
# Pairs of the search in float64 that may wait to be measured
PENDING_PAIRS = 1 << 20
# Best scores beyond k that a search by codes hands on
SPARE = 64


class Search:
    """One batch of queries against the candidates.

    ``halves`` ``(b,)`` are half the squared lengths of the centered queries, ``own`` ``(b,)`` the
    candidates that the queries may not find, -1 for none.
    """

    def __init__(
        self,
        candidates: Candidates,
        queries: PointSet,
        halves: Tensor,
        own: Tensor,
        k: int,
        coarse: CoarseSearch | None = None,
    ) -> None:
        self._candidates, self._queries, self._own, self._k = candidates, queries, own, k
        self._coarse = coarse
        self._halves = halves
        self._lengths = halves.mul(2).sqrt_()
        self._reach = candidates.bias.mul(-2).sqrt_()
        self._farthest = self._reach.amax()

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the points and their distances, ``(b, k)`` each, sorted by (distance, row)."""
        values, columns, threshold = self._best()
        kth = values[:, self._k - 1].double()
        floor = self._floor(slice(None), kth, columns[:, : self._k])
        certain = floor > threshold
        # everything is equally far from a zero vector: the first candidates are its neighbors
        zero = self._queries.zero
        lacking = zero | ~(values[:, self._k - 1] > -torch.inf)
        columns[lacking, : self._k] = self._first(lacking)
        values[lacking, : self._k] = torch.inf
        floor = torch.where(certain | lacking, floor, kth)
        floor[lacking] = torch.inf
        rows, place = torch.nonzero(values >= floor[:, None], as_tuple=True)
        _, found, distances = self._nearest([(rows, columns[rows, place])])
        found, distances = found.reshape(-1, self._k), distances.reshape(-1, self._k)
        uncertain = torch.nonzero(~certain & ~zero)[:, 0]
        for start in range(0, len(uncertain), PART_ROWS):
            again = uncertain[start : start + PART_ROWS]
            part = again.cpu().numpy()
            found[part], distances[part] = self._complete(again, distances[part, -1])
        return self._candidates.rows[found], distances

    def _best(self) -> tuple[Tensor, Tensor, Tensor]:
        """Best scores in float32, their candidates, ``(b, keep)``, and the most the rest has."""
        every = blocks(self._queries.count, self._queries.dimension)
        matrix = torch.cat([self._queries.single(part) for part in every])
        if self._coarse is None:
            return self._sieve(matrix, self._own)
        keep = min(self._k + SPARE, self._candidates.count)
        numbers = self._candidates.numbers
        own = torch.where(self._own >= 0, self._candidates.indices[self._own], -1)
        values, points, threshold = self._coarse.scores(
            matrix,
            self._lengths,
            own,
            keep,
            lambda part, kth, points: self._floor(part, kth, numbers[points]),
        )
        columns, kth = numbers[points], values[:, self._k - 1].double()
        floor = self._floor(slice(None), kth, columns[:, : self._k])
        missed = torch.nonzero(~(floor > threshold))[:, 0]
        if len(missed):
            found, places, rest = self._sieve(matrix[missed], self._own[missed])
            wider = found.shape[1] - values.shape[1]
            values = torch.nn.functional.pad(values, (0, wider), value=-torch.inf)
            columns = torch.nn.functional.pad(columns, (0, wider))
            values[missed], columns[missed], threshold[missed] = found, places, rest.double()
        return values, columns, threshold

    def _sieve(self, matrix: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``_best``, of queries ``(m, d)`` in float32, from the scores of all pairs."""
        candidates, count = self._candidates, self._candidates.count
        parts = [slice(start, start + PART_ROWS) for start in range(0, len(matrix), PART_ROWS)]
        sampled = (product(matrix[part], *candidates.sample) for part in parts)
        thresholds = [sample_threshold(scores, self._k, count) for scores in sampled]
        sieve = Sieve(torch.cat(thresholds), self._k, count)
        room = matrix.new_empty(min(PART_ROWS, len(matrix)) * max(TILE_ROWS, RUNS))
        for first, points, bias in candidates.tiles(torch.float32, RUNS):
            for part in parts:
                shape = len(matrix[part]), len(points)
                scores = room[: shape[0] * shape[1]].view(shape)
                scores = product(matrix[part], points, bias, out=scores)
                _hide_own(scores, own[part] - first)
                sieve.offer(part, scores, first)
        return *sieve.best(), sieve.threshold

    def _floor(self, part: slice | Tensor, kth: Tensor, columns: Tensor) -> Tensor:
        """The score in float32 that every one of the k nearest neighbors reaches, ``(b,)``.

        ``kth`` ``(b,)`` is the least of the scores of k candidates ``columns`` ``(b, k)``.
        """
        halves, lengths = self._halves[part], self._lengths[part]
        error = self._error(part, self._reach[columns].amax(1))
        distance = (2 * (halves - kth + error)).clamp_(min=0).sqrt_()
        # what reaches farther than the query and its k-th neighbor together is not nearer than that
        reach = torch.minimum(lengths + distance, self._farthest)
        return kth - 2 * self._error(part, reach)

    def _error(self, part: slice | Tensor, reach: Tensor) -> Tensor:
        """What float32 changes of a score of points within ``reach`` ``(b,)``, at most."""
        return score_error(self._lengths[part], reach, self._queries.dimension, torch.float32)

    def _complete(self, again: Tensor, farthest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The search in float64, for queries that have k neighbors at most ``farthest`` away."""
        half = self._queries.coordinates.half_squared(torch.from_numpy(farthest).to(again.device))
        lengths, halves = self._lengths[again], self._halves[again]
        reach = torch.minimum(lengths + half.mul(2).sqrt_(), self._farthest)
        error = score_error(lengths, reach + lengths, self._queries.dimension, torch.float64)
        floor = halves - half - 2 * error
        matrix = self._queries.centered(again.cpu().numpy())
        pending, count, known = [], 0, None
        for first, points, bias in self._candidates.tiles(torch.float64):
            scores = product(matrix, points, bias)
            _hide_own(scores, self._own[again] - first)
            rows, columns = torch.nonzero(scores >= floor[:, None], as_tuple=True)
            pending.append((again[rows], columns + first))
            count += len(rows)
            if count > PENDING_PAIRS:
                known = self._nearest(pending, known)
                pending, count = [], 0
        _, found, distances = self._nearest(pending, known)
        return found.reshape(-1, self._k), distances.reshape(-1, self._k)

    def _nearest(
        self,
        pairs: list[tuple[Tensor, Tensor]],
        known: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k nearest of each query among pairs (query, candidate) and already measured ones."""
        count = self._candidates.count
        rows, columns = (np.concatenate([p[side].cpu().numpy() for p in pairs]) for side in (0, 1))
        # by query and candidate; sorting whole numbers is much quicker than sorting by two keys
        rows, columns = np.divmod(np.sort(rows * count + columns), count)
        points = self._candidates.rows[columns]
        distances = pair_distances(self._queries, self._candidates.points, rows, points)
        measured = (rows, columns, distances)
        if known is not None:
            measured = tuple(np.concatenate(both) for both in zip(known, measured, strict=True))
        return nearest_pairs(*measured, self._k)

    def _first(self, rows: Tensor) -> Tensor:
        """The first k candidates that each of the queries ``rows`` may find, ``(r, k)``."""
        first = torch.arange(self._k, device=rows.device).expand(int(rows.sum()), -1)
        own = self._own[rows][:, None]
        return first + ((own >= 0) & (first >= own))


def score_error(lengths: Tensor, reach: Tensor, dimension: int, dtype: torch.dtype) -> Tensor:
    """How much a score computed in ``dtype`` may differ from the exact one, at most, ``(b,)``.

    ``(d + 16) u (|q| |y| + |y|^2 / 2)`` with ``|q|`` of ``lengths``, ``|y|`` of at most ``reach``
    and u the unit roundoff: the sum of d products and a bias, and the rounding of what went into
    it.
    """
    size = lengths * reach + 0.5 * reach.square()
    # products may be flushed to zero where they are denormal
    return (dimension + 16) * (1.01 * unit_roundoff(dtype) * size + torch.finfo(dtype).tiny)


def unit_roundoff(dtype: torch.dtype) -> float:
    """Largest relative error of one rounding in products of ``dtype``, as torch is set now."""
    if dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest":
        # torch was told that a product of float32 may use bfloat16
        return 2.0**-8
    return torch.finfo(dtype).eps / 2


def _hide_own(scores: Tensor, own: Tensor) -> None:
    rows = torch.nonzero((own >= 0) & (own < scores.shape[1]))[:, 0]
    scores[rows, own[rows]] = -torch.inf
