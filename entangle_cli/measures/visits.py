"""One visit of all pairs of a set: what is to be found, cut into groups of rows.

A group's tiles are worked on by one thread from beginning to end, into one partial result for its
rows and all after them; partial results are merged in the order of the groups. The groups depend
on the points alone, so it does not matter to a single bit who works on which, and where.
"""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Protocol

from torch import Tensor

from entangle_cli.measures.pairs import KeptTiles, Tile, triangle_rows
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.workers import in_order

# Sets of this size are worth being cut; below it a group is a tile's height
GROUPED = 20_000
# About as many groups of equal work, whatever the size: every one costs a vector per temperature
GROUPS = 64


class Visit(Protocol):
    """What is to be found on the way, in plain values, so that it can be sent anywhere."""

    def state(self, points: PreparedPoints, kept: KeptTiles | None) -> Callable[[], Any]:
        """Makes what one thread works in."""

    def work(self, points: PreparedPoints) -> Callable[[Any, list[Tile]], Tensor]:
        """What a group of tiles gives for its rows and all after them, ``(..., rest)`` float64."""


# the partial results of a visit in so many groups, in their order, from wherever they are found
Elsewhere = Callable[[Visit, int], Iterator[Tensor]]


def visited(
    points: PreparedPoints,
    visit: Visit,
    *,
    kept: KeptTiles | None = None,
    elsewhere: Elsewhere | None = None,
) -> Iterator[Tensor]:
    """The partial result of every group, in order."""
    if elsewhere is not None:
        return elsewhere(visit, sum(1 for _ in groups(points)))
    return _found(points, visit, kept, groups(points))


def visited_part(points: PreparedPoints, visit: Visit, first: int, last: int) -> Iterator[Tensor]:
    """The partial results of the groups ``first`` to ``last``."""
    return _found(points, visit, None, islice(groups(points), first, last))


def groups(points: PreparedPoints) -> Iterator[list[Tile]]:
    """The tiles of ``triangle`` in groups of whole rows, of about equal work in large sets."""
    if points.count < GROUPED:
        yield from triangle_rows(points)
        return
    share = points.count * (points.count + 1) // 2 // GROUPS
    gathered: list[list[Tile]] = []
    # the last rows reach the last share, and nothing is left
    pairs = done = 0
    for tiles in triangle_rows(points):
        gathered.append(tiles)
        pairs += _pairs(points, tiles)
        if pairs >= share * (done + 1):
            done = pairs // share
            yield list(chain.from_iterable(gathered))
            gathered = []


def _pairs(points: PreparedPoints, tiles: list[Tile]) -> int:
    """Unordered pairs of these rows with themselves and all after them."""
    rows = tiles[0].rows
    height = rows.stop - rows.start
    return height * (height + 1) // 2 + height * (points.count - rows.stop)


def _found(
    points: PreparedPoints, visit: Visit, kept: KeptTiles | None, parts: Iterator[list[Tile]]
) -> Iterator[Tensor]:
    return in_order(visit.state(points, kept), visit.work(points), parts, points.device)
