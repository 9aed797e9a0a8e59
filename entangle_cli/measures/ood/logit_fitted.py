"""Outlier scores that look at the class scores and are fitted on calibration data.

*Conventions*: class scores z ``(n, C)``, p = softmax(z); higher = more out of distribution.
Calibration inputs are in-distribution inputs that training has not seen. Networks that give
probabilities are treated alike, with z = log p.

    temperature_msp  1 - max softmax(z / T)       T minimizes the mean -log softmax(z / T)_y of the
                                                  calibration inputs; arXiv 1706.04599
    kl_matching      min over c of KL(p || t_c)   t_c = mean p of the calibration inputs *predicted*
                                                  as c; arXiv 1911.11132

*Temperature*: the loss is convex in 1/T, so its slope has one change of sign, which is looked for
between T = 0.05 and T = 20. Where the loss still falls at an end, T is that end: 0.05 when every
calibration input is classified correctly. Where the slope is exactly 0 at T = 1, T stays 1: all
class scores of every input equal, or leads so large that no loss is left in float64. Inputs of
unknown label are left out, and those whose true class has probability 0, whose loss is infinite at
every T; ``TemperatureMSP.points`` counts the rest.

*Divergence*: nothing is added to a probability. A class that no calibration input is predicted as
has a one-hot template: its KL is infinite, so it never is the nearest, except for inputs whose p is
that one-hot vector in float64 (KL = 0). An input that gives weight to a class to which no suitable
template gives any is infinitely far from all; its score is 745, above every finite divergence
between float64 probabilities.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from entangle_cli.errors import MeasureError
from entangle_cli.measures.labels import as_labels, require_range
from entangle_cli.measures.ood.evidence import Evidence, Known, blocks
from entangle_cli.measures.ood.probabilities import by_blocks, class_scores, softmax

LOWEST_T, HIGHEST_T = 0.05, 20.0
# finite divergences end at -log(5e-324) = 744.4
INFINITELY_FAR = 745.0


@dataclass(frozen=True)
class TemperatureMSP:
    """1 - the largest probability at a fitted temperature; ``points`` inputs decided it."""

    temperature: float
    points: int

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``, 0..1 - 1/C; see the module."""
        return by_blocks(class_scores(inputs), lambda z: softmax(z / self.temperature).doubt)


@dataclass(frozen=True)
class KLMatching:
    """Divergence from the nearest template; ``templates`` ``(C, C)``, rows sum to 1.

    ``missing`` counts the classes that no calibration input was predicted as.
    """

    templates: np.ndarray
    missing: int

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``, 0..745; see the module.

        Raises:
            MeasureError: no class scores, or another number of classes.
        """
        empty = self.templates == 0.0
        logs = np.log(self.templates, out=np.zeros_like(self.templates), where=~empty)

        def nearest(scores: np.ndarray) -> np.ndarray:
            parts = softmax(scores)
            p = parts.p
            own = np.multiply(p, parts.log_p, out=np.zeros_like(p), where=p > 0.0).sum(axis=1)
            divergence = own[:, None] - p @ logs.T
            divergence[(p > 0.0).astype(np.float32) @ empty.T.astype(np.float32) > 0] = np.inf
            # rounding leaves equal distributions a hair below 0
            return np.clip(divergence.min(axis=1), 0.0, INFINITELY_FAR)

        return by_blocks(class_scores(inputs, classes=len(self.templates)), nearest)


def fit_temperature_msp(known: Known, layers: tuple[str, ...]) -> TemperatureMSP:
    """Temperature scaling, then the largest probability (arXiv 1706.04599).

    Raises:
        MeasureError: no calibration data, no class scores or no labels of them; a label that is
            none of the classes; every true class has probability 0.
    """
    calibration = known.calibration
    if calibration is None or calibration.labels is None or (calibration.labels == -1).all():
        raise MeasureError("needs calibration data with labels: give --calib")
    scores = class_scores(calibration)
    labels = as_labels(calibration.labels, len(scores), what="calibration labels")
    require_range(labels, scores.shape[1], role="calibration")
    used = labels >= 0
    used[used] = scores[used, labels[used]] > -np.inf
    if not used.any():
        raise MeasureError(
            "the true class of every calibration input has probability 0; check the labels"
        )
    rows = np.flatnonzero(used)
    return TemperatureMSP(_temperature(scores, labels, rows), len(rows))


def fit_kl_matching(known: Known, layers: tuple[str, ...]) -> KLMatching:
    """Templates of the predicted classes (arXiv 1911.11132); labels are not used.

    Raises:
        MeasureError: no calibration data, no class scores of them.
    """
    if known.calibration is None or known.calibration.rows == 0:
        raise MeasureError("needs calibration data: give --calib")
    scores = class_scores(known.calibration)
    classes = scores.shape[1]
    sums, counts = np.zeros((classes, classes)), np.zeros(classes, dtype=np.int64)
    for rows in blocks(scores):
        parts = softmax(scores[rows])
        p = parts.p
        counts += np.bincount(parts.top, minlength=classes)
        for label in np.unique(parts.top):
            sums[label] += p[parts.top == label].sum(axis=0)
    missing = np.flatnonzero(counts == 0)
    sums[missing, missing] = 1.0
    return KLMatching(sums / sums.sum(axis=1, keepdims=True), len(missing))


def _temperature(scores: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    """Where the loss is least, by the sign of its slope in 1/T."""

    def slope(log_t: float) -> float:
        """Mean over inputs of (mean score under p) - (score of the true class)."""
        total = 0.0
        for part in blocks(np.broadcast_to(np.float64(0.0), (len(rows), scores.shape[1]))):
            chosen = rows[part]
            block = scores[chosen]
            excess = block - block[np.arange(len(chosen)), labels[chosen]][:, None]
            p = softmax(block / np.exp(log_t)).p
            total += np.multiply(p, excess, out=np.zeros_like(p), where=p > 0.0).sum()
        return float(total / len(rows))

    if slope(0.0) == 0.0:
        return 1.0
    low, high = np.log(LOWEST_T), np.log(HIGHEST_T)
    # a slope of 0 or less in 1/T: the loss does not rise towards smaller temperatures
    if slope(low) <= 0.0:
        return LOWEST_T
    if slope(high) >= 0.0:
        return HIGHEST_T
    return float(np.exp(brentq(slope, low, high, xtol=1e-12)))
