"""The loss as a function of temperature for sets so small that all distances can be kept.

Distances are float64 and refined. Each row keeps them minus its nearest same-class or other-class
distance, so the largest weight of every sum is 1 at any temperature.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from entangle_cli.measures.losses import LOG2E, ROUNDING, CurvePoint, RowSums
from entangle_cli.measures.nearest import from_minima
from entangle_cli.measures.pairs import TileDistances, triangle
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.scan import RIPPLE
from entangle_cli.measures.sums import powers_of_two

# 2,500 points need 50 MB
MOST_POINTS = 2500
# Small sets have shallow minima near the ceiling, which weights in float32 do not show
SCANNED_EXACTLY = 500
# Weights in flight: temperatures x rows x points
CACHED = 1 << 18
TEMPERATURES = 16
# An exponent below this is a weight of 0; kept finite, because 0 times infinity is not 0
LOWEST = -1e6


class StoredCurve:
    """Loss and derivatives at given temperatures from one kept matrix of distances."""

    def __init__(self, points: PreparedPoints, anchors: Tensor) -> None:
        self.points, self.anchors = points, anchors
        self.passes = 1
        n = points.count
        self._excess = all_distances(points).fill_diagonal_(torch.inf)
        self.nearest = from_minima(points, *self._minima(), torch.float64)
        self._shift()
        self._rows = max(1, min(n, CACHED // n))
        self._scanned = torch.float64 if n <= SCANNED_EXACTLY else torch.float32
        self.ripple = RIPPLE[self._scanned]

    def at(self, temperature: float) -> CurvePoint:
        """The curve at one temperature."""
        return self._curve([temperature], torch.float64, orders=3)[0]

    def loss(self, temperature: float) -> float:
        """The loss at one temperature, without its derivatives."""
        return self._curve([temperature], torch.float64, orders=1)[0].loss

    def scan(self, temperatures: list[float]) -> list[CurvePoint]:
        """The curve at many temperatures, ascending."""
        return self._curve(sorted(temperatures), self._scanned, orders=2)

    def _curve(
        self, temperatures: list[float], dtype: torch.dtype, *, orders: int
    ) -> list[CurvePoint]:
        device = self.points.device
        shape = (self.points.count, orders, 2, len(temperatures))
        sums = torch.zeros(shape, dtype=torch.float64, device=device)
        scales = torch.tensor([-LOG2E / t for t in temperatures], dtype=dtype, device=device)
        step = max(1, self._rows // min(len(temperatures), TEMPERATURES))
        for start in range(0, self.points.count, step):
            rows = slice(start, min(start + step, self.points.count))
            excess = self._excess[rows].to(dtype)
            sides = self._sides(rows, dtype)
            for first in range(0, len(scales), TEMPERATURES):
                part = slice(first, first + TEMPERATURES)
                exponents = (excess[:, None, :] * scales[part][None, :, None]).clamp_(min=LOWEST)
                weights = powers_of_two(exponents, out=torch.empty_like(exponents))
                for order in range(orders):
                    if order:
                        weights.mul_(exponents)
                    sums[rows, order, :, part] = torch.bmm(sides, weights.mT).double()
        return [
            self._point(sums[..., number].permute(2, 1, 0), temperature)
            for number, temperature in enumerate(temperatures)
        ]

    def _minima(self) -> tuple[Tensor, Tensor]:
        minima = torch.full((2, self.points.count), torch.inf, dtype=torch.float64)
        same, other = minima.to(self.points.device)
        for first, last in pairwise(self.points.bounds):
            rows, own = slice(first, last), self._excess[first:last]
            same[rows] = own[:, rows].amin(1)
            for part in (own[:, :first], own[:, last:]):
                if part.shape[1]:
                    other[rows] = torch.minimum(other[rows], part.amin(1))
        return same, other

    def _shift(self) -> None:
        """Distances become their excess over the row's nearest of the same kind, in place."""
        for first, last in pairwise(self.points.bounds):
            rows, own = slice(first, last), self._excess[first:last]
            if last - first > 1:
                own[:, rows] -= self.nearest.same[rows, None]
            own[:, :first] -= self.nearest.other[rows, None]
            own[:, last:] -= self.nearest.other[rows, None]
        self._excess.fill_diagonal_(0.0)

    def _sides(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Which columns are of the row's class, which of others, ``(rows, 2, n)``; never itself."""
        classes = self.points.classes
        sides = torch.empty(rows.stop - rows.start, 2, len(classes), dtype=dtype)
        sides = sides.to(classes.device)
        sides[:, 0] = classes[rows, None] == classes[None, :]
        torch.sub(1.0, sides[:, 0], out=sides[:, 1])
        sides[:, 0, rows.start : rows.stop].fill_diagonal_(0.0)
        return sides

    def _point(self, sums: Tensor, temperature: float) -> CurvePoint:
        gaps = (self.nearest.same - self.nearest.other) / temperature
        rounding = ROUNDING[torch.float64] * math.sqrt(2) / temperature
        noise = self.points.norms(torch.float64) * rounding
        return RowSums(sums, gaps, noise, self.anchors).point(temperature)


def all_distances(points: PreparedPoints) -> Tensor:
    """Internal squared distances of all pairs, float64 ``(n, n)``, symmetric, 0 on the diagonal."""
    n = points.count
    whole = torch.empty(n, n, dtype=torch.float64, device=points.device)
    distances = TileDistances(points, torch.float64)
    for tile in triangle(points):
        part = distances(tile.rows, tile.columns)
        whole[tile.rows, tile.columns] = part
        if not tile.diagonal:
            whole[tile.columns, tile.rows] = part.T
    return whole.fill_diagonal_(0.0)
