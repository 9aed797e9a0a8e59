"""Principal components of points, by the smaller of their two matrices of inner products.

*Conventions*: points ``(n, d)`` are centered by the mean of those that the axes were found from;
components are in order of falling variance, not scaled, each with the sign that makes its largest
entry (the first of equals) positive. Directions without variance are left out. Float64; columns are
read in blocks, so that memory is bounded by n x n or d x d, whichever is smaller.

    d <= n   axes are eigenvectors v of X'X,  scores X v
    d > n    u, s^2 of X X',                  scores u s; of other points Y X' u / s
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from entangle_cli.errors import MeasureError

# below this share of the largest an eigenvalue is rounding
NOTHING = 1e-12
_BLOCK_BYTES = 1 << 26


@dataclass(frozen=True)
class PrincipalAxes:
    """Axes found from ``points``; ``scores`` ``(n, k)`` are these points in them."""

    points: np.ndarray
    center: np.ndarray
    scores: np.ndarray
    combinations: np.ndarray  # (n, k): an axis is a sum of centered points with these weights

    def project(self, others: np.ndarray) -> np.ndarray:
        """Scores ``(m, k)`` of other points ``(m, d)``.

        Raises:
            MeasureError: points of another dimension.
        """
        if others.shape[1:] != self.points.shape[1:]:
            raise MeasureError(
                f"points of {others.shape[1]} numbers on axes of {self.points.shape[1]}; give "
                "points of one layer"
            )
        found = np.zeros((len(others), self.combinations.shape[1]))
        for part in _columns(self.points):
            axes = self._centered(self.points, part).T @ self.combinations
            found += self._centered(others, part) @ axes
        return found

    def _centered(self, points: np.ndarray, part: slice) -> np.ndarray:
        return points[:, part].astype(np.float64) - self.center[part]


def principal_axes(points: np.ndarray, count: int) -> PrincipalAxes:
    """The first ``count`` principal axes of points ``(n, d)``, fewer where variance ends.

    Raises:
        MeasureError: fewer than two points, a value that is not finite, or points all equal.
    """
    if points.ndim != 2 or len(points) < 2:
        raise MeasureError(f"points of shape {points.shape}; give two or more rows of numbers")
    require_finite(points)
    center = np.concatenate([points[:, p].mean(axis=0, dtype=np.float64) for p in _columns(points)])
    wide = points.shape[1] > len(points)
    products = _between_points(points, center) if wide else _between_columns(points, center)
    side = len(products)
    values, vectors = eigh(products, subset_by_index=[max(0, side - count), side - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    if values[0] <= 0:
        raise MeasureError("all points are the same: they have no principal axes")
    kept = values > NOTHING * values[0]
    values, vectors = values[kept], vectors[:, kept]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(kept.sum())])
    lengths = np.sqrt(values)
    if wide:
        return PrincipalAxes(points, center, vectors * lengths, vectors / lengths)
    scores = (points.astype(np.float64) - center) @ vectors
    # an axis is X' (X v) / s^2
    return PrincipalAxes(points, center, scores, scores / values)


def require_finite(points: np.ndarray) -> None:
    """Refuse NaN and infinities.

    Raises:
        MeasureError: there is one; the message names the first such row.
    """
    broken = np.zeros(len(points), dtype=bool)
    for part in _columns(points):
        broken |= ~np.isfinite(points[:, part]).all(axis=1)
    if broken.any():
        raise MeasureError(
            f"point {int(broken.argmax())} has a value that is NaN or infinite ({broken.sum()} "
            "such points); choose another layer, or leave them out"
        )


def _between_points(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    total = np.zeros((len(points), len(points)))
    for part in _columns(points):
        block = points[:, part].astype(np.float64) - center[part]
        total += block @ block.T
    return total


def _between_columns(points: np.ndarray, center: np.ndarray) -> np.ndarray:
    block = points.astype(np.float64) - center
    return block.T @ block


def _columns(points: np.ndarray) -> Iterator[slice]:
    width = max(1, _BLOCK_BYTES // (8 * max(1, len(points))))
    for first in range(0, points.shape[1], width):
        yield slice(first, min(first + width, points.shape[1]))
