"""The loss as a function of temperature, with distances computed anew in every pass.

Memory is a few tiles and a few numbers per point, whatever n. Tiles are float32 where the error
that this makes in the loss is estimated below ``TOLERATED``, and float64 otherwise.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from entangle_cli.measures.glance import Glance, Look, glance
from entangle_cli.measures.losses import OTHER, ROUNDING, SAME, CurvePoint, RowSums
from entangle_cli.measures.nearest import Nearest, find_nearest, sharpen
from entangle_cli.measures.pairs import KeptTiles
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.scan import RIPPLE
from entangle_cli.measures.sums import HEADROOM, TRUSTED, WeightedSums, strip_sums, triangle_sums
from entangle_cli.measures.visits import Elsewhere

Precision = Literal["auto", "float64", "float32"]

# Relative standard error of the loss at which float32 tiles give way to float64
TOLERATED = 4e-7
# In a scan that only looks for basins: error of an exponent
TOLERATED_IN_SCAN = 0.02
# Share of rows that are visited again in float64 rather than all of them
MOST_AGAIN = 0.3
# Temperatures whose weights are squares of each other share one shift, the lowest one's
FAMILY = 3
# Float32 distances of all pairs are kept up to this size, which 11,500 points need, and where a
# product costs more than the pages that it fills
KEEP_BYTES = 1 << 28
KEEP_DIMENSION = 48
# Below this temperature float32 exponents overflow
LOWEST_SINGLE = 1e-30


class StreamedCurve:
    """Loss and derivatives at given temperatures from passes over all pairs.

    With ``keep`` float32 distances are kept after the first pass where that takes little memory.
    ``elsewhere``: see ``visits``.
    """

    def __init__(
        self,
        points: PreparedPoints,
        anchors: Tensor,
        precision: Precision,
        *,
        keep: bool = False,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.points, self.anchors, self.precision = points, anchors, precision
        self._elsewhere = elsewhere
        self.passes = 0
        self.ripple = RIPPLE[torch.float32]
        self._kept = KeptTiles(points) if keep and _worth_keeping(points) else None
        self._nearest: Nearest | None = None
        self._too_noisy = 0.0  # float32 was not enough at this temperature

    @property
    def nearest(self) -> Nearest:
        """Nearest distances of every point, found in one pass at first use."""
        return self._nearest or self._find_nearest()

    def _find_nearest(self) -> Nearest:
        self.passes += 1
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        self._nearest = find_nearest(self.points, dtype, self._kept, self._elsewhere)
        return self._nearest

    def glance(self, temperature: float) -> Glance:
        """What the first pass, which finds the nearest points, sees at a guessed temperature."""
        self.passes += 1
        dtype = torch.float64 if self.precision == "float64" else torch.float32
        look = Look(temperature, dtype)
        self._nearest, seen = glance(
            self.points, self.anchors, look, kept=self._kept, elsewhere=self._elsewhere
        )
        return seen

    def at(self, temperature: float) -> CurvePoint:
        """The curve at one temperature, to the precision asked for."""
        return self._settled(temperature, orders=3)

    def loss(self, temperature: float) -> float:
        """The loss at one temperature, without its derivatives."""
        return self._settled(temperature, orders=1).loss

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
        families = _families(temperatures)
        temperatures = [temperature for family in families for temperature in family]
        shifts = [self._shift(family[-1], dtype) for family in families for _ in family]
        sums = self._sums(temperatures, shifts, dtype, orders=2)
        nearest, found = self.nearest, []
        for temperature, part in zip(temperatures, sums, strict=True):
            lost = _lost(part, dtype)
            part[:, 0, lost], part[:, 1, lost] = 1.0, 0.0
            gaps = ((nearest.same - nearest.other) / temperature).where(lost, 0.0)
            rows = RowSums(part, gaps, self._noise(temperature, dtype), self.anchors)
            found.append(rows.point(temperature))
        return found

    def _settled(self, temperature: float, orders: int) -> CurvePoint:
        """A point of the curve in float32, in float64 where that is not enough."""
        single = self.precision != "float64" and temperature > max(LOWEST_SINGLE, self._too_noisy)
        if not single:
            return self._rows(temperature, torch.float64, orders).point(temperature)
        rows = self._rows(temperature, torch.float32, orders)
        point = rows.point(temperature)
        if self.precision == "float32" or point.noise <= TOLERATED * point.loss:
            return point
        noisy = rows.noisy_rows(TOLERATED)
        if len(noisy) <= MOST_AGAIN * self.points.count:
            self._restore(rows, noisy, temperature)
            return rows.point(temperature)
        # a little above: the next step of a descent may go either way
        self._too_noisy = 1.2 * temperature
        return self._rows(temperature, torch.float64, orders).point(temperature)

    def _rows(self, temperature: float, dtype: torch.dtype, orders: int) -> RowSums:
        self.passes += 1
        sums = self._sums([temperature], [self._shift(temperature, dtype)], dtype, orders)[0]
        gaps = torch.zeros_like(sums[0, 0])
        rows = RowSums(sums, gaps, self._noise(temperature, dtype), self.anchors)
        lost = self.anchors[_lost(sums, dtype)[self.anchors]]
        if self._nearest is None and len(lost) > MOST_AGAIN * self.points.count:
            self._find_nearest()
            # one shift suits most rows now
            return self._rows(temperature, dtype, orders)
        if len(lost):
            self._restore(rows, lost, temperature)
        return rows

    def _sums(
        self, temperatures: list[float], shifts: list[float], dtype: torch.dtype, orders: int
    ) -> Tensor:
        visit = WeightedSums(temperatures, shifts, dtype, orders)
        return triangle_sums(self.points, visit, kept=self._kept, elsewhere=self._elsewhere)

    def _restore(self, rows: RowSums, chosen: Tensor, temperature: float) -> None:
        """Chosen rows again in float64 with shifts of their own, in place."""
        sharpen(self.points, self.nearest, chosen)
        orders = rows.sums.shape[1]
        found = strip_sums(self.points, chosen, temperature, self.nearest, orders)
        rows.sums[:, :, chosen] = found
        rows.gaps[chosen] = ((self.nearest.same - self.nearest.other) / temperature)[chosen]
        rows.noise[chosen] = self._noise(temperature, torch.float64)[chosen]

    def _noise(self, temperature: float, dtype: torch.dtype) -> Tensor:
        return self.points.norms(dtype) * (ROUNDING[dtype] * math.sqrt(2) / temperature)

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


def _worth_keeping(points: PreparedPoints) -> bool:
    small = 2 * points.count**2 <= KEEP_BYTES and points.dimension >= KEEP_DIMENSION
    return small and points.device.type == "cpu"


def _families(temperatures: list[float]) -> list[list[float]]:
    """Temperatures as runs T, T/2, T/4, each at most ``FAMILY`` long, from the highest on."""
    left, families = set(temperatures), []
    for highest in sorted(temperatures, reverse=True):
        family = []
        while highest in left and len(family) < FAMILY:
            left.remove(highest)
            family.append(highest)
            highest /= 2
        if family:
            families.append(family)
    return families


def _lost(sums: Tensor, dtype: torch.dtype) -> Tensor:
    trusted = TRUSTED[dtype]
    return ~((sums[SAME, 0] >= trusted) & (sums[OTHER, 0] >= trusted))
