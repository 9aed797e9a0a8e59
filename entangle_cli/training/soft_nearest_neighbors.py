"""The soft nearest neighbor loss as a differentiable function and module, for any training loop.

*Conventions*: as in ``measures.snnl``: squared Euclidean distance divided by T once, or
``1 - cos``; no epsilon; a point is never its own neighbor; points alone in their class leave the
mean and stay neighbors. A batch of one class, or without two points of any class, has the loss 0
and gradient 0.

*Temperature*: maximizing the loss at a fixed T has no bound, as neighbors of the same class can be
pushed apart for ever. The policies ``minimum`` and ``median`` follow the scale of the points, so
that only their arrangement counts. A learned temperature always descends, also where the points
ascend: it is what makes the loss a minimum over temperature.

Reference: arXiv 1902.01889, eq. 1 and 2.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.errors import MeasureError
from entangle_cli.training.lowest import lowest_temperature

Metric = Literal["euclidean", "cosine"]
Policy = float | Literal["minimum", "learned", "median"]
# of the median squared distance: where the minimum of real layers was seen
MEDIAN_SHARE = 0.03
# the published code starts here
FIRST_TEMPERATURE = 100.0


def soft_nearest_neighbor_loss(
    points: Tensor,
    labels: Tensor,
    *,
    temperature: float | Tensor,
    metric: Metric = "euclidean",
) -> Tensor:
    """Mean over points of minus the log probability that a soft neighbor shares their class.

    ``-mean_i log( sum_{j != i, y_j = y_i} exp(-d_ij / T) / sum_{k != i} exp(-d_ik / T) )``, higher
    = more entangled, in nats. Points ``(n, ...)`` are flattened; labels ``(n,)``; the result is a
    scalar >= 0, differentiable in the points and in ``temperature`` where that is a tensor.

    Raises:
        MeasureError: a temperature that is not positive, an unknown metric, shapes that do not fit.
    """
    points = _flat(points, labels)
    if not isinstance(temperature, Tensor) and not 0 < temperature < math.inf:
        raise MeasureError(f"temperature {temperature}; give a positive number")
    return _loss(distances(points, metric), labels, temperature)


class SoftNearestNeighborLoss(nn.Module):
    """The loss of one layer, with its own temperature.

    ``temperature`` is a number; ``learned``, a parameter that starts at ``initial`` and that the
    optimizer changes (as log 1/T, so it stays positive); ``minimum``, the temperature at which the
    loss of the batch is lowest, found exactly each time and a constant for the gradient, which is
    exact there (envelope theorem); or ``median``, 0.03 times the batch's median squared distance,
    through which the gradient goes. A batch whose minimum lies at temperature 0 has gradient 0.

    ``weight`` is the factor that the caller gives the loss in its sum: the gradient of a learned
    temperature is divided by it, so that the temperature goes down the loss where ``weight < 0``
    makes the points go up.

    >>> points, labels = torch.tensor([[0.0], [1.0], [3.0], [4.0]]), torch.tensor([0, 0, 1, 1])
    >>> SoftNearestNeighborLoss(temperature=1.0)(points, labels)
    tensor(0.0246)
    """

    def __init__(
        self,
        *,
        temperature: Policy = "minimum",
        metric: Metric = "euclidean",
        initial: float = FIRST_TEMPERATURE,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        named = isinstance(temperature, str)
        if named and temperature not in ("minimum", "learned", "median"):
            raise MeasureError(
                f"temperature {temperature!r}; give a number, minimum, learned or median"
            )
        if not named and not 0 < temperature < math.inf:
            raise MeasureError(f"temperature {temperature}; give a positive number")
        if not 0 < initial < math.inf:
            raise MeasureError(f"initial temperature {initial}; give a positive number")
        self.policy, self.metric, self.weight = temperature, metric, weight or 1.0
        self.log_inverse = None
        if temperature == "learned":
            self.log_inverse = nn.Parameter(torch.tensor(-math.log(initial)))

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Loss of points ``(n, ...)`` with labels ``(n,)``, a scalar."""
        return self.with_temperature(points, labels)[0]

    def with_temperature(self, points: Tensor, labels: Tensor) -> tuple[Tensor, float | Tensor]:
        """The loss and its temperature: 0 or infinity where the minimum lies there."""
        points = _flat(points, labels)
        between = distances(points, self.metric)
        if self.policy == "minimum":
            if not _has_pairs(labels):
                return _zero(points), 0.0
            lowest = lowest_temperature(between.detach(), labels)
            if lowest.temperature == 0:
                return _zero(points) + lowest.at_zero, 0.0
            return _loss(between, labels, lowest.temperature), lowest.temperature
        if self.policy == "median":
            temperature = _typical(between) * MEDIAN_SHARE
        elif self.log_inverse is not None:
            temperature = torch.exp(-_scaled_gradient(self.log_inverse, 1 / self.weight))
        else:
            temperature = self.policy
        return _loss(between, labels, temperature), temperature


def distances(points: Tensor, metric: Metric) -> Tensor:
    """Squared Euclidean or cosine distances of all pairs of ``(n, d)``, ``(n, n)``, >= 0.

    Centered first, which changes no distance and keeps the product form accurate. A zero vector is
    at cosine distance 1 from everything.
    """
    if metric == "cosine":
        lengths = points.norm(dim=1, keepdim=True)
        # the norm of a zero vector has no gradient: it is replaced before dividing
        safe = torch.where(lengths == 0, torch.ones_like(lengths), lengths)
        units = points / safe
        return (1 - units @ units.t()).clamp_min(0)
    if metric != "euclidean":
        raise MeasureError(f"metric {metric!r} is unknown; use euclidean or cosine")
    points = points - points.detach().mean(0)
    norms = points.square().sum(1)
    return (norms[:, None] + norms[None, :] - 2 * points @ points.t()).clamp_min(0)


def _loss(between: Tensor, labels: Tensor, temperature: float | Tensor) -> Tensor:
    alike = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same = alike & ~itself
    anchors = same.any(1)
    if bool(alike.all()) or not bool(anchors.any()):
        return _zero(between)
    if not isinstance(temperature, Tensor) and temperature == math.inf:
        exponents = torch.zeros_like(between) * between
    else:
        exponents = -between / temperature
    exponents = exponents[anchors]
    near = torch.logsumexp(exponents.masked_fill(~same[anchors], -math.inf), 1)
    far = torch.logsumexp(exponents.masked_fill(alike[anchors], -math.inf), 1)
    return F.softplus(far - near).mean()


def _flat(points: Tensor, labels: Tensor) -> Tensor:
    if points.ndim < 1 or labels.shape != points.shape[:1]:
        raise MeasureError(
            f"points of shape {tuple(points.shape)} and labels of shape {tuple(labels.shape)}; "
            "give (n, ...) and (n,)"
        )
    return points.reshape(len(points), -1)


def _zero(values: Tensor) -> Tensor:
    """0 that depends on ``values``, so that a backward pass finds its way."""
    return (values * 0).sum()


def _has_pairs(labels: Tensor) -> bool:
    _, counts = labels.unique(return_counts=True)
    return len(counts) > 1 and int(counts.max()) > 1


def _typical(between: Tensor) -> Tensor:
    """The median distance of two points, the mean where that is 0, 1 where all are equal."""
    rows, columns = torch.triu_indices(*between.shape, offset=1, device=between.device)
    pairs = between[rows, columns]
    if not len(pairs):
        return torch.ones_like(between[0, 0])
    median = pairs.median()
    if median > 0:
        return median
    return pairs.mean() if pairs.any() else torch.ones_like(median)


def typical_temperature(points: Tensor, labels: Tensor, metric: Metric = "euclidean") -> float:
    """What the policy ``median`` takes for points ``(n, ...)``: a first value to learn from."""
    between = distances(_flat(points.detach(), labels), metric)
    return float(_typical(between)) * MEDIAN_SHARE


def _scaled_gradient(value: Tensor, factor: float) -> Tensor:
    """``value``, whose gradient arrives multiplied by ``factor``."""
    return value.detach() + factor * (value - value.detach())
