"""Weighted sums over all pairs at given temperatures; conventions are those of ``losses``.

Tile sums are added up in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from entangle_cli.measures.losses import LOG2E, OTHER, SAME
from entangle_cli.measures.nearest import Nearest
from entangle_cli.measures.pairs import (
    HEIGHT,
    WIDTH,
    KeptTiles,
    Tile,
    TileDistances,
    numbers,
    strips,
)
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.visits import Elsewhere, visited

# torch gives fewer elements than 2^15 to one thread
UNSHARED = (1 << 15) - 64
# A row whose sum is below this has lost weights to underflow that matter; above it at most 1e-10 of
# the sum is missing. It is visited again with its own shift.
TRUSTED = {torch.float32: 1e-24, torch.float64: 1e-280}
# Exponent of the largest weight allowed, in nats: n weights and two moments still fit below the
# maximum
HEADROOM = {torch.float32: 50.0, torch.float64: 500.0}


@dataclass(frozen=True)
class WeightedSums:
    """The visit that finds sums of ``w e^m`` for m < orders, ``(temperatures, 2, orders, rest)``.

    Of temperatures that follow each other as T and T/2 with one shift the second's weights are the
    squares of the first's.
    """

    temperatures: list[float]
    shifts: list[float]
    dtype: torch.dtype
    orders: int

    def state(self, points: PreparedPoints, kept: KeptTiles | None) -> "Callable[[], Room]":
        """Room of one thread."""
        return lambda: Room(points, self.dtype, kept)

    def work(self, points: PreparedPoints) -> "Callable[[Room, list[Tile]], Tensor]":
        """Sums of a group."""
        return Weighting.at(
            points, self.temperatures, self.shifts, dtype=self.dtype, orders=self.orders
        ).block


def triangle_sums(
    points: PreparedPoints,
    visit: WeightedSums,
    *,
    kept: KeptTiles | None = None,
    elsewhere: Elsewhere | None = None,
) -> Tensor:
    """Sums over all pairs, ``(temperatures, 2, orders, n)`` float64."""
    sums = points.vectors(len(visit.temperatures), 2, visit.orders)
    for found in visited(points, visit, kept=kept, elsewhere=elsewhere):
        sums[..., points.count - found.shape[-1] :] += found
    return sums


class Room:
    """What one thread computes distances and weights in."""

    def __init__(self, points: PreparedPoints, dtype: torch.dtype, kept: KeptTiles | None) -> None:
        self.distances = TileDistances(points, dtype, kept)
        self.buffers = torch.empty(2, HEIGHT * WIDTH, dtype=dtype, device=points.device)


@dataclass(frozen=True)
class Weighting:
    """Weighted sums over tiles at several temperatures, ``offsets`` the scaled shifts."""

    points: PreparedPoints
    scales: list[float]
    offsets: list[Tensor]
    squares: list[bool]  # where the weights are the squares of those of the temperature before
    orders: int

    @classmethod
    def at(
        cls,
        points: PreparedPoints,
        temperatures: list[float],
        shifts: list[float],
        *,
        dtype: torch.dtype,
        orders: int,
    ) -> "Weighting":
        """Those of ``WeightedSums``."""
        places = [(LOG2E / t, shift) for t, shift in zip(temperatures, shifts, strict=True)]
        squares = [
            number > 0 and orders < 3 and places[number - 1] == (scale / 2, shift)
            for number, (scale, shift) in enumerate(places)
        ]
        kind = {"dtype": dtype, "device": points.device}
        offsets = [torch.tensor(scale * shift, **kind) for scale, shift in places]
        return cls(points, [scale for scale, _ in places], offsets, squares, orders)

    def block(self, room: Room, tiles: list[Tile]) -> Tensor:
        """Sums of some rows and all after them, ``(temperatures, 2, orders, rest)`` float64."""
        first = tiles[0].rows.start
        rest = self.points.count - first
        sums = self.points.vectors(len(self.scales), 2, self.orders, count=rest)
        for tile in tiles:
            self.add_tile(sums, room, tile, room.distances(tile.rows, tile.columns))
        return sums

    def add_tile(self, sums: Tensor, room: Room, tile: Tile, d: Tensor) -> None:
        """Add what a tile of distances ``d`` gives to the sums of its group, in place."""
        first = self.points.count - sums.shape[-1]
        exponents, weights = (buffer[: d.numel()].view(d.shape) for buffer in room.buffers)
        alike = self._alike(tile, d.dtype)
        for number, square in enumerate(self.squares):
            if not square or self.orders > 1:
                torch.add(self.offsets[number], d, alpha=-self.scales[number], out=exponents)
            if square:
                torch.mul(weights, weights, out=weights)
            else:
                powers_of_two(exponents, out=weights)
                if tile.diagonal:
                    # distance 0 can exceed the headroom; the exponent must stay finite
                    weights.fill_diagonal_(0)
            moment = weights
            for order in range(self.orders):
                if order:
                    # of two orders the weights are left as they are, to be squared
                    out = exponents if self.orders == 2 else weights
                    moment = torch.mul(moment, exponents, out=out)
                _add(sums[number, :, order], tile, moment, first, alike)

    def _alike(self, tile: Tile, dtype: torch.dtype) -> Tensor | None:
        if not tile.mixed:
            return None
        classes = self.points.classes
        return (classes[tile.rows, None] == classes[None, tile.columns]).to(dtype)


def _add(sums: Tensor, tile: Tile, weights: Tensor, first: int, alike: Tensor | None) -> None:
    """Add a tile's row and column sums to same-class and other-class sums ``(2, rest)``."""
    rows, columns = tile.after(first)
    if alike is not None:
        sums[SAME, rows] += (weights * alike).sum(1)
        sums[OTHER, rows] += (weights * (1 - alike)).sum(1)
        return
    target = sums[SAME if tile.same else OTHER]
    target[rows] += weights.sum(1)
    if not tile.diagonal:
        target[columns] += weights.sum(0)


def strip_sums(
    points: PreparedPoints, rows: Tensor, temperature: float, nearest: Nearest, orders: int
) -> Tensor:
    """As ``triangle_sums`` for chosen rows, each shifted by its nearest distances.

    The nearest weight of each sum is 1, so nothing underflows; all in float64, ``(2, orders, k)``.
    """
    sums = points.vectors(2, orders)
    distances = TileDistances(points, torch.float64)
    scale = LOG2E / temperature
    for strip in strips(points, rows):
        d = distances(strip.rows, strip.columns)
        shift = nearest.other[strip.rows]
        shift[strip.same] = nearest.same[strip.rows[strip.same]]
        exponents = (shift[:, None] - d).mul_(scale)
        weights = powers_of_two(exponents, out=torch.empty_like(exponents))
        columns = numbers(strip.columns, torch.arange(d.shape[1]).to(d.device))
        own = strip.rows[:, None] == columns
        weights.masked_fill_(own, 0.0)
        exponents.masked_fill_(own, 0.0)
        for order in range(orders):
            if order:
                weights.mul_(exponents)
            found = weights.sum(1)
            sums[SAME, order, strip.rows[strip.same]] += found[strip.same]
            found[strip.same] = 0.0
            sums[OTHER, order, strip.rows] += found
    return sums[:, :, rows]


def powers_of_two(exponents: Tensor, out: Tensor) -> Tensor:
    """``2^e`` of a contiguous tensor, into ``out``; the same bits with any number of threads.

    torch.exp2 rounds the ends of each thread's share differently, so it gets pieces that it does
    not share out, of whole vectors. torch.exp would be several times slower on underflow.
    """
    if exponents.device.type != "cpu" or torch.get_num_threads() == 1:
        return torch.exp2(exponents, out=out)
    for part, result in zip(
        exponents.view(-1).split(UNSHARED), out.view(-1).split(UNSHARED), strict=True
    ):
        torch.exp2(part, out=result)
    return out
