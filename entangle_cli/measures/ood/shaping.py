"""Energy of the class scores after the penultimate features, or the last layer, are reshaped.

*Conventions*: features f ``(n, D)``, last linear layer W ``(C, D)``, b ``(C,)``. Every score is
``-log sum exp(W g(f) + b)``, higher = more out of distribution. k is the number of values of one
input that are kept: D - round(D p / 100), at least 1; of equal values the first are kept. s1 is the
sum of all values of f, s2 that of the k largest.

    react  g = min(f, c), c the p-th percentile of all training values      p = 90   2111.12797
    dice   g = f; W only where mean(f) * W is at or above its p-th percentile  p = 90   2111.09805
    ash_p  g = the k largest values, 0 elsewhere                            p = 90   2209.09858
    ash_b  g = s1 / k where one of the k largest is, 0 elsewhere            p = 90   2209.09858
    ash_s  g = the k largest values times exp(s1 / s2), 0 elsewhere         p = 90   2209.09858
    scale  g = f exp(s1 / s2)                                               p = 85   2310.00227

*Negative features*: ash_* and scale were proposed behind a ReLU. They rank by value, not by size.
ash_s and scale are computed as long as s2 > 0 (then s1 / s2 <= D / k, so the exponential is
bounded); an input with s2 <= 0 is an error, except one whose values are all 0: g = 0 there.
ash_p and ash_b are defined for all values.

*Percentile of react*: exact, linear between neighbors, up to 50 million values; beyond, of as many
whole rows as that allows, drawn with the seed. Calibration data stand in where there is no training
data. It is an error where c is no larger than the smallest value (more than 90 % zeros): every
input would get the same score.
"""

from dataclasses import dataclass, replace

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.measures.ood.penultimate import (
    feature_blocks,
    fit_center,
    require_features,
    require_head,
    require_training,
    score_features,
)
from entangle_cli.measures.ood.probabilities import log_sum_exp
from entangle_cli.scratch import spilled_array

MOST_VALUES = 50_000_000


@dataclass(frozen=True)
class ShapedEnergy:
    """Energy after one reshaping; ``threshold`` is c of react, ``kept`` is k of the others."""

    shaping: str
    weight: np.ndarray
    bias: np.ndarray
    kept: int = 0
    threshold: float = np.inf

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier scores ``(n,)``.

        Raises:
            MeasureError: no features, another width, features that the scaling is not defined for.
        """
        head = Head(self.weight, self.bias)
        classes, width = self.weight.shape
        return score_features(
            inputs,
            width,
            lambda features: -log_sum_exp(head.logits(self._shaped(features))),
            beside=width + classes,
        )

    def _shaped(self, features: np.ndarray) -> np.ndarray:
        if self.shaping == "dice":
            return features
        if self.shaping == "react":
            return np.minimum(features, self.threshold)
        largest = largest_values(features, self.kept)
        if self.shaping == "ash_p":
            return np.where(largest, features, 0.0)
        if self.shaping == "ash_b":
            return np.where(largest, features.sum(axis=1, keepdims=True) / self.kept, 0.0)
        factor = _factor(features, largest)
        if self.shaping == "ash_s":
            return np.where(largest, features * factor, 0.0)
        return features * factor


def fit_react(known: Known, layers: tuple[str, ...], *, percentile: float = 90.0) -> ShapedEnergy:
    """ReAct (arXiv 2111.12797): values above the percentile of the training values are cut off.

    Raises:
        MeasureError: no last layer, neither training nor calibration data, no features of them, a
            percentile that leaves nothing.
    """
    head = require_head(known)
    if known.training is None and known.calibration is not None:
        known = replace(known, training=known.calibration)
    source = require_training(known)
    values = _values(source, head.weight.shape[1], known.seed)
    threshold = _percentile(values, _share(percentile))
    # _percentile leaves the values at or below the threshold in front
    smallest = float(values.min())
    if threshold <= smallest:
        raise MeasureError(
            f"{percentile:g} % of the feature values are {smallest:g}: nothing would be left below "
            "the threshold; leave react out"
        )
    return ShapedEnergy("react", head.weight, head.bias, threshold=threshold)


def fit_dice(known: Known, layers: tuple[str, ...], *, percentile: float = 90.0) -> ShapedEnergy:
    """DICE (arXiv 2111.09805): weights of small mean contribution to the class scores are 0.

    Raises:
        MeasureError: no last layer, no training data, no features of them.
    """
    head = require_head(known)
    mean = fit_center(require_training(known), head.weight.shape[1]).mean
    contribution = head.weight * mean
    limit = _percentile(contribution.flatten(), _share(percentile))
    return ShapedEnergy("dice", np.where(contribution >= limit, head.weight, 0.0), head.bias)


def fit_ash_p(known: Known, layers: tuple[str, ...], *, percentile: float = 90.0) -> ShapedEnergy:
    """ASH-P (arXiv 2209.09858): only the largest values stay. Needs the last layer."""
    return _per_input("ash_p", known, percentile)


def fit_ash_b(known: Known, layers: tuple[str, ...], *, percentile: float = 90.0) -> ShapedEnergy:
    """ASH-B (arXiv 2209.09858): the largest values share the sum. Needs the last layer."""
    return _per_input("ash_b", known, percentile)


def fit_ash_s(known: Known, layers: tuple[str, ...], *, percentile: float = 90.0) -> ShapedEnergy:
    """ASH-S (arXiv 2209.09858): the largest values stay, scaled. Needs the last layer."""
    return _per_input("ash_s", known, percentile)


def fit_scale(known: Known, layers: tuple[str, ...], *, percentile: float = 85.0) -> ShapedEnergy:
    """SCALE (arXiv 2310.00227): all values are scaled, none is removed. Needs the last layer."""
    return _per_input("scale", known, percentile)


def largest_values(features: np.ndarray, kept: int) -> np.ndarray:
    """Where the ``kept`` largest values of every row ``(n, D)`` are, the first of equal ones."""
    width = features.shape[1]
    if kept >= width:
        return np.ones(features.shape, dtype=bool)
    limit = np.partition(features, width - kept, axis=1)[:, width - kept, None]
    above, at = features > limit, features == limit
    free = kept - above.sum(axis=1, keepdims=True)
    return above | (at & (at.cumsum(axis=1) <= free))


def _per_input(shaping: str, known: Known, percentile: float) -> ShapedEnergy:
    head = require_head(known)
    width = head.weight.shape[1]
    kept = max(1, width - round(width * _share(percentile)))
    return ShapedEnergy(shaping, head.weight, head.bias, kept=kept)


def _share(percentile: float) -> float:
    if not 0.0 <= percentile < 100.0:
        raise MeasureError(f"percentile {percentile}; give 0 or more and less than 100")
    return percentile / 100.0


def _factor(features: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """exp(s1 / s2) ``(n, 1)``, 1 where all values are 0."""
    every = features.sum(axis=1, keepdims=True)
    kept = np.where(largest, features, 0.0).sum(axis=1, keepdims=True)
    zero = ~features.any(axis=1, keepdims=True)
    undefined = (kept <= 0.0) & ~zero
    if undefined.any():
        row = int(np.flatnonzero(undefined)[0])
        raise MeasureError(
            f"the largest features of an input sum to {kept[row, 0]:.3g} "
            f"({int((features[row] < 0).sum())} of its {features.shape[1]} are negative); "
            "leave ash_s and scale out for features that are not behind a ReLU"
        )
    # a sum of features far below 0 over a tiny one is a factor of 0
    with np.errstate(over="ignore"):
        return np.exp(np.divide(every, kept, out=np.zeros_like(every), where=~zero))


def _values(source: Evidence, width: int, seed: int) -> np.ndarray:
    """Feature values of all rows, or of rows drawn at random where they are too many."""
    features = require_features(source, width)
    rows = min(source.rows, max(1, MOST_VALUES // width))
    chosen = np.zeros(source.rows, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(source.rows)[:rows]] = True
    narrow = features.dtype in (np.dtype(np.float16), np.dtype(np.float32))
    values = spilled_array((rows, width), features.dtype if narrow else np.float64)
    filled = 0
    for part, block in feature_blocks(source, width):
        picked = block[chosen[part]]
        values[filled : filled + len(picked)] = picked
        filled += len(picked)
    return values.ravel()


def _percentile(values: np.ndarray, share: float) -> float:
    """Linear between the two nearest values; ``values`` are reordered."""
    position = share * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    values.partition([low, high])
    first, second = float(values[low]), float(values[high])
    return first + (second - first) * (position - low)
