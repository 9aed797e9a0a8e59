"""How well outlier scores tell in-distribution from out-of-distribution inputs.

*Conventions*: ``inside`` ``(n,)`` and ``outside`` ``(m,)`` are outlier scores, higher = more out of
distribution, -inf and +inf included and ordered; equal scores are one threshold. An input is called
out of distribution when its score lies above the threshold. All counts are exact; every number is
a share in [0, 1] and depends on the order of the scores alone.

    auroc      P(outside > inside) + P(outside = inside) / 2: the area under the ROC curve, from
               average ranks (Mann-Whitney), the same whichever side is called positive
    aupr_out   average precision, OOD positive: sum over thresholds of precision * added recall
    aupr_in    average precision, ID positive, from the negated score
    fpr95_in   ID positive: the lowest threshold that keeps at least 95 % of ID; share of OOD kept
    fpr95_out  OOD positive: the highest that catches at least 95 % of OOD; share of ID caught
    dtacc      max over thresholds of (share of ID kept + share of OOD caught) / 2

*Direction*: auroc, aupr and dtacc are better high, fpr95 low. A score that says nothing has auroc
1/2, fpr95 .95 (1 where constant), dtacc 1/2, and as aupr the share of positives: unlike the others,
aupr depends on how many inputs of each kind there are.

*Two FPR at 95 %*: ODIN and its successors have ID positive, OpenOOD 1.5 has OOD positive. They
differ, so both are given. *AUPR* is the step-wise sum, not the trapezoid under the curve, which is
too high where scores are tied (Davis and Goadrich, 2006).
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from entangle_cli.errors import MeasureError


@dataclass(frozen=True)
class Detection:
    """How well a score separates two sets of inputs; see the module for the definitions."""

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr95_in: float
    fpr95_out: float
    dtacc: float


@dataclass(frozen=True)
class _Counts:
    """Inputs per distinct score, ascending, and how many lie at or below it, ``(groups,)`` int64.

    Between two distinct scores lies one threshold; there is one more above all of them.
    """

    inside: np.ndarray
    outside: np.ndarray
    inside_up_to: np.ndarray
    outside_up_to: np.ndarray


def detection(inside: np.ndarray, outside: np.ndarray) -> Detection:
    """Every number of the module from scores ``(n,)`` and ``(m,)``, in O((n + m) log(n + m)).

    One input on a side is enough. Constant scores have auroc 1/2, fpr95 1, dtacc 1/2.

    Raises:
        MeasureError: a side is empty, is not one number per input, or holds NaN.
    """
    inside = as_scores(inside, "in-distribution scores")
    outside = as_scores(outside, "out-of-distribution scores")
    counts = _counted(inside, outside)
    n, m = len(inside), len(outside)
    inside_from = n - counts.inside_up_to + counts.inside
    outside_from = m - counts.outside_up_to + counts.outside
    # 20 * count >= 19 * size is exactly count / size >= 95 %
    kept = np.flatnonzero(20 * counts.inside_up_to >= 19 * n)[0]
    caught = np.flatnonzero(20 * outside_from >= 19 * m)[-1]
    inside_below = counts.inside_up_to - counts.inside
    # a threshold below every score is among these, and one above all of them is as good
    correct = np.max(outside_from * n + inside_below * m)
    return Detection(
        auroc=int(np.dot(counts.outside, inside_below + counts.inside_up_to)) / (2 * n * m),
        aupr_in=_average_precision(counts.inside, counts.inside_up_to, counts.outside_up_to),
        aupr_out=_average_precision(counts.outside, outside_from, inside_from),
        fpr95_in=float(counts.outside_up_to[kept] / m),
        fpr95_out=float(inside_from[caught] / n),
        dtacc=int(correct) / (2 * n * m),
    )


def threshold(calibration_scores: np.ndarray, *, keep: float = 0.95) -> float:
    """The score above which an input is called out of distribution, from held-out ID scores.

    The ceil((n + 1) * keep)-th smallest of ``calibration_scores`` ``(n,)`` (Vovk et al., 2005):
    a new in-distribution input, exchangeable with them, exceeds it with probability at most
    1 - keep, and with probability above 1 - keep - 1 / (n + 1) where no scores are equal. That is
    on average over calibration sets, without any assumption on the scores. ``keep`` is taken as the
    decimal number it is written as. The answer is infinite where that many scores are.

    Raises:
        MeasureError: too few scores for ``keep``, a ``keep`` outside (0, 1), or NaN.
    """
    if not 0 < keep < 1:
        raise MeasureError(f"keep {keep}; give the share of inputs to keep, between 0 and 1")
    scores = as_scores(calibration_scores, "calibration scores")
    share = Fraction(str(float(keep)))
    rank = math.ceil((len(scores) + 1) * share)
    if rank > len(scores):
        raise MeasureError(
            f"{len(scores)} calibration scores; to keep {float(100 * share):g} % of inputs give at "
            f"least {math.ceil(share / (1 - share))}, or keep less"
        )
    return float(np.partition(scores, rank - 1)[rank - 1])


def as_scores(values: np.ndarray, what: str) -> np.ndarray:
    """Scores ``(n,)`` as float64; ``what`` names them in messages.

    Raises:
        MeasureError: there are none, they are not one number per input, or some are NaN.
    """
    scores = np.asarray(values)
    if scores.ndim != 1 or scores.dtype.kind not in "biuf":
        raise MeasureError(
            f"{what} of shape {scores.shape} and type {scores.dtype}; give one number per input"
        )
    if len(scores) == 0:
        raise MeasureError(f"no {what}; give at least one input")
    scores = scores.astype(np.float64)
    missing = int(np.isnan(scores).sum())
    if missing:
        raise MeasureError(f"{missing} of {len(scores)} {what} are NaN; leave those inputs out")
    return scores


def _counted(inside: np.ndarray, outside: np.ndarray) -> _Counts:
    scores = np.concatenate([inside, outside])
    order = np.argsort(scores)
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    inside_up_to = np.cumsum(order < len(inside), dtype=np.int64)[last]
    outside_up_to = last + 1 - inside_up_to
    return _Counts(
        inside=np.diff(inside_up_to, prepend=0),
        outside=np.diff(outside_up_to, prepend=0),
        inside_up_to=inside_up_to,
        outside_up_to=outside_up_to,
    )


def _average_precision(added: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Precision where recall rises, from the positives added and the counts at every threshold."""
    return float(np.dot(added, positive / (positive + negative)) / added.sum())
