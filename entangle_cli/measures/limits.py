"""What the loss tends to as the temperature goes to infinity and to 0, and where it cannot be low.

    T -> infinity   every weight is equal: -mean log((n_c - 1) / (n - 1)), the ceiling
    T -> 0          only nearest points count: 0 where every anchor's nearest point has its class,
                    mean log((k_same + k_other) / k_same) where some are tied, infinity otherwise

Between them, with r the nearest distances and m the number of same-class points of an anchor,

    L_i(T) >= log(1 + exp((r_same - r_other) / T) / m)

because at most m same-class points are as near as r_same and at least one other-class point is at
r_other. Over anchors whose nearest point is of another class the bound grows as T falls, so it
excludes low temperatures for good. Below a temperature that was looked at, m is the number of
points as good as nearest there (``glance``).
"""

import torch
from torch import Tensor

from entangle_cli.measures.glance import Glance
from entangle_cli.measures.losses import total
from entangle_cli.measures.nearest import Nearest
from entangle_cli.measures.points import PreparedPoints

# Below this share of the mean squared distance a gap is rounding of the stored values
FINEST = 2.0**-60
# At a fiftieth of a gap its weight is e^-50: the curve is at its limit
GAP_DIVISOR = 50.0


def anchor_rows(points: PreparedPoints) -> Tensor:
    """Rows with at least one other point of their class, ascending."""
    return torch.nonzero(points.sizes > 1)[:, 0]


def ceiling(points: PreparedPoints) -> float:
    """Limit of the loss at infinite temperature, >= 0; 0 for a single class."""
    sizes = points.sizes
    sizes = sizes[sizes > 1]
    return abs(total((sizes - 1).div(points.count - 1).log()) / len(sizes))


def limit_at_zero(nearest: Nearest, anchors: Tensor) -> float:
    """Limit of the loss at temperature 0: 0, finite (ties), or infinity."""
    if bool((nearest.same > nearest.other)[anchors].any()):
        return float("inf")
    tied = anchors[nearest.tied[anchors]]
    same, other = nearest.tied_same[tied].double(), nearest.tied_other[tied].double()
    return total(torch.log1p(other / same)) / len(anchors)


def lowest_temperature(
    points: PreparedPoints,
    nearest: Nearest,
    anchors: Tensor,
    bound: float,
    seen: Glance | None = None,
) -> float:
    """A temperature below which the loss exceeds ``bound``, or has reached its limit at 0."""
    floor = FINEST * points.mean_norm()
    gaps = (nearest.same - nearest.other)[anchors]
    positive = gaps > 0
    if not bool(positive.any()):
        candidates = torch.cat([gaps.abs(), nearest.same[anchors], nearest.other[anchors]])
        candidates = candidates[(candidates > 0) & candidates.isfinite()]
        return max(floor, float(candidates.amin()) / GAP_DIVISOR) if len(candidates) else floor
    wrong = anchors[positive]
    gaps, most = gaps[positive], (points.sizes[wrong] - 1).log()

    def lower_bound(temperature: float) -> float:
        known = seen is not None and temperature <= seen.temperature
        a = gaps / temperature - (seen.crowd[wrong] if known else most)
        return total(torch.logaddexp(torch.zeros_like(a), a)) / len(anchors)

    low, high = floor, 4 * float(points.norms(torch.float64).amax())
    # bisection in log T; any temperature whose bound is high enough will do
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if lower_bound(middle) > bound else (low, middle)
    return low
