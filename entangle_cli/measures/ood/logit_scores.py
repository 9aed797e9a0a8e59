"""Outlier scores that look at the class scores alone and are fitted on nothing.

*Conventions*: class scores z ``(n, C)``, probabilities p = softmax(z); higher = more out of
distribution. Each is the negative of the published in-distribution score, but for `MSP`:

    msp        1 - max p                                arXiv 1610.02136
    max_logit  -max z                                   arXiv 1911.11132
    energy     -log sum exp(z), temperature 1           arXiv 2010.03759
    entropy    -sum p log p, in nats, 0 log 0 = 0
    gen        sum over the M largest p of (p (1 - p))^gamma    CVPR 2023 (Liu et al.)

Where a network gives probabilities, msp, entropy and gen are the same numbers as from its logits;
max_logit and energy are not defined, because the size of the logits is lost.

*Degenerate cases*: one class (C = 1) gives msp = entropy = gen = 0 for every input. Equal class
scores give 1 - 1/C, log C and M ((C - 1) / C^2)^gamma. 1 - p is computed without cancellation, so
that confident inputs are not tied; gen takes it to a power of 0.1, which magnifies what is lost.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.probabilities import (
    by_blocks,
    class_scores,
    log_sum_exp,
    raw_class_scores,
    softmax,
)


@dataclass(frozen=True)
class MSP:
    """1 - the largest probability, 0..1 - 1/C."""

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``; see the module."""
        return by_blocks(class_scores(inputs), lambda z: softmax(z).doubt)


@dataclass(frozen=True)
class MaxLogit:
    """Minus the largest class score."""

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``; see the module."""
        return by_blocks(raw_class_scores(inputs), lambda z: -z.max(axis=1))


@dataclass(frozen=True)
class Energy:
    """Minus the logarithm of the sum of exponentials of the class scores."""

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``; see the module."""
        return by_blocks(raw_class_scores(inputs), lambda z: -log_sum_exp(z))


@dataclass(frozen=True)
class Entropy:
    """Entropy of the probabilities, 0..log C nats."""

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``; see the module."""
        return by_blocks(class_scores(inputs), _entropy)


@dataclass(frozen=True)
class GEN:
    """Generalized entropy of the ``largest`` probabilities, or of all where there are fewer."""

    gamma: float
    largest: int

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``; see the module."""
        return by_blocks(class_scores(inputs), self._block)

    def _block(self, scores: np.ndarray) -> np.ndarray:
        parts = softmax(scores)
        p = parts.p
        rest = 1.0 - p
        rest[np.arange(len(scores)), parts.top] = parts.doubt
        terms = p**self.gamma * rest**self.gamma
        classes = scores.shape[1]
        if self.largest < classes:
            first = classes - self.largest
            columns = np.argpartition(p, first, axis=1)[:, first:]
            terms = np.take_along_axis(terms, columns, axis=1)
        return terms.sum(axis=1)


def fit_msp(known: Known, layers: tuple[str, ...]) -> MSP:
    """Maximum softmax probability (arXiv 1610.02136); needs nothing beforehand."""
    return MSP()


def fit_max_logit(known: Known, layers: tuple[str, ...]) -> MaxLogit:
    """Largest class score (arXiv 1911.11132); needs nothing beforehand."""
    return MaxLogit()


def fit_energy(known: Known, layers: tuple[str, ...]) -> Energy:
    """Energy at temperature 1 (arXiv 2010.03759); needs nothing beforehand."""
    return Energy()


def fit_entropy(known: Known, layers: tuple[str, ...]) -> Entropy:
    """Entropy of the softmax; needs nothing beforehand."""
    return Entropy()


def fit_gen(
    known: Known, layers: tuple[str, ...], *, gamma: float = 0.1, largest: int = 100
) -> GEN:
    """Generalized entropy (Liu et al., CVPR 2023); needs nothing beforehand.

    Raises:
        MeasureError: ``gamma`` that is not positive, ``largest`` below 1.
    """
    if not 0.0 < gamma < np.inf or largest < 1:
        raise MeasureError(
            f"gen with gamma {gamma} of {largest} classes; give gamma > 0, 1 or more"
        )
    return GEN(float(gamma), int(largest))


def _entropy(scores: np.ndarray) -> np.ndarray:
    parts = softmax(scores)
    p = parts.p
    terms = np.multiply(p, parts.log_p, out=np.zeros_like(p), where=p > 0.0)
    return 0.0 - terms.sum(axis=1)
