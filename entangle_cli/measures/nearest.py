"""The nearest same-class and the nearest other-class point of every point.

These decide whether the loss has the infimum 0 at temperature 0, and the leave-one-out 1-nearest
neighbor accuracy; both decisions are exact. Distances from float32 tiles are trusted where rounding
cannot change the answer; the other rows are visited again in float64, and where even that leaves
two distances equal to ten digits, by direct differences.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from entangle_cli.measures.pairs import (
    KeptTiles,
    Tile,
    TileDistances,
    exact_distances,
    numbers,
    strips,
)
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.visits import Elsewhere, visited

# Two float64 distances that agree to this are compared again by direct differences
NEAR_TIE = 1e-9
# Direct differences that agree to this are equal: their sums may be rounded in different order
TIE = 1e-14
# Directions are rounded, so squared distances of unit vectors below this are 0
UNIT_ROUNDING = 1e-30
# Rounding of one float32 distance in units of its norms, generously
SINGLE_ERROR = 1e-6
TIE_ROWS = 256


@dataclass
class Nearest:
    """Internal squared distances to the nearest points, ``(n,)`` float64; inf where there is none.

    ``error`` bounds the rounding of both, 0 where they are known to float64 accuracy. For rows
    where the two distances are equal, ``tied_same`` and ``tied_other`` count the points at that
    distance; 0 elsewhere. ``correct``: the nearest point, the first in the given order among
    equals, has the row's class.
    """

    same: Tensor
    other: Tensor
    error: Tensor
    tied_same: Tensor
    tied_other: Tensor
    correct: Tensor

    @property
    def tied(self) -> Tensor:
        """Rows whose nearest same-class and other-class points are equally far."""
        return self.tied_other > 0

    def accuracy(self) -> float:
        """Leave-one-out 1-nearest-neighbor accuracy, in [0, 1]."""
        return float(self.correct.double().mean())


@dataclass(frozen=True)
class Minima:
    """The visit that finds the nearest distances, ``(2, rest)``."""

    dtype: torch.dtype

    def state(self, points: PreparedPoints, kept: KeptTiles | None) -> Callable[[], TileDistances]:
        """Distances of one thread."""
        return lambda: TileDistances(points, self.dtype, kept)

    def work(self, points: PreparedPoints) -> Callable[[TileDistances, list[Tile]], Tensor]:
        """Minima of a group."""
        return lambda distances, tiles: _block_minima(points, distances, tiles)


def find_nearest(
    points: PreparedPoints,
    dtype: torch.dtype,
    kept: KeptTiles | None = None,
    elsewhere: Elsewhere | None = None,
) -> Nearest:
    """One pass over all pairs, and a second look at the rows where rounding could decide."""
    n = points.count
    minima = points.vectors(2, fill=torch.inf)
    for found in visited(points, Minima(dtype), kept=kept, elsewhere=elsewhere):
        part = minima[:, n - found.shape[1] :]
        torch.minimum(part, found, out=part)
    return from_minima(points, minima[0], minima[1], dtype)


def _block_minima(points: PreparedPoints, distances: TileDistances, tiles: list[Tile]) -> Tensor:
    """Minima over the tiles of some rows, for these rows and all after them, ``(2, rest)``."""
    first = tiles[0].rows.start
    minima = points.vectors(2, fill=torch.inf, count=points.count - first)
    for tile in tiles:
        lower_minima(points, minima, tile, distances(tile.rows, tile.columns))
    return minima


def lower_minima(points: PreparedPoints, minima: Tensor, tile: Tile, d: Tensor) -> None:
    """Lower the minima of a block, ``(2, rest)``, to those of a tile of distances ``d``."""
    rows, columns = tile.after(points.count - minima.shape[1])
    if tile.diagonal:
        d = d.clone().fill_diagonal_(torch.inf)
    if tile.mixed:
        same = points.classes[tile.rows, None] == points.classes[None, tile.columns]
        _lower(minima[0], rows, d.masked_fill(~same, torch.inf).amin(1))
        _lower(minima[1], rows, d.masked_fill(same, torch.inf).amin(1))
        return
    target = minima[0 if tile.same else 1]
    _lower(target, rows, d.amin(1))
    if not tile.diagonal:
        _lower(target, columns, d.amin(0))


def _lower(minima: Tensor, rows: slice | Tensor, found: Tensor) -> None:
    minima[rows] = torch.minimum(minima[rows], found.double())


def from_minima(points: PreparedPoints, same: Tensor, other: Tensor, dtype: torch.dtype) -> Nearest:
    """The exact record from minima that carry the rounding of ``dtype``; it takes them over."""
    single = dtype == torch.float32
    none = torch.zeros(len(same), dtype=torch.int32, device=same.device)
    correct = same < other
    nearest = Nearest(
        same=same.clamp_(min=0),
        other=other.clamp_(min=0),
        error=points.vectors(),
        tied_same=none,
        tied_other=none.clone(),
        correct=correct,
    )
    if single:
        closest = torch.minimum(nearest.same, nearest.other)
        # the other point of a near pair has |y|^2 <= 2 |x|^2 + 2 d
        torch.mul(6 * points.norms(dtype) + 4 * closest, SINGLE_ERROR, out=nearest.error)
        doubtful = ~((nearest.same - nearest.other).abs() > 2 * nearest.error)
        sharpen(points, nearest, torch.nonzero(doubtful)[:, 0])
    else:
        _break_ties(points, nearest, torch.arange(points.count, device=points.device))
    return nearest


def sharpen(points: PreparedPoints, nearest: Nearest, rows: Tensor) -> None:
    """Bring chosen rows to float64 accuracy, in place; rows that have it already are left alone."""
    rows = rows[nearest.error[rows] > 0]
    if not len(rows):
        return
    nearest.same[rows], nearest.other[rows] = torch.inf, torch.inf
    distances = TileDistances(points, torch.float64)
    for strip in strips(points, rows):
        d = distances(strip.rows, strip.columns)
        d.masked_fill_(_own(strip.rows, strip.columns), torch.inf)
        found = d.amin(1)
        _lower(nearest.same, strip.rows[strip.same], found[strip.same])
        found[strip.same] = torch.inf
        _lower(nearest.other, strip.rows, found)
    nearest.error[rows] = 0.0
    nearest.correct[rows] = nearest.same[rows] < nearest.other[rows]
    _break_ties(points, nearest, rows)


def _own(rows: Tensor, columns: slice) -> Tensor:
    return rows[:, None] == torch.arange(columns.start, columns.stop, device=rows.device)


def _break_ties(points: PreparedPoints, nearest: Nearest, rows: Tensor) -> None:
    same, other = nearest.same[rows], nearest.other[rows]
    floor = UNIT_ROUNDING if points.metric == "cosine" else 0.0
    close = (same - other).abs() <= NEAR_TIE * torch.minimum(same, other) + floor
    rows = rows[close]
    distances = TileDistances(points, torch.float64)
    for start in range(0, len(rows), TIE_ROWS):
        part = rows[start : start + TIE_ROWS]
        limits = torch.maximum(nearest.same[part], nearest.other[part]) * (1 + NEAR_TIE) + floor
        found = []
        for strip in strips(points, part):
            d = distances(strip.rows, strip.columns)
            limit = limits[torch.searchsorted(part, strip.rows)]
            hit = (d <= limit[:, None]) & ~_own(strip.rows, strip.columns)
            left, right = torch.nonzero(hit, as_tuple=True)
            right_rows = numbers(strip.columns, right)
            found.append((strip.rows[left], right_rows, d[left, right]))
        _settle(points, nearest, part, [torch.cat(column) for column in zip(*found, strict=True)])


def _settle(points: PreparedPoints, nearest: Nearest, rows: Tensor, pairs: list[Tensor]) -> None:
    """Decide rows from all pairs near their minimum: (row, other row, float64 distance)."""
    left, right, distances = pairs
    open_pairs = distances > 0
    distances[open_pairs] = exact_distances(points, left[open_pairs], right[open_pairs])
    place = torch.searchsorted(rows, left)
    floor = UNIT_ROUNDING if points.metric == "cosine" else 0.0
    closest = torch.full((len(rows),), torch.inf, dtype=torch.float64, device=rows.device)
    closest.scatter_reduce_(0, place, distances, "amin")
    same = points.classes[left] == points.classes[right]
    tied = distances <= closest[place] * (1 + TIE) + floor
    # the first point in the order given decides; same-class pairs have even keys
    keys = 2 * torch.from_numpy(points.order).to(rows.device)[right] + (~same).long()
    first = torch.full_like(rows, torch.iinfo(torch.int64).max)
    first.scatter_reduce_(0, place[tied], keys[tied], "amin")
    counts = torch.zeros(2, len(rows), dtype=torch.int64, device=rows.device)
    for side, chosen in enumerate((tied & same, tied & ~same)):
        counts[side].index_add_(0, place[chosen], torch.ones_like(place[chosen]))
        minima = torch.full_like(closest, torch.inf)
        minima.scatter_reduce_(
            0, place[same == (side == 0)], distances[same == (side == 0)], "amin"
        )
        target = nearest.same if side == 0 else nearest.other
        target[rows] = torch.where(counts[side] > 0, closest, minima)
    both = (counts > 0).all(0)
    for tied, count in zip((nearest.tied_same, nearest.tied_other), counts, strict=True):
        tied[rows] = (count * both).int()
    nearest.correct[rows] = first % 2 == 0
