"""Candidates for a model's preprocessing, compared by accuracy on the same labelled samples."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from entangle_cli.datasets.candidates import Candidate
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.errors import DataError, EntangleError

ROUNDS = (256, 1000, 4000)
FINALISTS = 4

_BATCH_BYTES = 32 * 2**20
# a round decides only what it can: twice the standard error of a difference
_ERRORS = 2.0


@dataclass
class Score:
    """Which of the samples tried so far a candidate got right."""

    candidate: Candidate
    hits: list[bool] = field(default_factory=list)
    refusal: EntangleError | None = None

    @property
    def accuracy(self) -> float | None:
        """The share of samples right, None if none could be tried."""
        return float(np.mean(self.hits)) if self.hits else None


@dataclass(frozen=True)
class Outcome:
    """The winner; ``convincing`` if guessing would hardly do as well; the summary is a note."""

    best: Score
    convincing: bool
    summary: str


def scored(
    candidate: Candidate,
    dataset: Dataset,
    predict: Callable[[np.ndarray], np.ndarray | None],
    rows: np.ndarray,
) -> Score:
    """One candidate's score on these rows; a model without class scores leaves it empty."""
    score = Score(candidate)
    _try([score], dataset, predict, rows)
    if isinstance(score.refusal, DataError) or score.refusal is None:
        return score
    raise score.refusal


def hold_contest(
    candidates: Sequence[Candidate],
    dataset: Dataset,
    predict: Callable[[np.ndarray], np.ndarray | None],
    rows: np.ndarray,
) -> Outcome:
    """The candidate with the best accuracy; of equals the one that comes first.

    Raises:
        EntangleError: the model takes none of the candidates; its own reason.
    """
    scores = [Score(candidate) for candidate in candidates]
    standing = scores
    tried = 0
    for end in ROUNDS:
        if tried >= len(rows) or (tried and len(standing) == 1):
            break
        _try(standing, dataset, predict, rows[tried:end])
        tried = min(end, len(rows))
        standing = _remaining([score for score in standing if score.refusal is None])
        if not standing:
            return _nothing_ran(scores)
    best = standing[0]
    chance = _guessing(dataset.labels)
    needed = chance + 3 * math.sqrt(chance * (1 - chance) / len(best.hits))
    return Outcome(best, best.accuracy > needed, _summary(scores, best, chance))


def _try(
    scores: Sequence[Score],
    dataset: Dataset,
    predict: Callable[[np.ndarray], np.ndarray | None],
    rows: np.ndarray,
) -> None:
    for part in _parts(scores[0].candidate.preprocessing, dataset, rows):
        images, labels = dataset.images(part), dataset.labels[part]
        for score in scores:
            if score.refusal is not None:
                continue
            try:
                outputs = predict(score.candidate.preprocessing.apply(images))
                score.hits += list(_right(outputs, labels))
            except EntangleError as error:
                score.refusal = error


def _parts(preprocessing: Preprocessing, dataset: Dataset, rows: np.ndarray) -> list[np.ndarray]:
    """The rows in parts whose input batches stay small in memory."""
    shape = preprocessing.apply(dataset.images(rows[:1])).shape
    step = max(1, min(256, _BATCH_BYTES // (4 * math.prod(shape))))
    return [rows[start : start + step] for start in range(0, len(rows), step)]


def _right(outputs: np.ndarray | None, labels: np.ndarray) -> np.ndarray:
    """Whether the largest class score is the label's; scores that are not finite are wrong."""
    if outputs is None:
        raise DataError("the model gives no class scores")
    scores = np.asarray(outputs)
    scores = scores.reshape(len(scores), -1) if scores.ndim else scores.reshape(1, -1)
    if len(scores) != len(labels) or scores.shape[1] < 2:
        raise DataError(f"the model's output {outputs.shape} holds no scores of several classes")
    if labels.max() >= scores.shape[1]:
        raise DataError(f"label {labels.max()} is beyond the model's {scores.shape[1]} classes")
    return (scores.argmax(axis=1) == labels) & np.isfinite(scores).all(axis=1)


def _remaining(scores: list[Score]) -> list[Score]:
    """The best few, best first, without those that are surely worse than the best."""
    # sorting is stable: of equals the simpler convention stays first
    ranked = sorted(scores, key=lambda score: -sum(score.hits))[:FINALISTS]
    return [score for score in ranked if score is ranked[0] or _undecided(ranked[0], score)]


def _undecided(best: Score, other: Score) -> bool:
    """Whether the difference is within its error; never for two that agree on every sample."""
    a, b = np.array(best.hits), np.array(other.hits)
    disagreements = int((a != b).sum())
    if disagreements == 0:
        return False
    return bool(a.sum() - b.sum() <= _ERRORS * math.sqrt(disagreements))


def _guessing(labels: np.ndarray) -> float:
    _, counts = np.unique(labels, return_counts=True)
    return float(counts.max() / counts.sum())


def _nothing_ran(scores: list[Score]) -> Outcome:
    reason = scores[0].refusal
    if not isinstance(reason, DataError):
        raise reason
    return Outcome(scores[0], False, str(reason))


def _summary(scores: list[Score], best: Score, chance: float) -> str:
    tried = sorted((s for s in scores if s.hits), key=lambda s: (-len(s.hits), -s.accuracy))
    shown = ", ".join(
        f"{s.candidate.name} {100 * s.accuracy:.1f} % of {len(s.hits)}" for s in tried[:4]
    )
    refused = sum(s.refusal is not None for s in scores)
    text = f"probed {len(scores)} conventions"
    text += f" ({refused} refused by the model)" if refused else ""
    return f"{text}: {shown}; took {best.candidate.name}; guessing gives {100 * chance:.1f} %"
