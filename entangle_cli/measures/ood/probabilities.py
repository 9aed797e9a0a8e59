"""Class scores turned into probabilities without loss at the confident end.

*Conventions*: class scores z ``(n, C)`` are logits, or logarithms of probabilities where a
probability of 0 is ``-inf``. With m = max z and r the sum of ``exp(z_c - m)`` over all classes but
the first largest:

    log p_c = (z_c - m) - log1p(r)      1 - max p = r / (1 + r)      logsumexp(z) = m + log1p(r)

``1 - max p`` taken from a rounded ``max p`` is 0 from a lead of 37 between the two largest scores
on, and 17 in float32: most inputs of a well-trained network would be tied.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, blocks, require_logits


@dataclass(frozen=True)
class Softmax:
    """Softmax of a block of class scores.

    ``log_p`` ``(n, C)``; ``doubt`` ``(n,)`` is 1 - max p; ``log_sum_exp`` ``(n,)`` of the scores;
    ``top`` ``(n,)`` the first of the largest scores' columns.
    """

    log_p: np.ndarray
    doubt: np.ndarray
    log_sum_exp: np.ndarray
    top: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """Probabilities ``(n, C)``."""
        return np.exp(self.log_p)


def softmax(scores: np.ndarray) -> Softmax:
    """Softmax of class scores ``(n, C)``; no row may be ``-inf`` throughout."""
    rows, top = np.arange(len(scores)), scores.argmax(axis=1)
    largest = scores[rows, top]
    # a lead beyond the largest float is a probability of 0
    with np.errstate(over="ignore"):
        log_p = scores - largest[:, None]
    weights = np.exp(log_p)
    weights[rows, top] = 0.0
    rest = weights.sum(axis=1)
    log_total = np.log1p(rest)
    log_p -= log_total[:, None]
    return Softmax(log_p, rest / (1.0 + rest), largest + log_total, top)


def log_sum_exp(scores: np.ndarray) -> np.ndarray:
    """``log(sum(exp(z)))`` of class scores ``(n, C)``, ``(n,)``."""
    return softmax(scores).log_sum_exp


def class_scores(evidence: Evidence, *, classes: int | None = None) -> np.ndarray:
    """Class scores ``(n, C)`` float64 whose softmax is defined; C must be ``classes`` where given.

    Raises:
        MeasureError: there are none, another shape, a score that is not finite, a row in which
            every probability is 0.
    """
    logits = require_logits(evidence)
    if logits.ndim != 2 or logits.shape[1] == 0 or len(logits) != evidence.rows:
        raise MeasureError(
            f"class scores of shape {logits.shape} for {evidence.rows} inputs; give (n, classes)"
        )
    if classes is not None and logits.shape[1] != classes:
        raise MeasureError(
            f"class scores for {logits.shape[1]} classes but {classes} in the data fitted on; "
            "use the same network for both"
        )
    impossible = np.flatnonzero(np.isneginf(logits).all(axis=1))
    if len(impossible):
        raise MeasureError(
            f"every class of row {impossible[0]} has probability 0; leave the input out"
        )
    return logits


def raw_class_scores(evidence: Evidence) -> np.ndarray:
    """Class scores ``(n, C)`` float64 before any softmax.

    Raises:
        MeasureError: as `class_scores`, and where the network ends in a softmax.
    """
    if evidence.probabilities:
        raise MeasureError("the network gives probabilities, not logits: no energy")
    return class_scores(evidence)


def by_blocks(scores: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``function`` of blocks of rows of class scores ``(n, C)``, put together, ``(n,)`` float64."""
    values = np.empty(len(scores))
    for rows in blocks(scores):
        values[rows] = function(scores[rows])
    return values
