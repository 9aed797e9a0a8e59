"""The first pass over all pairs: nearest points, and in passing the loss at one temperature.

With S_i the same-class sum at a guessed temperature ``T_0 = 1 / beta_0`` and r_i the distance to
the nearest point of the class, every other one of its terms falls at least as fast as the nearest:

    S_i(beta) <= S_i(beta_0) exp(-(beta - beta_0) r_i)    for beta >= beta_0

so ``log S_i + beta_0 r_i``, the log of how many points are as good as nearest at T_0, bounds how
many there are at any temperature below. It narrows the range that can hold the minimum
(``limits.lowest_temperature``), and the loss at T_0 is one that the minimum does not exceed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from entangle_cli.measures.losses import SAME, RowSums
from entangle_cli.measures.nearest import Nearest, from_minima, lower_minima
from entangle_cli.measures.pairs import KeptTiles, Tile
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.sums import TRUSTED, Room, Weighting
from entangle_cli.measures.visits import Elsewhere, visited

# What rounding can take off the logarithm of a number of points
SLACK = 0.01


@dataclass(frozen=True)
class Glance:
    """What the first pass saw at a temperature; ``loss`` is infinity where weights underflowed.

    ``crowd`` ``(n,)``: log of the number of same-class points as good as nearest, at most.
    """

    temperature: float
    loss: float
    crowd: Tensor


@dataclass(frozen=True)
class Look:
    """The visit that finds nearest distances and sums of weights together, ``(2, 2, rest)``."""

    temperature: float
    dtype: torch.dtype

    def state(self, points: PreparedPoints, kept: KeptTiles | None) -> Callable[[], Room]:
        """Room of one thread."""
        return lambda: Room(points, self.dtype, kept)

    def work(self, points: PreparedPoints) -> Callable[[Room, list[Tile]], Tensor]:
        """Minima and sums of a group."""
        weighting = Weighting.at(points, [self.temperature], [0.0], dtype=self.dtype, orders=1)

        def look(room: Room, tiles: list[Tile]) -> Tensor:
            rest = points.count - tiles[0].rows.start
            both = points.vectors(2, 2, count=rest)
            minima, sums = both[0].fill_(torch.inf), both[1].view(1, 2, 1, rest)
            for tile in tiles:
                d = room.distances(tile.rows, tile.columns)
                lower_minima(points, minima, tile, d)
                weighting.add_tile(sums, room, tile, d)
            return both

        return look


def glance(
    points: PreparedPoints,
    anchors: Tensor,
    visit: Look,
    *,
    kept: KeptTiles | None = None,
    elsewhere: Elsewhere | None = None,
) -> tuple[Nearest, Glance]:
    """Nearest points as by ``find_nearest``, and what there is to see at a temperature."""
    sums, minima = points.vectors(2), points.vectors(2, fill=torch.inf)
    for found in visited(points, visit, kept=kept, elsewhere=elsewhere):
        first = points.count - found.shape[-1]
        minima[:, first:] = torch.minimum(minima[:, first:], found[0])
        sums[:, first:] += found[1]
    nearest = from_minima(points, minima[0], minima[1], visit.dtype)
    return nearest, _seen(points, anchors, visit.temperature, nearest, sums, TRUSTED[visit.dtype])


def _seen(
    points: PreparedPoints,
    anchors: Tensor,
    temperature: float,
    nearest: Nearest,
    sums: Tensor,
    trusted: float,
) -> Glance:
    none = torch.zeros_like(nearest.same)
    rows = RowSums(sums[:, None], none, none, anchors)
    whole = bool((sums[:, anchors] >= trusted).all())
    most = (points.sizes - 1).log()
    crowd = sums[SAME].log() + (nearest.same + nearest.error) / temperature + SLACK
    crowd = torch.where(sums[SAME] >= trusted, torch.minimum(crowd, most), most)
    loss = rows.point(temperature).loss if whole else math.inf
    return Glance(temperature, loss, crowd.clamp_(min=0))
