"""Outlier scores from where the features point: towards a class, towards training features.

*Conventions*: features f ``(n, D)``, last linear layer W ``(C, D)``, b ``(C,)``, class scores z,
p = softmax(z), c the predicted class. The published scores are larger in distribution; the outlier
score is their negative:

    gradnorm  |f|_1 * sum_c |p_c - 1/C|, the L1 norm of d KL(uniform || p) / dW
                                                                    arXiv 2110.00218
    she       <f, mean training feature of the correctly classified inputs of class c>
                                                                    ICLR 2023 (Zhang et al.)
    nnguide   e(f) * mean of the k largest e(g) <f, g> / (|f| |g|) over the bank of training
              features g, e = log sum exp(z)                        arXiv 2309.14888

*Degenerate cases*: a vector of length 0 has direction 0, so nnguide of a feature of 0 is 0, as are
gradnorm and she. she of a class that no training input is correctly classified as is 0: nothing is
stored for it (``SHE.missing`` counts such classes). gradnorm with a single class is 0.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.labels import as_labels, require_range
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.measures.ood.penultimate import (
    feature_blocks,
    require_features,
    require_head,
    require_training,
    score_features,
    unit,
)
from entangle_cli.measures.ood.probabilities import class_scores, log_sum_exp, softmax

NEIGHBORS = 100
BANK_SHARE, SMALLEST_BANK = 0.01, 1000


@dataclass(frozen=True)
class GradNorm:
    """Minus the L1 norm of the gradient towards uniform probabilities, in closed form."""

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``, at most 0; probabilities serve as well as logits.

        Raises:
            MeasureError: no class scores or no features.
        """
        scores = class_scores(inputs)
        values, classes = np.empty(inputs.rows), scores.shape[1]
        for rows, features in feature_blocks(inputs, beside=2 * classes):
            uneven = np.abs(softmax(scores[rows]).p - 1.0 / classes).sum(axis=1)
            values[rows] = -np.abs(features).sum(axis=1) * uneven
        return values


@dataclass(frozen=True)
class SHE:
    """Minus the inner product with the stored pattern of the predicted class.

    ``patterns`` ``(C, D)``, 0 for the ``missing`` classes that no training input is correctly
    classified as.
    """

    patterns: np.ndarray
    missing: int

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``.

        Raises:
            MeasureError: no class scores or features, another number of classes, another width.
        """
        classes, width = self.patterns.shape
        predicted = class_scores(inputs, classes=classes).argmax(axis=1)
        values = np.empty(inputs.rows)
        for rows, features in feature_blocks(inputs, width, beside=width):
            values[rows] = -np.einsum("ij,ij->i", features, self.patterns[predicted[rows]])
        return values


@dataclass(frozen=True)
class NNGuide:
    """Minus the energy times the guidance of the bank.

    ``bank`` ``(m, D)``: directions of training features times their energies; ``neighbors`` of
    them, those with the largest products, are averaged. An energy below 0 of the input itself
    makes it more of an outlier the nearer the bank is; trained networks hardly have any.
    """

    bank: np.ndarray
    neighbors: int
    weight: np.ndarray
    bias: np.ndarray

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``.

        Raises:
            MeasureError: no features, another width.
        """
        head = Head(self.weight, self.bias)
        classes, width = self.weight.shape
        first = len(self.bank) - self.neighbors

        def guided(features: np.ndarray) -> np.ndarray:
            products = unit(features) @ self.bank.T
            nearest = np.partition(products, first, axis=1)[:, first:]
            return -log_sum_exp(head.logits(features)) * nearest.mean(axis=1)

        beside = width + classes + 2 * len(self.bank)
        return score_features(inputs, width, guided, beside=beside)


def fit_gradnorm(known: Known, layers: tuple[str, ...]) -> GradNorm:
    """GradNorm of the last linear layer (arXiv 2110.00218); needs nothing beforehand."""
    return GradNorm()


def fit_she(known: Known, layers: tuple[str, ...]) -> SHE:
    """Patterns of the correctly classified training inputs (Zhang et al., ICLR 2023).

    Raises:
        MeasureError: no training data, labels, class scores or features of them; no training input
            is correctly classified.
    """
    training = require_training(known)
    if training.labels is None:
        raise MeasureError("needs training data with labels: give --train")
    scores = class_scores(training)
    classes, width = scores.shape[1], require_features(training).shape[1]
    labels = as_labels(training.labels, training.rows, what="training labels")
    require_range(labels, classes, role="training")
    correct = scores.argmax(axis=1) == labels
    if not correct.any():
        raise MeasureError(
            f"none of the {training.rows} training inputs is correctly classified; check the labels"
        )
    sums, counts = np.zeros((classes, width)), np.zeros(classes, dtype=np.int64)
    for rows, features in feature_blocks(training):
        kept = labels[rows][correct[rows]]
        counts += np.bincount(kept, minlength=classes)
        for label in np.unique(kept):
            sums[label] += features[correct[rows] & (labels[rows] == label)].sum(axis=0)
    return SHE(sums / np.maximum(counts, 1)[:, None], int((counts == 0).sum()))


def fit_nnguide(known: Known, layers: tuple[str, ...], *, neighbors: int = NEIGHBORS) -> NNGuide:
    """Nearest neighbor guidance (arXiv 2309.14888).

    The bank is 1 % of the training inputs, but at least 1,000 or all, drawn with the seed; a bank
    of fewer than ``neighbors`` is averaged as a whole.

    Raises:
        MeasureError: no last layer, no training data, no features of them; energies of the bank
            whose mean is not positive, which would turn the guidance around.
    """
    head, training = require_head(known), require_training(known)
    if neighbors < 1:
        raise MeasureError(f"nnguide with {neighbors} neighbors; give 1 or more")
    size = min(training.rows, max(SMALLEST_BANK, int(np.ceil(BANK_SHARE * training.rows))))
    chosen = np.zeros(training.rows, dtype=bool)
    chosen[np.random.default_rng(known.seed).permutation(training.rows)[:size]] = True
    classes, width = head.weight.shape
    parts, energies = [], []
    for rows, features in feature_blocks(training, width, beside=classes):
        features = features[chosen[rows]]
        energies.append(log_sum_exp(head.logits(features)))
        parts.append(unit(features) * energies[-1][:, None])
    mean = float(np.concatenate(energies).mean())
    if mean <= 0.0:
        raise MeasureError(
            f"training inputs have a mean energy (log sum exp of the class scores) of {mean:.3g}; "
            "nnguide needs it positive: leave it out"
        )
    return NNGuide(np.concatenate(parts), min(neighbors, size), head.weight, head.bias)
