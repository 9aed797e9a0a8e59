"""Which points can be among the nearest of a query, told from codes instead of all coordinates.

A product of codes and a bound of its error (``codes``) give an upper bound of every score. Points
whose bound does not exceed a threshold are left out, of the rest the scores are computed in single
precision, those of the best bounds first: they show which of the others can still matter. What is
handed on is what the search over all pairs hands on, so the answer is certified in the same way.

*Conventions*: as in ``search``; a *part* is some queries that are coded with one step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.codes import UNIT, Basis, Codes, encode
from entangle_cli.neighbors.pointset import PointSet
from entangle_cli.neighbors.rooms import Rooms

PART_ROWS = 256
# Queries whose candidates are judged together: each has up to a few thousand
JUDGED_ROWS = 64
TILE_ROWS = 2048
SAMPLE_ROWS, GROUP = 4096, 8
# Points of a query that wait for their score; a query with more of them is searched over all pairs
ROOM = 4096
# How many scores more than k are computed before the others are judged by them
EXTRA = 8
# Far below every score, and queries longer than this are not ordinary
NEVER, LONGEST, TINY = -1e30, 1e12, 1e-30
# (queries, k-th best scores (b,), the k points (b, k)): what every nearest neighbor scores at least
Floor = Callable[[Tensor, Tensor, Tensor], Tensor]
# Entries of coordinates that are gathered at once, in the cache, and from how many entries a row on
# it is quicker to take the points of one query at a time
GATHER_ELEMENTS, LONG = 1 << 17, 256


@dataclass(frozen=True)
class CodedPoints:
    """Points, ``bias`` ``(n,)`` of their scores in float64, and their codes."""

    points: PointSet
    bias: Tensor
    codes: Codes
    basis: Basis | None

    @property
    def small(self) -> bool:
        """Whether codes are integers of 8 bits."""
        return self.codes.values.dtype == torch.int8


class CoarseSearch:
    """The best scores of queries among the points that are ``usable`` ``(n,)`` bool."""

    def __init__(self, coded: CodedPoints, usable: np.ndarray, k: int) -> None:
        self._coded, self._k = coded, k
        self._bias = torch.full_like(coded.codes.steps, NEVER)
        self._bias[: len(usable)] = coded.bias.masked_fill(~torch.from_numpy(usable), NEVER)
        self._single_bias = coded.bias.float()
        rows = np.flatnonzero(usable)
        size = min(SAMPLE_ROWS, len(rows) // GROUP * GROUP)
        chosen = np.random.default_rng(0).choice(rows, size, replace=False)
        self._sample = torch.from_numpy(np.sort(chosen))
        self._sampled = coded.codes[self._sample]
        expected = (k + 1) * len(chosen) / len(rows)
        # four standard deviations: that too few pass happens once in some ten thousand queries
        self._rank = min(len(chosen), int(expected + 4 * expected**0.5) + 3)
        room = PART_ROWS * min(TILE_ROWS, len(self._bias))
        self._rooms = Rooms(PART_ROWS, ROOM, TILE_ROWS)
        self._real = torch.empty(room)
        self._whole = torch.empty(room if coded.small else 0, dtype=torch.int32)

    def scores(
        self, matrix: Tensor, lengths: Tensor, own: Tensor, width: int, floor: Floor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Best scores in float32, their points, ``(b, width)``, and a bound of all other scores.

        ``matrix`` ``(b, d)`` float32 are centered queries of ``lengths`` ``(b,)``, ``own`` ``(b,)``
        the point that each may not find, or -1. A query with too many candidates has the bound
        infinity.
        """
        rows = len(matrix)
        values = torch.full((rows, width), -torch.inf)
        columns = torch.zeros((rows, width), dtype=torch.int64)
        bounds = torch.full((rows,), torch.inf, dtype=torch.float64)
        order = torch.argsort(lengths)
        order = order[lengths[order] < LONGEST]
        for part in order.split(PART_ROWS):
            threshold = self._collect(matrix[part], lengths[part])
            for start in range(0, len(part), JUDGED_ROWS):
                judged = slice(start, min(start + JUDGED_ROWS, len(part)))
                chosen = part[judged]
                found = self._collected(judged, own[chosen], threshold[judged])
                best, place, bounds[chosen] = self._refine(
                    matrix[chosen], found, chosen, width, floor
                )
                values[chosen, : best.shape[1]], columns[chosen, : best.shape[1]] = best, place
        return values, columns, bounds

    def upper_bounds(self, matrix: Tensor, lengths: Tensor) -> Tensor:
        """Upper bounds of the scores of a few queries with a few points, ``(b, n)``."""
        coded = self._coded
        codes = encode(matrix, lengths, coded.basis, small=coded.small, together=True)
        return torch.cat([scores.clone() for _, scores in self._tiles(codes)], 1)

    def _collect(self, matrix: Tensor, lengths: Tensor) -> Tensor:
        """Fill the rooms with bounds of scores; the threshold that they exceed, ``(b,)``."""
        coded = self._coded
        codes = encode(matrix, lengths, coded.basis, small=coded.small, together=True)
        threshold = self._sampled_threshold(codes)
        rooms = self._rooms
        rooms.clear(len(matrix))
        for first, scores in self._tiles(codes):
            rooms.offer(scores.numpy(), threshold.numpy(), first)
        return threshold

    def _tiles(self, codes: Codes) -> Iterator[tuple[int, Tensor]]:
        """Upper bounds of scores with the points from the first on, ``(b, c)``, in one room."""
        for first in range(0, len(self._bias), TILE_ROWS):
            tile = slice(first, first + TILE_ROWS)
            bias = self._upper_bias(codes, tile)
            yield first, self._products(codes, self._coded.codes[tile], bias)

    def _sampled_threshold(self, codes: Codes) -> Tensor:
        """What as many points should exceed as are among the k best, told from some, ``(b,)``."""
        groups = []
        for start in range(0, len(self._sample), TILE_ROWS):
            tile = slice(start, start + TILE_ROWS)
            bias = self._bias[self._sample[tile]].float()
            scores = self._products(codes, self._sampled[tile], bias)
            # the best of every group: of a few good ones hardly two are in the same group
            groups.append(scores.view(len(scores), GROUP, -1).amax(1))
        best = torch.cat(groups, 1)
        return _largest(best, min(self._rank, best.shape[1]))

    def _collected(
        self, rows: slice, own: Tensor, threshold: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Bounds of scores, their points, ``(b, m)``, and a bound of the other scores ``(b,)``."""
        bounds, columns, full = map(torch.from_numpy, self._rooms.content(rows))
        bounds.masked_fill_(columns == own[:, None], -torch.inf)
        return bounds, columns, threshold.double().masked_fill_(full, torch.inf)

    def _upper_bias(self, codes: Codes, tile: slice) -> Tensor:
        """What makes products of these queries' codes upper bounds of scores, ``(c,)`` float32."""
        points, bias, basis = self._coded.codes[tile], self._bias[tile], self._coded.basis
        defect = 0.0 if basis is None else basis.defect
        length, error, rest = (float(a.amax()) for a in (codes.lengths, codes.errors, codes.rests))
        within = points.lengths * (1 + defect) + points.errors
        size = points.lengths * length
        margin = length * points.errors + error * within + rest * points.rests + defect * size
        # the product of codes is exact or a sum of P float32; then come a few more roundings
        roundings = 16 if self._coded.small else 16 + points.values.shape[1]
        margin += roundings * UNIT * (size + margin - bias) + TINY
        return (bias + margin).float()

    def _products(self, codes: Codes, points: Codes, bias: Tensor) -> Tensor:
        """Products of codes plus a bias, ``(b, c)`` float32."""
        shape = len(codes.values), len(points.values)
        real = self._real[: shape[0] * shape[1]].view(shape)
        if not self._coded.small:
            return torch.addmm(bias, codes.values, points.values.t(), out=real)
        whole = self._whole[: shape[0] * shape[1]].view(shape)
        torch._int_mm(codes.values, points.values.t(), out=whole)
        steps = (points.steps * codes.steps[0]).float()
        return torch.addcmul(bias, real.copy_(whole), steps, out=real)

    def _refine(
        self,
        matrix: Tensor,
        found: tuple[Tensor, Tensor, Tensor],
        part: Tensor,
        width: int,
        floor: Floor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, best first, their points, ``(b, m)``, and a bound of all other scores ``(b,)``.

        Only those are computed that can matter, as the best bounds show.
        """
        bounds, columns, threshold = found
        scores = torch.full_like(bounds, -torch.inf)
        few = min(self._k + EXTRA, bounds.shape[1])
        if few < self._k:
            return scores, columns, torch.full_like(threshold, torch.inf)
        first = (bounds >= _largest(bounds, few)[:, None]) & (bounds > -torch.inf)
        self._score(matrix, scores, columns, first)
        kth = _largest(scores, self._k).double()
        reached = floor(part, kth, columns * first)
        # a little less, as the final k-th score leads to another rounding of the same
        reached = (reached - 0.01 * (kth - reached)).nan_to_num(nan=-torch.inf)
        more = (bounds > reached[:, None]) & ~first & (bounds > -torch.inf)
        self._score(matrix, scores, columns, more & (threshold < torch.inf)[:, None])
        best, points = _best(scores.numpy(), columns.numpy(), width)
        bound = torch.maximum(threshold, reached)
        if best.shape[1] == width:
            bound = torch.maximum(bound, best[:, -1].double())
        return best, points, bound

    def _score(self, matrix: Tensor, scores: Tensor, columns: Tensor, chosen: Tensor) -> None:
        """Fill in the scores of ``chosen`` pairs ``(b, m)``."""
        rows, places = map(torch.from_numpy, np.nonzero(chosen.numpy()))
        points = columns[rows, places]
        found = self._dots(matrix, rows, points).add_(self._single_bias[points])
        scores[rows, places] = found

    def _dots(self, matrix: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        """Inner products of queries ``rows`` (ascending) and points, ``(p,)`` float32."""
        found, points = torch.empty(len(rows)), points.numpy()
        reader = self._coded.points.reader()
        if matrix.shape[1] < LONG:
            step = GATHER_ELEMENTS // matrix.shape[1]
            for start in range(0, len(rows), step):
                part = slice(start, start + step)
                coordinates = reader(points[part])
                torch.sum(coordinates.mul_(matrix.index_select(0, rows[part])), 1, out=found[part])
            return found.mul_(reader.scale)
        step = max(16, GATHER_ELEMENTS // matrix.shape[1])
        ends = torch.bincount(rows, minlength=len(matrix)).cumsum(0).tolist()
        for row, (first, end) in enumerate(zip([0, *ends], ends, strict=False)):
            for start in range(first, end, step):
                part = slice(start, min(start + step, end))
                torch.mv(reader(points[part]), matrix[row], out=found[part])
        return found.mul_(reader.scale)


def _largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest value of every row ``(b,)``."""
    # sorting whole rows is quicker than partitioning them, where values are equal above all
    return torch.from_numpy(np.sort(values.numpy(), axis=1)[:, -k].copy())


def _best(scores: np.ndarray, points: np.ndarray, width: int) -> tuple[Tensor, Tensor]:
    """The ``width`` best scores of every row, best first, and their points."""
    # one whole number that sorts like the score and holds the point: quicker than sorting places
    bits = np.ascontiguousarray(scores).view(np.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    keys = np.sort((ascending.astype(np.int64) << 32) | points, axis=1)[:, : -width - 1 : -1]
    ascending, points = (keys >> 32).astype(np.int32), keys & 0xFFFFFFFF
    bits = ascending ^ ((ascending >> 31) & 0x7FFFFFFF)
    return torch.from_numpy(bits.view(np.float32)), torch.from_numpy(points)
