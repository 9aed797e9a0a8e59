"""One score from all layers: p-values of the layers' own scores, combined after Fisher and Brown.

*Conventions*: s is the outlier score of one layer, A the scores of the n calibration inputs there,
L the number of layers that take part.

    p     = (1 + #{a in A : a >= s}) / (n + 1)      per layer
    X     = -2 sum over layers of log p
    score = -log P(chi2 with f degrees of freedom >= X / c)         >= 0, higher = more outlying
    c     = V / (4 L),  f = 8 L^2 / V,  V = 4 (sum of all entries of the L x L correlation matrix)

For an input exchangeable with the calibration inputs P(score >= t) is about exp(-t). Fisher's
statistic has c = 1 and f = 2 L, which takes layers to be independent; Brown's V is the variance of
X of dependent ones. ``-2 log p`` of a uniform p has variance 4, which is exact; the correlations
are estimated on the calibration inputs, each with its p-value among the others: #{a >= own} / n.

*Defined ends*: V is at least that of independent layers (c >= 1, f <= 2 L), as a negative
correlation may be chance. A layer whose calibration scores are all the same, as those of a single
calibration input, is taken as uncorrelated with the others. One layer gives c = 1, f = 2, score =
-log p; perfectly correlated ones the same. p is never below 1 / (n + 1): inputs beyond all
calibration inputs in every layer share the largest score. Infinite scores are ordered like others
and equal each other; a NaN is refused.

References: Fisher 1932; Brown 1975 (doi 10.2307/2529826); c and f bounded as in Poole et al. 2016
(doi 10.1093/bioinformatics/btw438).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc, gammaincc, gammaln

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.distances import fit_knn
from entangle_cli.measures.ood.dknn_scores import fit_dknn_count
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.gaussian import fit_mahalanobis, fit_rmds
from entangle_cli.measures.ood.interface import Detector
from entangle_cli.measures.ood.layered import calibration_data, some_layers
from entangle_cli.measures.ood.soft_neighbors import fit_snnl_point

FitLayer = Callable[[Known, tuple[str, ...]], Detector]

# Below this the incomplete gamma function has lost digits or is about to underflow
SMALLEST_TAIL = 1e-280
# There x is so far above a that a step of the continued fraction gains at least one digit
STEPS = 30


@dataclass(frozen=True)
class LayerScore:
    """Detector of one layer and its scores of the calibration inputs, ``(n,)`` ascending.

    It is a detector itself, whose score has one scale in all layers.
    """

    layer: str
    detector: Detector
    calibration: np.ndarray

    def score(self, inputs: Evidence) -> np.ndarray:
        """``-2 log p``, ``(n,)`` float64, 0 to 2 log(n + 1).

        Raises:
            MeasureError: what the detector needs is missing, or its score is NaN.
        """
        scores = _checked(self.detector.score(inputs), self.layer)
        p = (1 + _at_least(self.calibration, scores)) / (len(self.calibration) + 1)
        return 0.0 - 2.0 * np.log(p)  # p = 1 gives 0.0, not -0.0


@dataclass(frozen=True)
class Fisher:
    """Combination over layers; see the module.

    Attributes:
        layers: those that take part, L of them.
        scale: c.
        freedom: f.
        left_out: names of the layers on which the detector is not defined.
    """

    layers: tuple[LayerScore, ...]
    scale: float
    freedom: float
    left_out: tuple[str, ...]

    def score(self, inputs: Evidence) -> np.ndarray:
        """Minus the log of the combined p-value, ``(n,)`` float64, >= 0 and finite.

        Raises:
            MeasureError: what the detector of a layer needs is missing, or its score is NaN.
        """
        total = np.zeros(inputs.rows)
        for layer in self.layers:
            total += layer.score(inputs)
        return -log_chi2_tail(total / self.scale, self.freedom)


def fit_fisher(fit: FitLayer, known: Known, layers: tuple[str, ...]) -> Fisher:
    """Fit one detector per layer and the correlations of their p-values.

    A layer on which ``fit``, or the score of the calibration inputs, is not defined is left out.

    Raises:
        MeasureError: no calibration data, or every layer is left out; then with the first reason.
    """
    calibration, layers = calibration_data(known), some_layers(layers)
    fitted, logs, reasons = [], [], {}
    for layer in layers:
        try:
            detector = fit(known, (layer,))
            scores = _checked(detector.score(calibration), layer)
        except MeasureError as error:
            reasons[layer] = error
            continue
        ordered = np.sort(scores)
        fitted.append(LayerScore(layer, detector, ordered))
        logs.append(-2.0 * np.log(_at_least(ordered, scores) / len(scores)))
    if not fitted:
        raise MeasureError(str(reasons[layers[0]]))
    scale, freedom = _brown(np.stack(logs))
    return Fisher(tuple(fitted), scale, freedom, tuple(reasons))


def fit_fisher_knn(known: Known, layers: tuple[str, ...]) -> Fisher:
    """``knn`` of every layer, combined; see `fit_fisher`."""
    return fit_fisher(fit_knn, known, layers)


def fit_fisher_mahalanobis(known: Known, layers: tuple[str, ...]) -> Fisher:
    """``mahalanobis`` of every layer, combined; see `fit_fisher`."""
    return fit_fisher(fit_mahalanobis, known, layers)


def fit_fisher_rmds(known: Known, layers: tuple[str, ...]) -> Fisher:
    """``rmds`` of every layer, combined; see `fit_fisher`."""
    return fit_fisher(fit_rmds, known, layers)


def fit_fisher_dknn(known: Known, layers: tuple[str, ...]) -> Fisher:
    """``dknn_count`` of every layer, combined; see `fit_fisher`."""
    return fit_fisher(fit_dknn_count, known, layers)


def fit_fisher_snnl(known: Known, layers: tuple[str, ...]) -> Fisher:
    """``snnl_point`` of every layer, combined; see `fit_fisher`."""
    return fit_fisher(fit_snnl_point, known, layers)


def log_chi2_tail(x: np.ndarray, freedom: float) -> np.ndarray:
    """log P(chi2 >= x), ``(n,)`` <= 0, for x >= 0: finite and falling where P itself underflows.

    Reference: Abramowitz and Stegun, 6.5.31 (continued fraction of the incomplete gamma function).
    """
    a, x = freedom / 2.0, np.asarray(x, dtype=np.float64) / 2.0
    tail = gammaincc(a, x)
    logs = np.empty_like(x)
    near, far = tail > 0.5, tail < SMALLEST_TAIL
    logs[near] = np.log1p(-gammainc(a, x[near]))
    logs[~near & ~far] = np.log(tail[~near & ~far])
    x = x[far]
    below = x + 2 * STEPS + 1 - a
    for step in range(STEPS, 0, -1):
        below = x + 2 * step - 1 - a - step * (step - a) / below
    logs[far] = a * np.log(x) - x - gammaln(a) - np.log(below)
    return logs


def _brown(logs: np.ndarray) -> tuple[float, float]:
    """c and f from ``-2 log p`` of the calibration inputs, ``(L, n)``."""
    count = len(logs)
    apart = logs - logs.mean(axis=1, keepdims=True)
    lengths = np.sqrt((apart**2).sum(axis=1))
    # where all scores are equal, all p are 1 and their logs exactly 0
    units = apart / np.where(lengths > 0, lengths, 1.0)[:, None]
    correlation = units @ units.T
    np.fill_diagonal(correlation, 1.0)
    variance = 4.0 * max(float(correlation.sum()), float(count))
    return variance / (4.0 * count), 8.0 * count**2 / variance


def _at_least(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How many of the ascending values are at least as large, ``(n,)``."""
    return len(ordered) - np.searchsorted(ordered, scores, side="left")


def _checked(scores: np.ndarray, layer: str) -> np.ndarray:
    if np.isnan(scores).any():
        raise MeasureError(f"layer {layer}: a score is NaN, which has no place in an order")
    return scores
