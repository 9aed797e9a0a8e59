"""Calibration scores of held-out labeled points, and the p-values read off them.

*Conventions*: a score is a nonconformity (large = strange). A is the set of scores that calibration
points have **with their true label**, m its size. A p-value is high where the candidate conforms.

    paper      p = #{a in A : a >= alpha} / m                        0 where nothing is as strange
    conformal  p = (1 + #{a >= alpha}) / (m + 1)                     P(p <= t) <= t, never 0
    smoothed   p = (#{a > alpha} + U (1 + #{a = alpha})) / (m + 1)   P(p <= t) = t, U uniform

The two last lines hold for the p-value of the *true* label of a point exchangeable with the
calibration points. A credibility is the largest p-value over the labels, so it lies higher.

*Where this differs from the published code* (cleverhans): there, scores of 0 are deleted from A,
which raises every p-value with alpha > 0 by the share deleted and divides by zero where all are 0.
Here that is ``zeros="trim"``, and a set of zeros alone is kept as it is; ``zeros="keep"`` is the
paper's pseudo-code. Trimming gives up the guarantees above.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.labels import as_labels, numbers, require_choice, require_range

PValueKind = Literal["paper", "conformal", "smoothed"]
Zeros = Literal["keep", "trim"]

# With fewer calibration points than this, p-values come in steps above 0.01
FEW_POINTS = 100


@dataclass(frozen=True)
class Calibration:
    """Sorted nonconformity of held-out labeled points; see the module for the p-values.

    ``groups`` holds one ascending array of scores, or with ``per_class`` (Mondrian) one per class:
    the p-value of class j then comes from calibration points of class j alone.
    """

    groups: tuple[np.ndarray, ...]
    per_class: bool
    zeros: Zeros
    points: int  # labeled calibration points, trimmed ones included
    trimmed: tuple[int, ...]  # scores of 0 left out of each group
    notes: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        nonconformity: np.ndarray,
        labels: np.ndarray,
        *,
        zeros: Zeros = "keep",
        per_class: bool = False,
        classes: int | None = None,
    ) -> "Calibration":
        """Calibrate on scores ``(n,)`` that held-out points have with their true labels ``(n,)``.

        Points labeled -1 (unknown) are left out and counted. Where trimming would leave a group
        without scores, its zeros stay, so that p is 1 at alpha = 0 and 0 above. ``classes`` (the
        largest label + 1 where not given) tells which classes are missing. ``notes`` says all this.

        Raises:
            MeasureError: no points, no labels, a label outside 0..classes-1, a non-finite score.
        """
        require_choice("zeros", zeros, get_args(Zeros))
        scores, labels = _checked(nonconformity, labels)
        known = labels >= 0
        classes = int(labels.max()) + 1 if classes is None else classes
        require_range(labels, classes, role="calibration")
        notes = _coverage_notes(labels, classes, per_class)
        scores, labels = scores[known], labels[known]
        groups, trimmed = [], []
        for name, group in _split(scores, labels, classes if per_class else None):
            kept = group[group != 0] if zeros == "trim" else group
            if len(kept) == 0 and len(group):
                notes.append(f"all {len(group)} calibration scores{name} are 0, so none is trimmed")
                kept = group
            groups.append(np.sort(kept))
            trimmed.append(len(group) - len(kept))
        return cls(tuple(groups), per_class, zeros, len(scores), tuple(trimmed), tuple(notes))

    @property
    def sizes(self) -> np.ndarray:
        """Scores that p-values are read off: ``(1,)``, or ``(C,)`` with one group per class."""
        return np.array([len(group) for group in self.groups], dtype=np.int64)

    def describe(self) -> str:
        """One line: how many points, what became of scores of 0, the resolution of p-values."""
        zeros = "zeros kept"
        if self.zeros == "trim":
            zeros = f"{sum(self.trimmed)} zeros trimmed"
        largest = int(self.sizes.max())
        step = f"p-values in steps of {1 / largest:.2g}"
        grouped = ", each class on its own" if self.per_class else ""
        return f"{self.points} calibration points{grouped}, {zeros}, {step}"

    def p_values(
        self,
        nonconformity: np.ndarray,
        *,
        kind: PValueKind = "paper",
        seed: int = 0,
        first: int = 0,
        own_labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """p-value of every candidate label from its nonconformity, ``(n, C)``, in [0, 1].

        ``smoothed`` draws one U per row, in order, from ``seed``: equal scores of a row stay equal,
        and within one group p never rises with alpha. ``first``: the place of the first row among
        all rows, where they come in parts. A class without calibration points has the
        p-value 0 in every kind: nothing supports it.

        ``own_labels`` ``(n,)`` means that the rows *are* calibration points with these labels
        (leave-one-out): for row i the set A is taken without that point's own score, m is one less.
        A row labeled -1, or whose score of 0 was trimmed, is not in A and loses nothing.

        Raises:
            MeasureError: shapes that do not fit, an unknown kind, rows that are not the calibration
                points in leave-one-out.
        """
        require_choice("p-value", kind, get_args(PValueKind))
        alpha = _as_table(nonconformity)
        if self.per_class and alpha.shape[1] != len(self.groups):
            raise MeasureError(
                f"nonconformity for {alpha.shape[1]} classes but a calibration of "
                f"{len(self.groups)}; use the same classes for both"
            )
        at_least, above, size = self._ranks(alpha)
        if own_labels is not None:
            inside, own = self._own_scores(alpha, own_labels)
            at_least -= inside & (own >= alpha)
            above -= inside & (own > alpha)
            size = size - inside
        if kind == "paper":
            values = at_least / np.maximum(size, 1)
        elif kind == "conformal":
            values = (1 + at_least) / (size + 1)
        else:
            draws = np.random.PCG64(seed).advance(first)
            uniform = np.random.Generator(draws).random((len(alpha), 1))
            values = (above + uniform * (1 + at_least - above)) / (size + 1)
        return np.where(size > 0, values, 0.0)

    def _ranks(self, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """#{a >= alpha} and #{a > alpha}, ``(n, C)`` each, and m, ``(1,)`` or ``(C,)``."""
        at_least, above = np.empty((2, *alpha.shape), dtype=np.int64)
        columns = range(alpha.shape[1]) if self.per_class else [slice(None)]
        for column, group in zip(columns, self.groups, strict=True):
            at_least[:, column] = len(group) - np.searchsorted(group, alpha[:, column], "left")
            above[:, column] = len(group) - np.searchsorted(group, alpha[:, column], "right")
        return at_least, above, self.sizes

    def _own_scores(self, alpha: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether a row's own score is in a column's set, ``(n, C)``, and the score, ``(n, 1)``."""
        labels = as_labels(labels, len(alpha))
        require_range(labels, alpha.shape[1], role="leave-one-out")
        own = alpha[np.arange(len(alpha)), np.maximum(labels, 0)]
        group_of = labels if self.per_class else np.where(labels >= 0, 0, -1)
        inside = group_of >= 0
        for number, (group, trimmed) in enumerate(zip(self.groups, self.trimmed, strict=True)):
            if trimmed:
                inside &= ~((group_of == number) & (own == 0))
            values, counts = np.unique(own[inside & (group_of == number)], return_counts=True)
            there = np.searchsorted(group, values, "right") - np.searchsorted(group, values, "left")
            if (counts > there).any():
                raise MeasureError(
                    "leave-one-out with points that the calibration does not hold; "
                    "give the calibration points themselves, with their labels"
                )
        columns = np.ones(alpha.shape, dtype=bool)
        if self.per_class:
            columns = np.arange(alpha.shape[1]) == labels[:, None]
        return inside[:, None] & columns, own[:, None]


def _checked(nonconformity: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = np.asarray(nonconformity)
    if scores.ndim != 1:
        raise MeasureError(f"calibration scores of shape {scores.shape}; give one per point, (n,)")
    if len(scores) == 0:
        raise MeasureError("the calibration set is empty; give held-out labeled points")
    labels = as_labels(labels, len(scores))
    if (labels == -1).all():
        raise MeasureError(
            f"none of the {len(labels)} calibration points has a label; give labeled points"
        )
    if not np.isfinite(scores).all():
        raise MeasureError("a calibration score is not finite; find the point that overflows")
    return scores, labels


def _as_table(nonconformity: np.ndarray) -> np.ndarray:
    alpha = np.asarray(nonconformity)
    if alpha.ndim != 2 or alpha.shape[1] == 0 or not np.isfinite(alpha).all():
        raise MeasureError(
            f"nonconformity of shape {alpha.shape}; give finite numbers (n, C), one per label"
        )
    return alpha


def _split(
    scores: np.ndarray, labels: np.ndarray, classes: int | None
) -> list[tuple[str, np.ndarray]]:
    if classes is None:
        return [("", scores)]
    return [(f" of class {label}", scores[labels == label]) for label in range(classes)]


def _coverage_notes(labels: np.ndarray, classes: int, per_class: bool) -> list[str]:
    notes = []
    unknown = int((labels == -1).sum())
    if unknown:
        notes.append(
            f"{unknown} of {len(labels)} calibration points have no label and are left out"
        )
    sizes = np.bincount(labels[labels >= 0], minlength=classes)
    if (sizes == 0).any():
        missing = f"no calibration point of class {numbers(np.flatnonzero(sizes == 0))}"
        notes.append(f"{missing}: the p-value of that class is 0" if per_class else missing)
    fewest = int(sizes[sizes > 0].min()) if per_class else int(sizes.sum())
    if fewest < FEW_POINTS:
        where = " in the smallest class" if per_class else ""
        step = f"p-values come in steps of {1 / fewest:.2g}"
        notes.append(f"only {fewest} calibration points{where}: {step}")
    return notes
