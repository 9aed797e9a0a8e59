"""Soft nearest neighbor loss of single inputs against training points: a tie-free neighbor count.

Experimental: no publication of this score is known.

*Conventions*: R is a random set of labeled training points, the same number of every class where
there are that many (at most 100 of a class, 5,000 in all and 64 MiB as stored, but never fewer than
2 of a class); a smaller class gives all it has. d_r is the squared Euclidean distance of the input
to r, y the predicted class (the largest class score), T the temperature at which the soft nearest
neighbor loss of R is lowest.

    score = -log( sum over r of class y of exp(-d_r / T) / sum over all r of exp(-d_r / T) )

It is the loss that the input would have with its predicted class; >= 0, higher = more out of
distribution, about log(number of classes) where distances say nothing. Only distances *relative* to
each other count: an input far from everything scores low if its predicted class is the nearest one.

*Boundaries*: where the lowest loss is the limit at temperature 0, as of a layer whose nearest
neighbors always share their class, the score is

    d_s - d_o, the distance to the nearest r of class y less that to the nearest r of another class,

of either sign: it orders inputs as the loss does at small T, by ``T log(p_other / p_same)``. Where
the limit at infinity is lowest, near points share classes no more than far ones, and the layer is
refused. The score is infinity where no training point has the predicted class.

Reference: arXiv 1902.01889, eq. 1 and 2, for the loss of a set.
"""

from dataclasses import dataclass

import numpy as np
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.layered import (
    exact_rows,
    layer_rows,
    one_layer,
    predicted_classes,
    row_blocks,
    training_labels,
)
from entangle_cli.measures.temperature import entanglement
from entangle_cli.neighbors.distances import squared_euclidean

MOST_OF_A_CLASS = 100
FEWEST_OF_A_CLASS = 2
MOST_POINTS = 5000
MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class SoftNeighbors:
    """Loss of an input among reference points.

    Attributes:
        layer: the layer looked at.
        reference: ``(m, d)``, R as stored.
        labels: ``(m,)`` int64, the classes of R.
        center: ``(d,)`` float64, subtracted before distances are taken.
        temperature: T; 0.0 where the limit at temperature 0 is the lowest loss.
    """

    layer: str
    reference: np.ndarray
    labels: np.ndarray
    center: np.ndarray
    temperature: float

    def score(self, inputs: Evidence) -> np.ndarray:
        """Loss in nats, ``(n,)`` float64; at temperature 0 the difference of squared distances.

        Raises:
            MeasureError: no class scores, the layer is not stored, has another width, or holds
                values that are not finite or whose squares leave the range of float64.
        """
        predicted = predicted_classes(inputs)
        points = layer_rows(inputs.points, self.layer, inputs.rows)
        entries = len(self.center)
        if points.shape[1] != entries:
            raise MeasureError(
                f"layer {self.layer}: {points.shape[1]} entries but {entries} in training; "
                "use the same model for both"
            )
        reference = self.reference.astype(np.float64)
        reference -= self.center
        scores = np.empty(len(points))
        for part in row_blocks(len(points), max(entries, len(reference))):
            values = exact_rows(points, part, self.layer) - self.center
            distances = squared_euclidean(torch.from_numpy(values), torch.from_numpy(reference))
            if not bool(torch.isfinite(distances).all()):
                raise MeasureError(
                    f"layer {self.layer}: values so large that their squares leave the range of "
                    "float64; scale the layer or leave it out"
                )
            same = predicted[part, None] == self.labels
            scores[part] = _losses(distances.numpy(), same, self.temperature)
        return scores


def fit_snnl_point(known: Known, layers: tuple[str, ...]) -> SoftNeighbors:
    """Draw the reference points with the seed of ``known`` and find their temperature.

    Raises:
        MeasureError: no training labels, nothing stored of the layer, a single class, classes of
            one point each, a loss that is lowest at infinite temperature.
    """
    layer, labels = one_layer(layers), training_labels(known)
    points = layer_rows(known.training.points, layer, len(labels))
    rows = _draw(labels, points.shape[1] * points.dtype.itemsize, known.seed)
    exact_rows(points, rows, layer)  # refuses what is not finite, by its row
    reference, classes = np.array(points[rows]), labels[rows]
    if classes.min() == classes.max():
        raise MeasureError(
            f"layer {layer}: all training labels are {classes[0]}; give data of two classes or more"
        )
    found = entanglement(reference, classes)
    if found.boundary == "infinity" or found.temperature is None:
        raise MeasureError(
            f"layer {layer}: the loss is lowest at infinite temperature, near training points "
            "share classes no more than far ones; leave the layer out"
        )
    center = reference.mean(axis=0, dtype=np.float64)
    return SoftNeighbors(layer, reference, classes, center, float(found.temperature))


def _draw(labels: np.ndarray, row_bytes: int, seed: int) -> np.ndarray:
    """Rows of the reference points, ascending."""
    present = np.unique(labels[labels >= 0])
    affordable = min(MOST_POINTS, MOST_BYTES // row_bytes) // len(present)
    each = min(MOST_OF_A_CLASS, max(FEWEST_OF_A_CLASS, affordable))
    generator = np.random.default_rng(seed)
    chosen = []
    for label in present:
        rows = np.flatnonzero(labels == label)
        chosen.append(generator.choice(rows, min(each, len(rows)), replace=False))
    return np.sort(np.concatenate(chosen))


def _losses(distances: np.ndarray, same: np.ndarray, temperature: float) -> np.ndarray:
    """softplus(log of the sum over other classes - log of that over the same), ``(n,)``.

    Every class but the predicted one has points, so only ``same`` can be empty.
    """
    own, own_sum = _shifted(distances, same, temperature)
    other, other_sum = _shifted(distances, ~same, temperature)
    if temperature == 0:
        return own - other
    with np.errstate(divide="ignore"):  # log 0 where no point has the class: infinity, documented
        return np.logaddexp(0.0, (own - other) / temperature + np.log(other_sum / own_sum))


def _shifted(
    distances: np.ndarray, mask: np.ndarray, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest distance m in the mask and the sum of exp(-(d - m) / T), ``(n,)`` each."""
    inside = np.where(mask, distances, np.inf)
    nearest = inside.min(axis=1)
    if temperature == 0:
        return nearest, np.ones_like(nearest)
    base = np.where(np.isfinite(nearest), nearest, 0.0)
    with np.errstate(over="ignore"):  # a distance of many temperatures: its weight is 0
        weights = np.exp((base[:, None] - inside) / temperature)
    return nearest, weights.sum(axis=1)
