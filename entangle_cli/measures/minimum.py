"""The minimum of the loss over temperature: a range that must hold it, a scan, a descent.

Small sets keep all distances and are scanned from the lowest temperature not excluded (``limits``)
to one where the curve is flat. Large sets are scanned on all points too, but only where a
stratified subsample says that the curve can be low *from above*: low temperatures hang on near
neighbors, which a subsample does not have, so they are never left out on its word.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from entangle_cli.measures.limits import anchor_rows, ceiling, lowest_temperature
from entangle_cli.measures.losses import CurvePoint
from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.scan import Basin, Curve, descend, find_basins, lattice
from entangle_cli.measures.stored import StoredCurve
from entangle_cli.measures.streamed import StreamedCurve

# Basins whose guessed depth is within this of the deepest are descended
CANDIDATE = 1.03
# Above this many times the largest distance the curve is a straight line in 1/T towards its ceiling
FLAT = 1e3
# A temperature near which the minimum of real layers was seen, in mean squared distances
TYPICAL = 0.03
SUBSAMPLE = 1000
MOST_CLASSES = 250
# A first guess at the minimum, as a share of the ceiling, where the subsample has none
GUESS = 0.1
# Ten times as many points of real layers had their minimum at 0.5 to 0.9 times its temperature
TREND = 0.7
# The window is one in which the loss may be this many times the one seen
BESIDE = 1.05
# The gain of the last step is known to a few percent
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "auto": 1e-5}


@dataclass(frozen=True)
class Minimum:
    """The deepest interior minimum (None where the curve has none) and how many were seen."""

    point: CurvePoint | None
    local_minima: int


def stored_minimum(curve: StoredCurve, points: PreparedPoints, top: float) -> Minimum:
    """Scan everything, descend into what may be deepest; ``top`` is the ceiling of the loss."""
    unit, largest = _scales(points)
    bound = min(top, curve.scan([TYPICAL * unit])[0].loss)
    low = lowest_temperature(points, curve.nearest, curve.anchors, bound)
    found = curve.scan(lattice(low, FLAT * largest, unit, largest))
    return _deepest(curve, find_basins(curve, found), TOLERANCE["float64"])


class StreamedSearch:
    """As ``stored_minimum`` with as few passes over all pairs as the answer allows.

    The first pass is at once: it finds the nearest points of ``curve``.
    """

    def __init__(self, curve: StreamedCurve, points: PreparedPoints) -> None:
        self._curve, self._points = curve, points
        self._limit = _upper_limits(points)
        guess = self._limit.temperature
        self._seen = None if guess is None else curve.glance(guess)

    def minimum(self, top: float) -> Minimum:
        """The deepest minimum; ``top`` is the ceiling of the loss."""
        curve, points, limit = self._curve, self._points, self._limit
        unit, largest = _scales(points)
        seen = math.inf if self._seen is None else BESIDE * self._seen.loss
        # a loss that was seen holds; where a guess was too low the window grows once more
        bound = min(top, seen if seen < math.inf else 1.25 * limit.guess * top)
        found: list[CurvePoint] = []
        for _ in range(2):
            low = lowest_temperature(points, curve.nearest, curve.anchors, bound, self._seen)
            high = max(2 * low, min(FLAT * largest, limit.highest(bound / top)))
            known = {point.temperature for point in found}
            wanted = [t for t in lattice(low, high, unit, largest) if t not in known]
            found = sorted([*found, *curve.scan(wanted)], key=lambda point: point.temperature)
            deepest = min(point.loss for point in found)
            if deepest <= bound or bound >= seen:
                break
            bound = min(top, deepest)
        return _deepest(curve, find_basins(curve, found), TOLERANCE[curve.precision])


def _deepest(curve: Curve, basins: list[Basin], tolerance: float) -> Minimum:
    chosen = [basin for basin in basins if basin.loss <= CANDIDATE * basins[0].loss]
    bottoms = [descend(curve, basin, tolerance) for basin in chosen]
    point = min(bottoms, key=lambda bottom: bottom.loss) if bottoms else None
    return Minimum(point, len(basins))


def _scales(points: PreparedPoints) -> tuple[float, float]:
    """The mean squared distance and a bound on the largest."""
    return 2 * points.mean_norm(), 4 * float(points.norms(torch.float64).amax())


class _UpperLimits:
    """How high in temperature the minimum of all points can be, told from a subsample's curve.

    Losses are compared as shares of their ceilings, which takes the number of points out of them.
    """

    def __init__(self, found: list[CurvePoint], basins: list[Basin], top: float) -> None:
        self.shares = [(point.temperature, point.loss / top) for point in found]
        self.guess = basins[0].loss / top if basins else GUESS
        self.floor = self.guess if basins else 0.0
        self.temperature = TREND * basins[0].temperature if basins else None

    def highest(self, share: float) -> float:
        """The highest temperature at which the loss may be as low as ``share`` of its ceiling."""
        share = max(share, self.floor)
        # near the ceiling what counts is the depth below it
        bound = max(min(1.25 * share, 1 - 0.75 * (1 - share)), share)
        low_enough = [temperature for temperature, value in self.shares if value <= bound]
        return 2 * max(low_enough, default=float("inf"))


class _NoLimit:
    guess, temperature = 0.8, None

    def highest(self, share: float) -> float:
        return float("inf")


def _upper_limits(points: PreparedPoints) -> _UpperLimits | _NoLimit:
    if len(points.bounds) - 1 > MOST_CLASSES:
        return _NoLimit()
    part = _subsample(points)
    anchors, top = anchor_rows(part), ceiling(part)
    curve = StoredCurve(part, anchors)
    unit, largest = _scales(part)
    low = lowest_temperature(part, curve.nearest, anchors, top)
    low = max(low, 1e-6 * unit)
    found = curve.scan(lattice(low, FLAT * largest, unit, largest))
    return _UpperLimits(found, find_basins(curve, found), top)


def _subsample(points: PreparedPoints) -> PreparedPoints:
    """About ``SUBSAMPLE`` points, every class in proportion and with at least two members."""
    generator = np.random.default_rng(0)
    rows = []
    for first, last in pairwise(points.bounds):
        size = last - first
        quota = min(size, max(2, round(SUBSAMPLE * size / points.count)))
        rows.append(first + np.sort(generator.permutation(size)[:quota]))
    return points.subset(np.concatenate(rows))
