"""The loss and its derivatives from weighted sums over pairs.

*Conventions*: ``beta = 1 / T``, ``u = log T``; temperatures here are internal (see ``points``).
Exponents are in powers of two, ``e = -(d - shift) log2(e) / T``, so that ``w = 2^e``. For every row
i the sums of ``w, w e, w e^2`` over the same class (S) and over other classes (O) are kept apart
and never obtained by subtraction.

    a_i = log O_i - log S_i,   L_i = log(1 + exp a_i),   L = mean over anchors

Differentiated under the sum (E, Var: weighted mean and variance of d over S or O):

    dL_i/dbeta = sigmoid(a_i) (E_S - E_O)
    d2L_i/dbeta2 = sigmoid(a_i) (Var_O - Var_S) + sigmoid(a_i) (1 - sigmoid(a_i)) (E_S - E_O)^2

Reference: arXiv 1902.01889, eq. 1, written so that nothing underflows and no epsilon is needed.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG2E = math.log2(math.e)
SAME, OTHER = 0, 1
# Standard error of a distance, in units of |x|^2: two norms and a product, about half an ulp each
ROUNDING = {torch.float32: 1.2e-7, torch.float64: 2.2e-16}


@dataclass(frozen=True)
class CurvePoint:
    """The loss at a temperature, with its first and second derivative in ``log T``."""

    temperature: float
    loss: float
    slope: float
    curvature: float
    noise: float  # standard error of loss from rounding, estimated


def total(values: Tensor) -> float:
    """Sum of a float64 vector, in an order that does not depend on the number of threads."""
    return float(values.cpu().numpy().sum())


@dataclass(frozen=True)
class RowSums:
    """What a loss is made of, per row: sums ``(2, orders, n)`` and how they are to be read.

    ``gaps`` ``(n,)`` is (shift of S - shift of O) / T, 0 where both have the same shift; ``noise``
    ``(n,)`` the standard error of an exponent in nats; ``anchors`` the rows to average over.
    """

    sums: Tensor
    gaps: Tensor
    noise: Tensor
    anchors: Tensor

    def logits(self) -> Tensor:
        """``a_i`` of the anchors."""
        same, other = self.sums[SAME, 0, self.anchors], self.sums[OTHER, 0, self.anchors]
        return self.gaps[self.anchors] + other.log() - same.log()

    def noisy_rows(self, tolerance: float) -> Tensor:
        """As few rows as possible without which the error of the loss is below ``tolerance``."""
        a = self.logits()
        errors = (torch.sigmoid(a) * self.noise[self.anchors]).square()
        errors, order = errors.sort(stable=True)
        budget = (tolerance * total(torch.logaddexp(torch.zeros_like(a), a))) ** 2
        kept = int(torch.searchsorted(errors.cumsum(0), budget))
        return self.anchors[order[kept:]].sort().values

    def point(self, temperature: float) -> CurvePoint:
        """The loss, and as many of its derivatives as there are orders; else they are NaN."""
        a, sums = self.logits(), self.sums[:, :, self.anchors]
        share, count, orders = torch.sigmoid(a), len(a), sums.shape[1]
        slope = curvature = math.nan
        if orders > 1:
            means = sums[:, 1] / sums[:, 0]
            pull = (means[SAME] - means[OTHER]) / LOG2E - self.gaps[self.anchors]
            slope = total(share * pull) / count
        if orders > 2:
            variances = sums[:, 2] / sums[:, 0] - means.square()
            spread = (variances[OTHER] - variances[SAME]) / LOG2E**2
            bend = share * (spread + (1 - share) * pull.square() - pull)
            curvature = total(bend) / count
        return CurvePoint(
            temperature=temperature,
            loss=total(torch.logaddexp(torch.zeros_like(a), a)) / count,
            slope=slope,
            curvature=curvature,
            noise=math.sqrt(total((share * self.noise[self.anchors]).square())) / count,
        )
