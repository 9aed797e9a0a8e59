"""Outlier scores from the part of the features that training features hardly use.

*Conventions*: features f ``(n, D)``, last linear layer W ``(C, D)``, b ``(C,)``. The origin is
``o = -pinv(W) b``, the point nearest 0 of those where the class scores come closest to 0. The
principal space is spanned by the eigenvectors of the ``dimensions`` largest eigenvalues of
``mean((f - o)(f - o)')`` over training inputs; r(f) is the length of what f - o has outside it.

    residual  r(f)
    vim       a r(f) - log sum exp(z), a = (mean largest z) / (mean r) over training inputs

Higher = more out of distribution. Source: arXiv 2203.10807; dimensions 1000
for D >= 2048, 512 for D >= 768, else D / 2 rounded down, as there.

*Degenerate cases*, all errors: ``0 < dimensions < rank`` is required, the rank counting eigenvalues
above D * 2.2e-16 of the largest; otherwise training features have no residual and a is infinite.
vim also needs a positive mean largest class score: a <= 0 would reward a residual.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.measures.ood.penultimate import (
    feature_blocks,
    norms,
    require_head,
    require_training,
    score_features,
)
from entangle_cli.measures.ood.probabilities import log_sum_exp

# the matrix takes 0.5 GB, its eigenvectors minutes
WIDEST = 8192


@dataclass(frozen=True)
class Residual:
    """Length outside the principal space.

    ``origin`` ``(D,)``; ``basis`` ``(D, D - dimensions)``, orthonormal columns that span the rest.
    """

    origin: np.ndarray
    basis: np.ndarray

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``, at least 0.

        Raises:
            MeasureError: no features, another width.
        """
        width = len(self.origin)
        return score_features(inputs, width, self.of_features, beside=2 * width)

    def of_features(self, features: np.ndarray) -> np.ndarray:
        """Residual lengths of a block of features ``(n, D)``, ``(n,)``."""
        return norms((features - self.origin) @ self.basis)[:, 0]


@dataclass(frozen=True)
class ViM:
    """Virtual-logit matching: ``alpha`` residual - log sum exp of the class scores."""

    residual: Residual
    weight: np.ndarray
    bias: np.ndarray
    alpha: float

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``.

        Raises:
            MeasureError: no features, another width.
        """
        head = Head(self.weight, self.bias)
        classes, width = self.weight.shape
        return score_features(
            inputs,
            width,
            lambda f: self.alpha * self.residual.of_features(f) - log_sum_exp(head.logits(f)),
            beside=2 * width + classes,
        )


def fit_residual(
    known: Known, layers: tuple[str, ...], *, dimensions: int | None = None
) -> Residual:
    """The residual of arXiv 2203.10807.

    Raises:
        MeasureError: no last layer, no training data, no features of them, more than 8192
            features, training features of too low a rank.
    """
    head = require_head(known)
    training = require_training(known)
    width = head.weight.shape[1]
    if width > WIDEST:
        raise MeasureError(
            f"features of width {width}; residual and vim take at most {WIDEST}: leave them out"
        )
    dimensions = default_dimensions(width) if dimensions is None else dimensions
    origin = -np.linalg.pinv(head.weight) @ head.bias
    moment = np.zeros((width, width))
    for _, features in feature_blocks(training, width, beside=width):
        features = features - origin
        moment += features.T @ features
    values, vectors = np.linalg.eigh(moment / training.rows)
    rank = int((values > width * np.finfo(np.float64).eps * values[-1]).sum())
    if not 0 < dimensions < rank:
        raise MeasureError(
            f"training features of width {width} and rank {rank} for a principal space of "
            f"{dimensions} dimensions, which must be at least 1 and less than the rank; "
            "give more training data or leave residual and vim out"
        )
    # eigh sorts ascending: the first columns are the directions that are hardly used
    return Residual(origin, np.ascontiguousarray(vectors[:, : width - dimensions]))


def fit_vim(known: Known, layers: tuple[str, ...], *, dimensions: int | None = None) -> ViM:
    """Virtual-logit matching, arXiv 2203.10807.

    Raises:
        MeasureError: as `fit_residual`, and where the mean largest class score of the training
            inputs is not positive.
    """
    residual = fit_residual(known, layers, dimensions=dimensions)
    head, training = require_head(known), require_training(known)
    classes, width = head.weight.shape
    logits = residuals = 0.0
    for _, features in feature_blocks(training, width, beside=2 * width + classes):
        logits += float(head.logits(features).max(axis=1).sum())
        residuals += float(residual.of_features(features).sum())
    if logits <= 0.0 or residuals == 0.0:
        raise MeasureError(
            f"the largest class scores of the training data have mean {logits / training.rows:.3g},"
            f" the residuals {residuals / training.rows:.3g}; vim needs both positive: leave it out"
        )
    return ViM(residual, head.weight, head.bias, logits / residuals)


def default_dimensions(width: int) -> int:
    """Dimensions of the principal space for features of this width."""
    if width >= 2048:
        return 1000
    return 512 if width >= 768 else width // 2
