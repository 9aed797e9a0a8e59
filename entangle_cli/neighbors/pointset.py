"""Points read where they lie, in the coordinates of a search, and true distances between two sets.

Nothing of the size of the points is copied: rows are read, from memory or a memory-mapped file,
when they are needed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.coordinates import (
    Coordinates,
    blocks,
    fit_coordinates,
    raw,
    squared_lengths,
)

Rows = slice | np.ndarray


@dataclass(frozen=True)
class PointSet:
    """Points ``(n, d)`` with the factor that scales or normalizes each of them."""

    source: np.ndarray
    coordinates: Coordinates
    factors: Tensor  # (n,) float64

    @property
    def count(self) -> int:
        """Number of points n."""
        return len(self.source)

    @property
    def dimension(self) -> int:
        """Number of entries d of a point."""
        return self.source.shape[1]

    @property
    def zero(self) -> Tensor:
        """Which points are zero vectors, under cosine, ``(n,)`` bool; none under euclidean."""
        return self.factors == 0

    def exact(self, rows: Rows) -> Tensor:
        """Coordinates of some rows, not centered, float64 ``(b, d)``."""
        values = raw(self.source[rows], self.coordinates.device)
        return values.to(torch.float64, copy=True).mul_(self.factors[rows][:, None])

    @property
    def plain(self) -> bool:
        """Whether differences can be squared as they are, without a scale."""
        return self.coordinates.metric == "euclidean" and self.source.dtype == np.float32

    def unscaled(self, rows: np.ndarray) -> Tensor:
        """Some rows as they are, float64 ``(b, d)``."""
        values = torch.from_numpy(np.take(self.source, rows, axis=0).astype(np.float64))
        return values.to(self.coordinates.device)

    def centered(self, rows: Rows) -> Tensor:
        """Coordinates of some rows minus the center, float64 ``(b, d)``."""
        return self.exact(rows).sub_(self.coordinates.center)

    def single(self, rows: Rows) -> Tensor:
        """Coordinates of some rows minus the center, float32 ``(b, d)``, each rounded once."""
        reader = self.reader()
        values = reader(rows)
        return values if reader.scale == 1 else values.mul_(reader.scale)

    def reader(self) -> "Reader":
        """A quick way to read many rows."""
        return Reader(self)

    def half_norms(self) -> Tensor:
        """Half the squared length of the centered coordinates, float64 ``(n,)``."""
        halves = torch.empty_like(self.factors)
        for part in blocks(self.count, self.dimension):
            halves[part] = squared_lengths(self.centered(part)).mul_(0.5)
        return halves


class Reader:
    """Reads rows ``(b, d)`` minus the center in float32, each entry rounded once.

    What is read is to be multiplied with ``scale``, a power of two. It is overwritten by the next
    call.
    """

    def __init__(self, points: PointSet) -> None:
        self._points, coordinates = points, points.coordinates
        self._quick = points.source.dtype == np.float32 and coordinates.quick
        self.scale = coordinates.scale if self._quick else 1.0
        self._center = coordinates.raw_center if self._quick else None
        self._room = np.empty((0, points.dimension), np.float32)

    def __call__(self, rows: Rows) -> Tensor:
        """Rows to be multiplied with ``scale``, ``(b, d)``."""
        if not self._quick:
            return self._points.centered(rows).float()
        source, device = self._points.source, self._points.coordinates.device
        if isinstance(rows, slice):
            # a new array: what is read may be a file that cannot be written
            return torch.from_numpy(np.subtract(source[rows], self._center)).to(device)
        if len(self._room) < len(rows):
            self._room = np.empty((len(rows), source.shape[1]), np.float32)
        values = np.take(source, rows, axis=0, out=self._room[: len(rows)], mode="clip")
        values -= self._center
        return torch.from_numpy(values).to(device)


def open_points(points: np.ndarray, metric: str, device: torch.device) -> PointSet:
    """Points ``(n, d)`` and the coordinates that suit them, checked in one pass."""
    return PointSet(points, *fit_coordinates(points, metric, device))


def open_queries(points: np.ndarray, coordinates: Coordinates) -> PointSet:
    """Other points in the coordinates of the indexed ones.

    Raises:
        MeasureError: a value that is not finite, naming the query.
    """
    factors = torch.empty(len(points), dtype=torch.float64, device=coordinates.device)
    for part in blocks(len(points), points.shape[1]):
        factors[part] = coordinates.factors(points[part], part.start, "query")
    return PointSet(points, coordinates, factors)


def zero_vector_notes(points: PointSet, name: str) -> list[str]:
    """What to tell about zero vectors, nothing where there are none; ``name`` is a plural."""
    return zero_vector_text(int(points.zero.sum()), points.count, name)


def zero_vector_text(zero: int, count: int, name: str) -> list[str]:
    """As ``zero_vector_notes``, of ``zero`` among ``count`` vectors."""
    if not zero:
        return []
    return [
        f"{zero} of {count} {name} are zero vectors; their cosine distance to everything is taken "
        "as 1"
    ]


def pair_distances(
    queries: PointSet, points: PointSet, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """True distances of query ``rows[p]`` and point ``columns[p]``, ``(p,)`` float64.

    By differences, so relative accuracy is kept for near-duplicates far from the origin. ``rows``
    is ascending.
    """
    distances = np.empty(len(rows))
    zero = (queries.factors[rows] == 0) | (points.factors[columns] == 0)
    plain = points.plain and queries.plain
    read = PointSet.unscaled if plain else PointSet.exact
    for part in blocks(len(rows), points.dimension):
        few, repeat = np.unique(rows[part], return_inverse=True)
        repeat = torch.from_numpy(repeat).to(zero.device)
        x, y = read(queries, few), read(points, columns[part])
        y.sub_(x.index_select(0, repeat))
        if plain:
            distances[part] = squared_lengths(y).sqrt_().cpu().numpy()
        else:
            distances[part] = points.coordinates.distances(y, zero[part]).cpu().numpy()
    return distances
