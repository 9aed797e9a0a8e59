"""The soft nearest neighbor loss as others compute it, and an exact one to judge by."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

# Squared distances that others take for a unit of temperature are those of this many points
UNIT_POINTS = 500
TYPICAL = 0.03


def naive(x: Tensor, y: Tensor, temperature: float) -> float:
    """The whole matrix, an epsilon inside the logarithm and an identity taken off."""
    squares = x.square().sum(1)
    distances = squares[:, None] + squares[None, :] - 2 * (x @ x.t())
    weights = torch.exp(-distances / temperature) - torch.eye(len(x))
    shares = weights / (1e-5 + weights.sum(1, keepdim=True))
    same = (y[:, None] == y[None, :]).float()
    return float(-torch.log(1e-5 + (shares * same).sum(1)).mean())


def chunked(x: Tensor, y: Tensor, temperature: float, rows: int = 1024) -> float:
    """Blocks of rows: addmm, exp in place, a mask."""
    squares, loss = x.square().sum(1), 0.0
    for start in range(0, len(x), rows):
        part = x[start : start + rows]
        distances = torch.addmm(squares[None, :], part, x.t(), alpha=-2)
        distances.add_(squares[start : start + rows, None]).clamp_(min=0)
        weights = distances.mul_(-1 / temperature).exp_()
        weights[:, start : start + rows].fill_diagonal_(0)
        same = y[start : start + rows, None] == y[None, :]
        loss += float((weights.sum(1).log() - (weights * same).sum(1).log()).sum())
    return loss / len(x)


def keops(x: Tensor, y: Tensor, temperature: float) -> float:
    """A symbolic matrix, summed by class."""
    from pykeops.torch import LazyTensor

    differences = LazyTensor(x[:, None, :]) - LazyTensor(x[None, :, :])
    kernel = (-(differences**2).sum(-1) / temperature).exp()
    members = torch.nn.functional.one_hot(y).float()
    sums = kernel @ members - members
    return float((sums.sum(1).log() - sums.gather(1, y[:, None])[:, 0].log()).mean())


def has_keops() -> bool:
    """Whether KeOps is here and can compile."""
    try:
        import pykeops.torch  # noqa: F401
    except Exception:
        return False
    return True


def brent(
    loss: Callable[[float], float], x: np.ndarray, octaves: float = 3, tolerance: float = 0.02
) -> tuple[float, float, int]:
    """Bounded Brent over log2 T about a typical T: least loss, its temperature, evaluations."""
    few = torch.from_numpy(x[: 2 * UNIT_POINTS])
    unit = torch.cdist(few[:UNIT_POINTS], few[UNIT_POINTS:]).square().median().item()
    middle = math.log2(TYPICAL * unit)
    found = minimize_scalar(
        lambda power: loss(2.0**power),
        bounds=(middle - octaves, middle + octaves),
        method="bounded",
        options={"xatol": tolerance},
    )
    return found.fun, 2.0**found.x, found.nfev


def exact_loss(points: np.ndarray, labels: np.ndarray) -> Callable[[float], float]:
    """The loss as a function of temperature in float64, from all distances, kept: 8 n^2 bytes."""
    order = np.argsort(labels, kind="stable")
    x = torch.from_numpy(points[order].astype(np.float64))
    x -= x.mean(0)
    squares = x.square().sum(1)
    distances = torch.addmm(squares[None, :], x, x.t(), alpha=-2).add_(squares[:, None])
    distances.clamp_(min=0).fill_diagonal_(torch.inf)
    edges = [0, *np.cumsum(np.unique(labels, return_counts=True)[1]).tolist()]

    def loss(temperature: float, rows: int = 256) -> float:
        total = 0.0
        for first, last in pairwise(edges):
            for start in range(first, last, rows):
                exponents = distances[start : min(start + rows, last)] / -temperature
                same = torch.logsumexp(exponents[:, first:last], 1)
                total += float((torch.logsumexp(exponents, 1) - same).sum())
        return total / len(x)

    return loss
