"""The loss as a function of temperature, with distances computed anew in every pass.

Memory is a few tiles and a few numbers per point, whatever n. Tiles are float32 where the error
that this makes in the loss is estimated below ``TOLERATED``, and float64 otherwise.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from entangle_cli.measures.nearest import Nearest, find_nearest, sharpen
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.sums import (
    HEADROOM,
    OTHER,
    ROUNDING,
    SAME,
    TRUSTED,
    CurvePoint,
    curve_point,
    strip_sums,
    triangle_sums,
)

Precision = Literal["auto", "float64", "float32"]

# Relative standard error of the loss at which float32 tiles give way to float64
TOLERATED = 4e-7
# In a scan that only looks for basins: error of an exponent
TOLERATED_IN_SCAN = 0.02
# Below this temperature float32 exponents overflow
LOWEST_SINGLE = 1e-30


class StreamedCurve:
    """Loss and derivatives at given temperatures from passes over all pairs."""

    def __init__(self, points: PreparedPoints, anchors: Tensor, precision: Precision) -> None:
        self.points, self.anchors, self.precision = points, anchors, precision
        self.passes = 0
        self._nearest: Nearest | None = None
        self._too_noisy = 0.0  # float32 was not enough at this temperature

    @property
    def nearest(self) -> Nearest:
        """Nearest distances of every point, found in one pass at first use."""
        if self._nearest is None:
            self.passes += 1
            double = self.precision == "float64"
            self._nearest = find_nearest(self.points, torch.float64 if double else torch.float32)
        return self._nearest

    def at(self, temperature: float) -> CurvePoint:
        """The curve at one temperature, to the precision asked for."""
        single = self.precision != "float64" and temperature > max(LOWEST_SINGLE, self._too_noisy)
        point = self._evaluate(temperature, torch.float32 if single else torch.float64)
        if self.precision == "auto" and single and not point.noise <= TOLERATED * point.loss:
            # a little above: the next step of a descent may go either way
            self._too_noisy = 1.2 * temperature
            point = self._evaluate(temperature, torch.float64)
        return point

    def scan(self, temperatures: list[float]) -> list[CurvePoint]:
        """The curve at many temperatures in one pass, well enough to tell its basins apart.

        Where a row's weights underflow, its nearest same-class and other-class points stand for
        all.
        """
        single = [t for t in temperatures if self.precision != "float64" and self._coarse(t)]
        double = [t for t in temperatures if t not in single]
        found = []
        for chosen, dtype in ((single, torch.float32), (double, torch.float64)):
            if chosen:
                found += self._scan(chosen, dtype)
        return sorted(found, key=lambda point: point.temperature)

    def _scan(self, temperatures: list[float], dtype: torch.dtype) -> list[CurvePoint]:
        self.passes += 1
        shifts = [self._shift(t, dtype) for t in temperatures]
        sums = triangle_sums(self.points, temperatures, dtype=dtype, orders=2, shifts=shifts)
        nearest, found = self.nearest, []
        for temperature, part in zip(temperatures, sums, strict=True):
            lost = _lost(part, dtype)
            part[:, 0, lost], part[:, 1, lost] = 1.0, 0.0
            squares = part.new_zeros(2, 1, self.points.count)
            gaps = ((nearest.same - nearest.other) / temperature).where(lost, 0.0)
            found.append(self._point(torch.cat([part, squares], 1), gaps, temperature, dtype))
        return found

    def _evaluate(self, temperature: float, dtype: torch.dtype) -> CurvePoint:
        self.passes += 1
        shift = self._shift(temperature, dtype)
        sums = triangle_sums(self.points, [temperature], dtype=dtype, orders=3, shifts=[shift])[0]
        gaps = torch.zeros_like(sums[0, 0])
        lost = self.anchors[_lost(sums, dtype)[self.anchors]]
        if len(lost):
            self._restore(sums, gaps, lost, temperature)
        return self._point(sums, gaps, temperature, dtype)

    def _restore(self, sums: Tensor, gaps: Tensor, lost: Tensor, temperature: float) -> None:
        """Rows whose weights underflowed, again in float64 with shifts of their own, in place."""
        sharpen(self.points, self.nearest, lost)
        sums[:, :, lost] = strip_sums(self.points, lost, temperature, self.nearest)
        gaps[lost] = ((self.nearest.same - self.nearest.other) / temperature)[lost]

    def _point(
        self, sums: Tensor, gaps: Tensor, temperature: float, dtype: torch.dtype
    ) -> CurvePoint:
        noise = self.points.norms(dtype) * (ROUNDING[dtype] * math.sqrt(2) / temperature)
        return curve_point(sums, gaps, temperature, anchors=self.anchors, noise=noise)

    def _coarse(self, temperature: float) -> bool:
        return ROUNDING[torch.float32] * self.points.mean_norm() <= TOLERATED_IN_SCAN * temperature

    def _shift(self, temperature: float, dtype: torch.dtype) -> float:
        """One shift for all distances that brings most nearest weights into range.

        Before the nearest distances are known it is 0.
        """
        if self._nearest is None:
            return 0.0
        nearest = self._nearest
        closest = torch.minimum(nearest.same, nearest.other) - nearest.error
        farthest = torch.maximum(nearest.same, nearest.other)[self.anchors].amax()
        low = max(0.0, float(closest.amin()))
        return min(low + HEADROOM[dtype] * temperature, (low + float(farthest)) / 2)


def _lost(sums: Tensor, dtype: torch.dtype) -> Tensor:
    trusted = TRUSTED[dtype]
    return ~((sums[SAME, 0] >= trusted) & (sums[OTHER, 0] >= trusted))
