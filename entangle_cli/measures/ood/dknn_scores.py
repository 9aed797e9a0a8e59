"""Outlier scores from the labels of the nearest training points, in one layer or in all.

*Conventions*: neighbors are those of the cosine distance, all k that are stored; higher = more out
of distribution. The predicted class is that of the network (the largest class score), not that of
the neighbors. A neighbor that is missing or has no label supports no class.

    dknn_count        minus the number of neighbors whose label is the predicted class, summed over
                      layers: a whole number from -k * layers to 0
    dknn_credibility  1 - credibility, the largest p-value of any class, in [0, 1]; p-values of the
                      kind ``paper`` from calibration points, see ``conformal``

The credibility of a marginal calibration is a step function of a count, so inputs share its values
even more often than those of the count: rank by the count, report the credibility.

Reference: arXiv 1803.04765, algorithm 1.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.conformal import Calibration
from entangle_cli.measures.dknn import label_counts, neighbor_labels, nonconformity
from entangle_cli.measures.labels import require_known
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.layered import (
    calibration_data,
    calibration_labels,
    layer_neighbors,
    predicted_classes,
    row_blocks,
    some_layers,
    training_labels,
)


@dataclass(frozen=True)
class NeighborCount:
    """Neighbors of the predicted class; ``train_labels`` ``(n_train,)`` int64, -1 = unknown."""

    layers: tuple[str, ...]
    train_labels: np.ndarray

    def score(self, inputs: Evidence) -> np.ndarray:
        """Minus the number over all layers, ``(n,)`` float64, -k * layers to 0.

        Raises:
            MeasureError: no class scores, neighbors that were not searched or do not fit.
        """
        predicted = predicted_classes(inputs)
        counts = [_support(inputs, layer, self.train_labels, predicted) for layer in self.layers]
        # taken from 0: a count of 0 is 0.0, not -0.0
        return (0 - np.sum(counts, axis=0, dtype=np.int64)).astype(np.float64)


@dataclass(frozen=True)
class Incredibility:
    """1 - credibility of the deep k-nearest neighbors.

    Attributes:
        layers: the layers whose counts are summed.
        train_labels: ``(n_train,)`` int64, -1 = unknown.
        calibration_scores: ``(m,)`` ascending, the nonconformity of calibration points with their
            own labels.
        k: neighbors per layer.
        classes: candidate classes, those of the training labels.
    """

    layers: tuple[str, ...]
    train_labels: np.ndarray
    calibration_scores: np.ndarray
    k: int
    classes: int

    def score(self, inputs: Evidence) -> np.ndarray:
        """1 - credibility, ``(n,)`` float64 in [0, 1].

        Raises:
            MeasureError: neighbors that were not searched, do not fit, or of another k than those
                of the calibration.
        """
        voted = [layer_neighbors(inputs, "cosine", layer).indices for layer in self.layers]
        _require_same_k(voted, self.layers, self.k)
        scores = self.calibration_scores
        fitted = Calibration((scores,), False, "keep", len(scores), (0,), ())
        credibility = np.empty(inputs.rows)
        for part in row_blocks(inputs.rows, 4 * self.classes):
            counts = [
                label_counts(neighbor_labels(indices[part], self.train_labels), self.classes)
                for indices in voted
            ]
            credibility[part] = fitted.p_values(nonconformity(counts, self.k)).max(axis=1)
        return 1.0 - credibility


def fit_dknn_count(known: Known, layers: tuple[str, ...]) -> NeighborCount:
    """Count over one or several layers; nothing is estimated.

    Raises:
        MeasureError: no training labels, no layer.
    """
    return NeighborCount(some_layers(layers), training_labels(known))


def fit_dknn_credibility(known: Known, layers: tuple[str, ...]) -> Incredibility:
    """Credibility over one or several layers, from calibration points with labels.

    Raises:
        MeasureError: no labels of the training or the calibration data, neighbors of the
            calibration data that were not searched, layers of different k, a calibration label
            that no training point has.
    """
    layers, train_labels = some_layers(layers), training_labels(known)
    calibration, labels = calibration_data(known), calibration_labels(known)
    require_known(labels, train_labels, role="calibration")
    voted = [layer_neighbors(calibration, "cosine", layer).indices for layer in layers]
    k, classes = voted[0].shape[1], int(train_labels.max()) + 1
    _require_same_k(voted, layers, k)
    # alpha(z, y) = sum over layers of k - #{neighbors with label y}, at the true labels alone
    alpha = np.full(calibration.rows, k * len(layers), dtype=np.int64)
    for layer in layers:
        alpha -= _support(calibration, layer, train_labels, labels)
    fitted = Calibration.fit(alpha, labels, classes=classes)
    return Incredibility(layers, train_labels, fitted.groups[0], k, classes)


def _support(
    inputs: Evidence, layer: str, train_labels: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """How many neighbors of every input have the class given for it, ``(n,)``."""
    indices = layer_neighbors(inputs, "cosine", layer).indices
    support = np.empty(len(indices), dtype=np.int64)
    for part in row_blocks(*indices.shape):
        same = neighbor_labels(indices[part], train_labels) == classes[part, None]
        support[part] = same.sum(axis=1)
    return support


def _require_same_k(voted: list[np.ndarray], layers: tuple[str, ...], k: int) -> None:
    for indices, layer in zip(voted, layers, strict=True):
        if indices.shape[1] != k:
            raise MeasureError(
                f"layer {layer}: {indices.shape[1]} neighbors, elsewhere {k}; search the same "
                "number in every layer and every set"
            )
