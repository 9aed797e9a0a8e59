"""Outlier scores from where an input lies between the training mean and the class boundaries.

*Conventions*: features f ``(n, D)``, last linear layer W ``(C, D)``, b ``(C,)``, class scores z,
mean training feature m, c the predicted class. The published scores are larger in distribution;
the outlier score is their negative:

    fdbd  mean over j != c of |z_c - z_j| / |w_c - w_j|, divided by |f - m|    arXiv 2312.11536
    nci   <w_c, f - m> / |f - m| + a |f|_1, a = 1e-4                           arXiv 2311.01479

*Degenerate cases*: a distance from the mean below 1e-12 of the training features' root mean square
length is rounding: nci takes f - m as 0, whose direction is 0; fdbd divides by that smallest
length. Classes with the same weights as c have no boundary with it and are left out of the mean.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.measures.ood.penultimate import (
    fit_center,
    norms,
    require_head,
    require_training,
    score_features,
    unit,
)


@dataclass(frozen=True)
class FDBD:
    """Minus the mean distance to the class boundaries per distance from the training mean.

    ``inverse`` ``(C, C)``: 1 / |w_c - w_j| over the number of classes j that have a boundary
    with c, 0 for the others; ``negligible`` is the smallest distance from the mean.
    """

    mean: np.ndarray
    negligible: float
    inverse: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``, at most 0.

        Raises:
            MeasureError: no features, another width.
        """
        head = Head(self.weight, self.bias)
        classes, width = self.weight.shape

        def regularized(features: np.ndarray) -> np.ndarray:
            logits = head.logits(features)
            predicted = logits.argmax(axis=1)
            lead = logits[np.arange(len(logits)), predicted][:, None] - logits
            distance = np.einsum("ij,ij->i", lead, self.inverse[predicted])
            length = norms(features - self.mean)[:, 0]
            return -distance / np.maximum(length, self.negligible)

        return score_features(inputs, width, regularized, beside=width + 3 * classes)


@dataclass(frozen=True)
class NCI:
    """Minus (how far f - m points along the predicted class's weights + ``share`` |f|_1)."""

    mean: np.ndarray
    negligible: float
    share: float
    weight: np.ndarray
    bias: np.ndarray

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``.

        Raises:
            MeasureError: no features, another width.
        """
        head = Head(self.weight, self.bias)
        classes, width = self.weight.shape

        def collapse(features: np.ndarray) -> np.ndarray:
            weights = self.weight[head.logits(features).argmax(axis=1)]
            direction = unit(features - self.mean, negligible=self.negligible)
            along = np.einsum("ij,ij->i", weights, direction)
            return -along - self.share * np.abs(features).sum(axis=1)

        return score_features(inputs, width, collapse, beside=3 * width + classes)


def fit_fdbd(known: Known, layers: tuple[str, ...]) -> FDBD:
    """Fast decision boundary based detector (arXiv 2312.11536).

    Raises:
        MeasureError: no last layer, no training data, no features of them; classes that all have
            the same weights, or a single class: there is no boundary.
    """
    head = require_head(known)
    center = fit_center(require_training(known), head.weight.shape[1])
    classes = len(head.weight)
    inverse = np.zeros((classes, classes))
    for label in range(classes):
        distances = norms(head.weight - head.weight[label])[:, 0]
        bounded = distances > 0.0
        if not bounded.any():
            raise MeasureError(
                f"the {classes} classes of the last linear layer have no boundary between them; "
                "leave fdbd out"
            )
        inverse[label, bounded] = 1.0 / distances[bounded] / bounded.sum()
    return FDBD(center.mean, center.negligible, inverse, head.weight, head.bias)


def fit_nci(known: Known, layers: tuple[str, ...], *, share: float = 1e-4) -> NCI:
    """Neural collapse inspired detector (arXiv 2311.01479).

    Raises:
        MeasureError: no last layer, no training data, no features of them.
    """
    head = require_head(known)
    center = fit_center(require_training(known), head.weight.shape[1])
    return NCI(center.mean, center.negligible, float(share), head.weight, head.bias)
