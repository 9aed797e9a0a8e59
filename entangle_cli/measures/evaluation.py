"""Deep k-nearest neighbors of a whole set: calibrated jointly and per layer, means over the set.

*Conventions*: a set is ``{layer: label counts (n, C)}``, the same layers for calibration and test;
see ``dknn`` for the counts and ``conformal`` for the p-values. A layer's own credibility is the
same calculation with that layer's counts alone and a calibration of its own.

A calibration set is either disjoint from the points evaluated (``evaluate``), or it is evaluated
against itself (``leave_one_out``), each point without its own score.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.conformal import Calibration, PValueKind
from entangle_cli.measures.dknn import (
    DkNNPrediction,
    distinct_labels,
    nonconformity,
    predict,
)
from entangle_cli.measures.labels import as_labels, numbers
from entangle_cli.measures.layered_calibration import Counts, LayeredCalibration

# of a block of rows: a p-value, a nonconformity and what comes between, for every class
BLOCK_CELLS = 1 << 18


@dataclass(frozen=True)
class Evaluation:
    """What the deep k-nearest neighbors say of a set of n inputs.

    ``joint`` rests on all layers, ``layers`` on one each; ``distinct`` counts the labels among the
    neighbors per layer, ``(n,)``; ``labels`` and ``model_prediction`` are as given. Means are None
    where there is nothing to average; accuracies are over the inputs with a label.
    """

    joint: DkNNPrediction
    layers: dict[str, DkNNPrediction]
    distinct: dict[str, np.ndarray]
    labels: np.ndarray | None
    model_prediction: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def labeled(self) -> np.ndarray:
        """Which inputs have a label, ``(n,)`` bool."""
        if self.labels is None:
            return np.zeros(len(self.joint.prediction), dtype=bool)
        return self.labels >= 0

    @property
    def correct(self) -> np.ndarray | None:
        """Whether the prediction is the label, ``(n,)`` bool; None where no input has a label."""
        if not self.labeled.any():
            return None
        return self.joint.prediction == self.labels

    @property
    def accuracy(self) -> float | None:
        """Share of labeled inputs whose prediction is their label."""
        correct = self.correct
        return None if correct is None else _mean(correct[self.labeled])

    @property
    def model_accuracy(self) -> float | None:
        """The same of the model's own predictions; None without them or without labels."""
        if self.model_prediction is None or self.labels is None:
            return None
        return _mean((self.model_prediction == self.labels)[self.labeled])

    @property
    def credibility(self) -> float | None:
        """Mean credibility, over all inputs."""
        return _mean(self.joint.credibility)

    @property
    def confidence(self) -> float | None:
        """Mean confidence, over all inputs."""
        return _mean(self.joint.confidence)

    def summary(self) -> dict[str, Any]:
        """The numbers of one set: ``n, model_accuracy, accuracy, credibility, confidence``."""
        means = ("model_accuracy", "accuracy", "credibility", "confidence")
        return {"n": len(self.joint.prediction)} | {key: getattr(self, key) for key in means}


def evaluate(
    counts: Counts,
    calibration: LayeredCalibration,
    labels: np.ndarray | None = None,
    *,
    model_prediction: np.ndarray | None = None,
    kind: PValueKind = "paper",
    seed: int = 0,
) -> Evaluation:
    """Predictions, credibility and confidence of inputs that the calibration has not seen.

    ``labels`` ``(n,)``, -1 where unknown, serve only the accuracies; a label outside the training
    classes can never be predicted, counts as an error and is noted. ``seed``: for ``smoothed``.

    Raises:
        MeasureError: other layers or classes than the calibration's, labels that do not fit.
    """
    labels, model = _given(counts, calibration, labels, model_prediction)
    parts = [
        _judged(
            {layer: of_layer[part] for layer, of_layer in counts.items()},
            calibration,
            None if model is None else model[part],
            {"kind": kind, "seed": seed, "first": part.start},
        )
        for part in _blocks(next(iter(counts.values())).shape)
    ]
    return _evaluation(parts, calibration, labels, model, ())


def leave_one_out(
    counts: Counts,
    calibration: LayeredCalibration,
    labels: np.ndarray,
    *,
    model_prediction: np.ndarray | None = None,
    kind: PValueKind = "paper",
    seed: int = 0,
) -> Evaluation:
    """The same for the calibration points themselves, each judged by all the others.

    The score that a point contributed with its label is taken out of the calibration before the
    point's p-values are read off, for every candidate label. Neighbors need no such care: they are
    training points. A class that is left without scores has the p-value 0, and a note.

    Raises:
        MeasureError: fewer than two calibration points, or points that are not the calibration's.
    """
    labels, model = _given(counts, calibration, labels, model_prediction)
    if calibration.joint.points < 2:
        raise MeasureError("1 calibration point; leaving one out needs at least 2")
    p_values = {"kind": kind, "seed": seed, "own_labels": labels}
    whole = {layer: np.asarray(of_layer) for layer, of_layer in counts.items()}
    parts = [_judged(whole, calibration, model, p_values)]
    return _evaluation(parts, calibration, labels, model, _lonely_notes(calibration.joint))


def _given(
    counts: Counts,
    calibration: LayeredCalibration,
    labels: np.ndarray | None,
    model_prediction: np.ndarray | None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if set(counts) != set(calibration.layers):
        raise MeasureError(
            f"layers {', '.join(counts)} but a calibration of {', '.join(calibration.layers)}; "
            "use the same layers for both"
        )
    shape = next(iter(counts.values())).shape
    if shape[1:] != (calibration.classes,):
        raise MeasureError(
            f"label counts of shape {shape} but a calibration of {calibration.classes} classes; "
            "use the same training data for both"
        )
    if labels is not None:
        labels = as_labels(labels, shape[0])
        if (labels < -1).any():
            raise MeasureError(f"label {labels.min()}; give 0..C-1, and -1 where it is unknown")
    if model_prediction is not None:
        model_prediction = as_labels(model_prediction, shape[0], what="model predictions")
    return labels, model_prediction


def _blocks(shape: tuple[int, int]) -> list[slice]:
    """Ranges of rows that cover a table; one that is empty where it has none."""
    step = max(1, BLOCK_CELLS // shape[1])
    return [slice(start, start + step) for start in range(0, max(shape[0], 1), step)]


def _judged(
    counts: Mapping[str, np.ndarray],
    calibration: LayeredCalibration,
    model_prediction: np.ndarray | None,
    p_values: dict[str, Any],
) -> Evaluation:
    """What is said of some rows, before labels and notes."""

    def judge(names: list[str], fitted: Calibration) -> DkNNPrediction:
        alpha = nonconformity([counts[name] for name in names], calibration.k)
        return predict(fitted.p_values(alpha, **p_values), alpha, model_prediction)

    return Evaluation(
        joint=judge(list(calibration.layers), calibration.joint),
        layers={layer: judge([layer], fitted) for layer, fitted in calibration.layers.items()},
        distinct={layer: distinct_labels(counts[layer]) for layer in calibration.layers},
        labels=None,
        model_prediction=None,
        notes=(),
    )


def _evaluation(
    parts: Sequence[Evaluation],
    calibration: LayeredCalibration,
    labels: np.ndarray | None,
    model_prediction: np.ndarray | None,
    notes: tuple[str, ...],
) -> Evaluation:
    """The rows of all parts, in order."""
    names = list(calibration.layers)
    return Evaluation(
        joint=_joined([part.joint for part in parts]),
        layers={name: _joined([part.layers[name] for part in parts]) for name in names},
        distinct={name: np.concatenate([part.distinct[name] for part in parts]) for name in names},
        labels=labels,
        model_prediction=model_prediction,
        notes=(*notes, *_label_notes(labels, calibration.classes)),
    )


def _joined(parts: Sequence[DkNNPrediction]) -> DkNNPrediction:
    columns = {
        field.name: [getattr(part, field.name) for part in parts] for field in fields(parts[0])
    }
    return DkNNPrediction(**{name: np.concatenate(column) for name, column in columns.items()})


def _label_notes(labels: np.ndarray | None, classes: int) -> Iterator[str]:
    labels = np.empty(0) if labels is None else labels
    unknown = int((labels == -1).sum())
    if unknown:
        yield f"{unknown} of {len(labels)} inputs have no label and are left out of the accuracies"
    outside = labels[labels >= classes]
    if len(outside):
        yield (
            f"{len(outside)} of {len(labels)} inputs have a label that is not a training class "
            f"({numbers(np.unique(outside))}): no prediction of theirs can be right"
        )


def _lonely_notes(calibration: Calibration) -> tuple[str, ...]:
    lonely = np.flatnonzero(calibration.sizes == 1)
    if len(lonely) == 0:
        return ()
    where = f" of class {numbers(lonely)}" if calibration.per_class else ""
    return (f"a single calibration score{where}: left out, it leaves the p-value 0",)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
