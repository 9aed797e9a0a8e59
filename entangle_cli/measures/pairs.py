"""Distances of all pairs of a class-ordered set, tile by tile.

Two ways through the pairs. ``triangle`` visits every unordered pair once; its tiles do not mix
same-class with other-class pairs, so their row sums and column sums each go to one place and no
mask is needed (but for diagonal tiles of small classes). ``strips`` visits chosen rows against all
columns.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from entangle_cli.measures.points import PreparedPoints
from entangle_cli.neighbors.distances import pairwise, product, refine
from entangle_cli.scratch import scratch_array

# Tile sides: two or three tiles stay in the second-level cache
HEIGHT, WIDTH = 512, 1024
# Sides of a float32 product are multiples of this where there are rows enough: oneDNN keeps up to
# 0.3 MB of programs for every pair of sides that it has met
STEP = 256
# Converted coordinates of one tile side, at most
SIDE_BYTES = 1 << 25


class Tile(NamedTuple):
    """A block of pairs: all of the ``same`` class or none, ``diagonal`` where rows equal columns.

    Except that a diagonal tile which is not ``same`` is mixed: it holds several whole classes.
    """

    rows: slice
    columns: slice
    same: bool
    diagonal: bool

    @property
    def mixed(self) -> bool:
        """Whether the tile holds same-class and other-class pairs."""
        return self.diagonal and not self.same

    def after(self, first: int) -> tuple[slice, slice]:
        """Rows and columns counted from row ``first``."""
        return tuple(slice(s.start - first, s.stop - first) for s in (self.rows, self.columns))


class Strip(NamedTuple):
    """Chosen rows of any classes against a range of columns.

    The columns are of the class of ``rows[same]`` and of no other chosen row's; of several classes
    that no chosen row has where ``same`` is empty.
    """

    rows: Tensor  # (k,) int64, ascending
    columns: slice
    same: slice


def triangle(points: PreparedPoints) -> Iterator[Tile]:
    """Tiles that cover every unordered pair once; a diagonal tile is a square of both orders."""
    height, width = _sides(points.dimension)
    for first, last, alike in _class_runs(points.bounds, height):
        for rows in _ranges(first, last, height):
            yield Tile(rows, rows, alike, True)
            for columns in _ranges(rows.stop, last, width):
                yield Tile(rows, columns, True, False)
            for columns in _ranges(last, points.count, width):
                yield Tile(rows, columns, False, False)


def _class_runs(bounds: tuple[int, ...], height: int) -> Iterator[tuple[int, int, bool]]:
    """Ranges of rows: one class, or several that fit one tile together; and whether it is one."""
    start = number = 0
    while start < bounds[-1]:
        number += 1
        single = number
        while number + 1 < len(bounds) and bounds[number + 1] - start <= height:
            number += 1
        yield start, bounds[number], number == single
        start = bounds[number]


def triangle_rows(points: PreparedPoints) -> Iterator[list[Tile]]:
    """The tiles of ``triangle``, those of the same rows together; no column is before the rows."""
    for _, tiles in itertools.groupby(triangle(points), lambda tile: tile.rows.start):
        yield list(tiles)


def strips(points: PreparedPoints, rows: Tensor) -> Iterator[Strip]:
    """Chosen rows (ascending) against all columns; strips of the same rows follow each other.

    They are for float64, whose tiles are larger: half as high and half as wide as a triangle's.
    """
    height, width = (side // 2 for side in _sides(points.dimension))
    for part in _ranges(0, len(rows), height):
        chosen = rows[part]
        cuts = np.searchsorted(chosen.cpu().numpy(), points.bounds).tolist()
        done = 0
        for number, (first, last) in enumerate(itertools.pairwise(points.bounds)):
            same = slice(cuts[number], cuts[number + 1])
            if same.start == same.stop:
                continue
            for columns in _ranges(done, first, width):
                yield Strip(chosen, columns, slice(0, 0))
            for columns in _ranges(first, last, width):
                yield Strip(chosen, columns, same)
            done = last
        for columns in _ranges(done, points.count, width):
            yield Strip(chosen, columns, slice(0, 0))


class KeptTiles:
    """Room for the float32 distances of all tiles of ``triangle``.

    It lies in an unlinked file where the points have a folder for such.
    """

    def __init__(self, points: PreparedPoints) -> None:
        self._places: dict[tuple[int, int], tuple[int, tuple[int, int]]] = {}
        self._filled: set[tuple[int, int]] = set()
        size = 0
        for tile in triangle(points):
            shape = (_length(tile.rows), _length(tile.columns))
            self._places[tile.rows.start, tile.columns.start] = size, shape
            size += shape[0] * shape[1]
        self._room = torch.from_numpy(scratch_array((size,), np.float32, points.scratch))

    def has(self, rows: slice, columns: slice) -> bool:
        """Whether the tile was filled."""
        return (rows.start, columns.start) in self._filled

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """The room of a tile, ``(rows, columns)``."""
        first, shape = self._places[rows.start, columns.start]
        return self._room[first : first + shape[0] * shape[1]].view(shape)

    def fill(self, rows: slice, columns: slice) -> None:
        """From now on a tile's distances are in its room."""
        self._filled.add((rows.start, columns.start))


class TileDistances:
    """Internal squared distances of one tile after another; ``kept`` ones are not computed again.

    In float64 small distances are refined, so every entry is relatively accurate to about 1e-10 and
    exact copies are exactly 0. In float32 an entry has the error of the product form and may be
    slightly negative. A point's distance to itself is meaningless: callers treat it apart.
    """

    def __init__(
        self, points: PreparedPoints, dtype: torch.dtype, kept: KeptTiles | None = None
    ) -> None:
        self.points, self.dtype = points, dtype
        self.kept = kept if dtype == torch.float32 else None
        self.norms = points.norms(dtype)
        self.biases = self.norms.to(dtype)
        self._rows: slice | Tensor | None = None

    def __call__(self, rows: slice | Tensor, columns: slice) -> Tensor:
        """Distances ``(rows, columns)``; not to be written into, they may be asked for again."""
        if self.kept is not None and self.kept.has(rows, columns):
            return self.kept.tile(rows, columns)
        if rows is not self._rows:
            self._rows = rows
            self._left = self.points.rows(self._widened(rows), self.dtype) * -2
            self._row_bias = self.biases[rows][:, None]
        wide = self._widened(columns)
        right = self.points.rows(wide, self.dtype)
        # without ``out`` memory of the tile before is given out again: no page of it is touched for
        # the first time
        found = product(self._left, right, self.biases[wide])
        found = found[: len(self._row_bias), : _length(columns)]
        if self.kept is None:
            found.add_(self._row_bias)
        else:
            found = torch.add(found, self._row_bias, out=self.kept.tile(rows, columns))
            self.kept.fill(rows, columns)
        return self._refined(found, rows, columns) if self.dtype == torch.float64 else found

    def _widened(self, rows: slice | Tensor) -> slice | Tensor:
        """These rows and some after them, to a multiple of ``STEP``."""
        if self.dtype != torch.float32 or not isinstance(rows, slice):
            return rows
        length = -(-_length(rows) // STEP) * STEP
        return slice(rows.start, min(rows.start + length, self.points.count))

    def _refined(self, distances: Tensor, rows: slice | Tensor, columns: slice) -> Tensor:
        def sides(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
            left, right = numbers(rows, left), numbers(columns, right)
            return self.points.exact(left), self.points.exact(right)

        copies = self.points.copies
        if copies is not None:
            copies = copies[rows], copies[columns]
        return refine(distances, self.norms[rows], self.norms[columns], sides, copies)


def _length(rows: slice) -> int:
    return rows.stop - rows.start


def numbers(rows: slice | Tensor, index: Tensor) -> Tensor:
    """Row numbers of positions ``index`` within ``rows``."""
    return index + rows.start if isinstance(rows, slice) else rows[index]


def exact_distances(points: PreparedPoints, left: Tensor, right: Tensor) -> Tensor:
    """Internal squared distances of pairs of rows by direct differences, float64 ``(p,)``."""
    if points.copies is not None:
        # the same two points again and again: of a dead unit's zeros there can be thousands
        keys = points.copies[left] * len(points.source) + points.copies[right]
        keys, places = torch.unique(keys, return_inverse=True)
        chosen = torch.full_like(keys, len(left))
        chosen.scatter_reduce_(0, places, torch.arange(len(left)).to(keys), "amin")
        left, right = left[chosen], right[chosen]

    def sides(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        return points.exact(p), points.exact(q)

    distances = pairwise(left, right, sides) + points.extra[left] + points.extra[right]
    return distances if points.copies is None else distances[places]


def _sides(dimension: int) -> tuple[int, int]:
    most = max(16, SIDE_BYTES // (8 * dimension))
    return min(HEIGHT, most), min(WIDTH, most)


def _ranges(start: int, stop: int, step: int) -> Iterator[slice]:
    """Equal parts no longer than ``step``: a short last tile costs nearly as much as a full one."""
    parts = -(-(stop - start) // step)
    edges = [start + (stop - start) * part // max(parts, 1) for part in range(parts + 1)]
    for first, last in itertools.pairwise(edges):
        yield slice(first, last)
