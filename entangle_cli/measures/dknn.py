"""Deep k-nearest neighbors: what the labels of the nearest training points say about an input.

*Conventions*: a layer gives each input the labels of its k nearest training points, ``(n, k)``, -1
where a neighbor is missing or has no label. ``label_counts`` turns them into ``(n, C)``; everything
after that works on counts.

    nonconformity  alpha(z, j) = sum over layers of #{neighbors whose label is not j}, 0..k*layers
    prediction     the label with the largest p-value
    credibility    that largest p-value: low = the training data do not support the prediction
    confidence     1 - the second largest p-value: low = another label is as plausible

Reference: arXiv 1803.04765, algorithm 1.

*Where this differs from the published code* (cleverhans): a missing neighbor counts as "not j" for
every label, not as a vote for class 0; a row of p-values that are all 0 is decided by
nonconformity, not as class 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.labels import as_labels, require_range

BLOCK_CELLS = 1 << 22


@dataclass(frozen=True)
class DkNNPrediction:
    """What the deep k-nearest neighbors say of n inputs; every array is ``(n,)``.

    ``nonconformity`` is that of the predicted label; ``tied`` counts the labels that share the
    largest p-value (1 where it alone decides).
    """

    prediction: np.ndarray
    credibility: np.ndarray
    confidence: np.ndarray
    nonconformity: np.ndarray
    tied: np.ndarray


def neighbor_labels(indices: np.ndarray, train_labels: np.ndarray) -> np.ndarray:
    """Labels of the neighbors ``(n, k)`` from their rows ``(n, k)`` among the training points.

    -1 where the neighbor is missing (row -1) or has no label.

    Raises:
        MeasureError: a row that is not among the training points.
    """
    train_labels = as_labels(train_labels, len(train_labels), what="training labels")
    indices = np.asarray(indices)
    if indices.size and (indices.min() < -1 or indices.max() >= len(train_labels)):
        raise MeasureError(
            f"neighbors in rows {indices.min()} to {indices.max()} but {len(train_labels)} "
            "training labels; give the labels of the points that were searched"
        )
    # row -1, a missing neighbor, reads the -1 that is appended
    return np.append(train_labels, -1)[indices]


def label_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """How many neighbors, given by label ``(n, k)``, have each label, ``(n, C)`` int32; -1: none.

    Raises:
        MeasureError: a label outside -1..classes-1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise MeasureError(
            f"neighbor labels of shape {labels.shape} and type {labels.dtype}; give integers (n, k)"
        )
    require_range(labels.ravel(), classes, role="neighbor")
    width = classes + 1  # the last column takes the missing ones
    counts = np.empty((len(labels), classes), dtype=np.int32)
    step = max(1, BLOCK_CELLS // (width + labels.shape[1]))
    for start in range(0, len(labels), step):
        block = labels[start : start + step].astype(np.int64)
        cells = np.where(block < 0, classes, block) + width * np.arange(len(block))[:, None]
        filled = np.bincount(cells.ravel(), minlength=width * len(block))
        counts[start : start + step] = filled.reshape(-1, width)[:, :classes]
    return counts


class LabelCounts:
    """``label_counts`` ``(n, C)`` of neighbor lists, counted anew for the rows that are asked for.

    ``indices`` ``(n, k)`` are rows among the training points, -1 where a neighbor is missing; they
    may be memory-mapped. Slices and ``np.asarray`` give counts.

    Raises:
        MeasureError: training labels that are not whole numbers; when rows are asked for, a
            neighbor that is not among the training points, a label that is not a class.
    """

    def __init__(self, indices: np.ndarray, train_labels: np.ndarray, classes: int) -> None:
        self._indices, self._classes = indices, classes
        self._train_labels = as_labels(train_labels, len(train_labels), what="training labels")

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and classes."""
        return len(self._indices), self._classes

    def __getitem__(self, rows: slice) -> np.ndarray:
        labels = neighbor_labels(self._indices[rows], self._train_labels)
        return label_counts(labels, self._classes)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)


def distinct_labels(counts: np.ndarray) -> np.ndarray:
    """How many different labels the neighbors of each input have, ``(n, C)`` to ``(n,)``, 0..C.

    1 where all neighbors agree. It usually falls from layer to layer; where it does not, the input
    never came near the training points of one class.
    """
    return (np.asarray(counts) > 0).sum(axis=1)


def nonconformity(counts_by_layer: Sequence[np.ndarray], k: int) -> np.ndarray:
    """alpha(z, j): over all layers, how many of the k neighbors do **not** have label j.

    ``alpha = sum over layers of (k - count_j)``; counts ``(n, C)`` per layer give ``(n, C)`` int64
    in 0..k*layers. A neighbor that is missing or has no label is "not j" for every j.
    Reference: arXiv 1803.04765, algorithm 1.

    Raises:
        MeasureError: no layer, layers of different shape, more than k neighbors of one input.
    """
    counts_by_layer = [np.asarray(counts) for counts in counts_by_layer]
    shapes = {counts.shape for counts in counts_by_layer}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise MeasureError(
            f"label counts of shapes {sorted(shapes)}; give one (n, C) for at least one layer"
        )
    alpha = np.full(next(iter(shapes)), k * len(counts_by_layer), dtype=np.int64)
    for counts in counts_by_layer:
        if counts.size and int(counts.sum(axis=1).max()) > k:
            raise MeasureError(
                f"{int(counts.sum(axis=1).max())} neighbors of one input but k = {k}; "
                "give the k of the neighbor search"
            )
        alpha -= counts
    return alpha


def true_label_nonconformity(alpha: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """alpha(z, y) for the true labels y, ``(n, C)`` and ``(n,)`` to ``(n,)``: calibration scores.

    Where the label is -1 (unknown) the score is the largest of the row; ``Calibration.fit`` leaves
    such points out.

    Raises:
        MeasureError: a label that is not one of the C classes, naming it and how often it occurs.
    """
    alpha = np.asarray(alpha)
    labels = as_labels(labels, len(alpha))
    require_range(labels, alpha.shape[1], role="calibration")
    own = alpha[np.arange(len(alpha)), np.maximum(labels, 0)]
    return np.where(labels >= 0, own, alpha.max(axis=1))


def predict(
    p_values: np.ndarray, alpha: np.ndarray, model_prediction: np.ndarray | None = None
) -> DkNNPrediction:
    """Prediction, credibility and confidence from p-values and nonconformity alpha, ``(n, C)``.

    Labels that share the largest p-value, an all-zero row included, are told apart by the smaller
    nonconformity, then by the model's own prediction ``(n,)`` where it is among them, then the
    lowest label wins. With a single class the second largest p-value is 0, so the confidence is 1.
    Reference: arXiv 1803.04765, algorithm 1.

    Raises:
        MeasureError: shapes that do not fit, a p-value outside [0, 1].
    """
    p, alpha = np.asarray(p_values, dtype=np.float64), np.asarray(alpha)
    if p.ndim != 2 or p.shape[1] == 0 or p.shape != alpha.shape:
        raise MeasureError(
            f"p-values of shape {p.shape}, nonconformity of shape {alpha.shape}; give (n, C) twice"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise MeasureError("a p-value lies outside [0, 1]; give those of Calibration.p_values")
    largest = p.max(axis=1)
    tied = p == largest[:, None]
    lowest = np.where(tied, alpha, alpha.max(axis=1, keepdims=True)).min(axis=1)
    final = tied & (alpha == lowest[:, None])
    rows = np.arange(len(p))
    chosen = final.argmax(axis=1)
    if model_prediction is not None:
        model = as_labels(model_prediction, len(p), what="model predictions")
        named = np.clip(model, 0, p.shape[1] - 1)
        chosen = np.where((named == model) & final[rows, named], model, chosen)
    second = np.partition(p, -2, axis=1)[:, -2] if p.shape[1] > 1 else np.zeros(len(p))
    return DkNNPrediction(
        prediction=chosen.astype(np.int64),
        credibility=largest,
        confidence=1.0 - second,
        nonconformity=alpha[rows, chosen],
        tied=tied.sum(axis=1),
    )
