"""The temperature at which the loss of one batch is lowest, from its distances, quickly.

``measures.temperature`` finds it for any number of points, to full precision, and says how it lies;
training needs it at every step for some hundred points. Here temperatures are halved from above,
which only squares the weights of the neighbors, until no lower one can win; then the deepest valley
is searched by the sign of the derivative. Weights are relative to the nearest neighbor of the same
and of another class, so that none of the sums vanishes.

With ``a_i = log sum_other - log sum_same`` the loss is ``mean softplus(a_i)``, and its derivative
by ``1/T`` is ``mean sigmoid(a_i) (E_same[d] - E_other[d])``.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from entangle_cli.errors import MeasureError

# halvings from the highest temperature: 2 ** 64 holds every range of float32 distances
_MOST = 64
# where the curve is a straight line towards its limit, in largest distances
_FLAT = 1e3
# a minimum must be this much below a limit to count
_DISTINCT = 1e-9
_DESCENTS = 60


class _Batch:
    """Distances of the m anchors to the points of their class and of others, one row each.

    Both are relative to the nearest; where there is no pair the distance is too large to weigh.
    """

    def __init__(self, between: Tensor, labels: Tensor) -> None:
        _, classes, counts = labels.unique(return_inverse=True, return_counts=True)
        anchors = torch.nonzero(counts[classes] > 1)[:, 0]
        kept, own = between[anchors], classes[anchors]
        never = torch.finfo(between.dtype).max / 4
        # the columns of one class alone: a tenth of the work for ten classes
        places = torch.arange(int(counts.max()), device=labels.device)
        columns = (counts.cumsum(0) - counts)[own][:, None] + places.clamp(
            max=counts[own][:, None] - 1
        )
        columns = classes.argsort(stable=True)[columns]
        absent = (places >= counts[own][:, None]) | (columns == anchors[:, None])
        same = kept.gather(1, columns).masked_fill(absent, never)
        other = kept.masked_fill(own[:, None] == classes[None, :], never)
        self.near, self.far = same.amin(1), other.amin(1)
        self.same, self.other = same - self.near[:, None], other - self.far[:, None]
        self.gap = self.near - self.far
        self.companions = counts[own] - 1
        others = len(labels) - counts[own]
        self.ceiling = float(torch.log1p(others.double() / self.companions).mean())
        self.largest = float(kept.max())

    def limit_at_zero(self) -> float:
        """The loss as T goes to 0: infinite where some nearest neighbor is of another class."""
        if bool((self.gap > 0).any()):
            return math.inf
        ties = [(distances == 0).sum(1) for distances in (self.other, self.same)]
        odds = torch.where(self.gap == 0, ties[0] / ties[1], torch.zeros_like(self.gap))
        return float(torch.log1p(odds.double()).mean())

    def scan(self, high: float, best: float) -> list[tuple[float, float]]:
        """(temperature, loss) from ``high`` down by halves, to where none below can beat them."""
        weights = [torch.exp(-part.double() / high) for part in (self.same, self.other)]
        gap, companions = self.gap.double(), self.companions.double().log()
        found, temperature = [], high
        for _ in range(_MOST):
            same, other = (weight.sum(1) for weight in weights)
            loss = float(F.softplus(torch.log(other / same) + gap / temperature).mean())
            found.append((temperature, loss))
            best = min(best, loss)
            # what is lost at least, here and at every lower temperature
            if float(F.relu(gap / temperature - companions).mean()) > best:
                break
            weights = [weight.square_() for weight in weights]
            temperature /= 2
        return found

    def slope(self, temperature: float) -> float:
        """The derivative of the loss by 1/T, and so the opposite sign of that by T."""
        sums, means = [], []
        for distances, shift in ((self.same, self.near), (self.other, self.far)):
            weights = torch.exp(-distances / temperature)
            sums.append(weights.sum(1))
            means.append((weights * distances).sum(1) / sums[-1] + shift)
        share = torch.sigmoid(torch.log(sums[1] / sums[0]) + self.gap / temperature)
        return float((share * (means[0] - means[1])).mean())

    def bottom(self, low: float, high: float) -> float:
        """The temperature between two others where the slope changes sign."""
        # the loss is off by the square of what is left of its derivative by log T
        tolerance = 1e-3 if self.gap.dtype == torch.float32 else 1e-6
        left, right = math.log(low), math.log(high)
        at_left, at_right = self.slope(low) / low, self.slope(high) / high
        middle = (left + right) / 2
        for _ in range(_DESCENTS):
            if not at_left > 0 > at_right:
                break
            # regula falsi; the end that stays gets half its weight (Illinois)
            middle = right - at_right * (right - left) / (at_right - at_left)
            here = self.slope(math.exp(middle)) * math.exp(-middle)
            if abs(here) < tolerance:
                break
            if here > 0:
                left, at_left, at_right = middle, here, at_right / 2
            else:
                right, at_right, at_left = middle, here, at_left / 2
        return math.exp(middle)


class Lowest(NamedTuple):
    """Where the loss is lowest, and its limit as the temperature goes to 0."""

    temperature: float
    at_zero: float


def lowest_temperature(between: Tensor, labels: Tensor) -> Lowest:
    """Where the loss is lowest: distances ``(n, n)``, labels ``(n,)`` with two of a class or more.

    The temperature is 0 where the loss falls to its lowest with it, and infinity where none gives
    less than the limit there.

    Raises:
        MeasureError: distances that are not finite.
    """
    if not bool(torch.isfinite(between).all()):
        raise MeasureError("a hidden layer is not finite; give a lower learning rate or alpha")
    batch = _Batch(between, labels)
    at_zero = batch.limit_at_zero()
    if at_zero == 0:
        return Lowest(0.0, at_zero)
    if batch.largest == 0:
        return Lowest(math.inf, at_zero)
    limit = min(at_zero, batch.ceiling)
    found = batch.scan(_FLAT * batch.largest, limit)
    temperature, loss = min(found, key=lambda point: point[1])
    if temperature != found[0][0]:
        temperature = batch.bottom(temperature / 2, temperature * 2)
    if loss >= limit * (1 - _DISTINCT):
        temperature = 0.0 if at_zero < batch.ceiling * (1 - _DISTINCT) else math.inf
    return Lowest(temperature, at_zero)
