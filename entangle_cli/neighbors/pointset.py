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

    def centered(self, rows: Rows) -> Tensor:
        """Coordinates of some rows minus the center, float64 ``(b, d)``."""
        return self.exact(rows).sub_(self.coordinates.center)

    def half_norms(self) -> Tensor:
        """Half the squared length of the centered coordinates, float64 ``(n,)``."""
        halves = torch.empty_like(self.factors)
        for part in blocks(self.count, self.dimension):
            halves[part] = squared_lengths(self.centered(part)).mul_(0.5)
        return halves


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
    zero = int(points.zero.sum())
    if not zero:
        return []
    return [
        f"{zero} of {points.count} {name} are zero vectors; their cosine distance to everything is "
        "taken as 1"
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
    for part in blocks(len(rows), points.dimension):
        few = np.unique(rows[part])
        repeat = torch.from_numpy(np.searchsorted(few, rows[part])).to(zero.device)
        x, y = queries.exact(few).index_select(0, repeat), points.exact(columns[part])
        distances[part] = points.coordinates.distances(x, y, zero[part]).cpu().numpy()
    return distances
