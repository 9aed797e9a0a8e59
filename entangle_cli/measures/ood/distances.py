"""Outlier scores of one layer from the distances to its nearest training points.

*Conventions*: r_1 <= ... <= r_k are the distances of an input to its nearest training points, as
stored; higher scores = more out of distribution.

    knn            r_k among points normalized to length 1: sqrt(2 (1 - cos)), in [0, 2]
    knn_euclidean  r_k among the points as they are
    lid            k / sum_i log(r_k / r_i), i = 1..k: the local intrinsic dimension by maximum
                   likelihood, Euclidean; outliers see the training data from a higher dimension

k is 50 (20 for ``lid``) or what is stored where that is less. Where only some neighbors were found,
the furthest found one takes the place of the k-th; where none was found, the score is infinity.
A zero vector has cosine distance 1 to everything, so sqrt(2).

*lid at its ends*: an r_i of 0 (the input is a copy of a training point) makes it 0, the limit of
r_i to 0, also where all r_i are 0. Equal distances, a single one included, give a sum of 0; a sum
below one rounding error, 2^-53, counts as that, so the largest finite value is ``k 2^53``.

References: arXiv 2204.06507 (Sun et al. 2022), section 3; arXiv 1801.02613 (Ma et al. 2018),
with the estimator of Amsaleg et al. 2015 (doi 10.1145/2783258.2783405).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.layered import layer_neighbors, one_layer, row_blocks, training_data

NEAREST = 50
LID_NEAREST = 20
ONE_ROUNDING = 2.0**-53


@dataclass(frozen=True)
class NearestDistance:
    """Distance to the k-th nearest training point; ``cosine`` means that of unit vectors."""

    layer: str
    metric: Literal["cosine", "euclidean"]
    k: int = NEAREST

    def score(self, inputs: Evidence) -> np.ndarray:
        """The distance, ``(n,)`` float64, >= 0; infinity where no neighbor was found.

        Raises:
            MeasureError: the neighbors were not searched.
        """
        distances, found = _nearest(inputs, self.metric, self.layer, self.k)
        last = _last(distances, found)
        return np.sqrt(2.0 * np.maximum(last, 0.0)) if self.metric == "cosine" else last


@dataclass(frozen=True)
class LocalDimension:
    """Local intrinsic dimension of the training points around an input."""

    layer: str
    k: int = LID_NEAREST

    def score(self, inputs: Evidence) -> np.ndarray:
        """The dimension, ``(n,)`` float64, >= 0; infinity where no neighbor was found.

        Raises:
            MeasureError: the neighbors were not searched, or only one of them.
        """
        distances, found = _nearest(inputs, "euclidean", self.layer, self.k)
        if distances.shape[1] < 2:
            raise MeasureError(f"layer {self.layer}: 1 neighbor is stored, lid needs at least 2")
        dimension = np.empty(len(distances))
        for part in row_blocks(len(distances), distances.shape[1]):
            dimension[part] = _dimension(distances[part], found[part])
        return dimension


def fit_knn(known: Known, layers: tuple[str, ...]) -> NearestDistance:
    """Distance to the k-th nearest normalized training point; nothing is estimated.

    Raises:
        MeasureError: no training data.
    """
    training_data(known)
    return NearestDistance(one_layer(layers), "cosine")


def fit_knn_euclidean(known: Known, layers: tuple[str, ...]) -> NearestDistance:
    """Distance to the k-th nearest training point as it is; nothing is estimated.

    Raises:
        MeasureError: no training data.
    """
    training_data(known)
    return NearestDistance(one_layer(layers), "euclidean")


def fit_lid(known: Known, layers: tuple[str, ...]) -> LocalDimension:
    """Local intrinsic dimension from the nearest training points; nothing is estimated.

    Raises:
        MeasureError: no training data.
    """
    training_data(known)
    return LocalDimension(one_layer(layers))


def _nearest(inputs: Evidence, metric: str, layer: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k stored distances ``(n, k')``, and how many of them were found, ``(n,)``."""
    neighbors = layer_neighbors(inputs, metric, layer)
    distances = np.asarray(neighbors.distances[:, :k], dtype=np.float64)
    return distances, (neighbors.indices[:, :k] >= 0).sum(axis=1)


def _last(distances: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The furthest found distance, ``(n,)``; missing neighbors stand after the found ones."""
    furthest = distances[np.arange(len(distances)), np.maximum(found - 1, 0)]
    return np.where(found > 0, furthest, np.inf)


def _dimension(distances: np.ndarray, found: np.ndarray) -> np.ndarray:
    used = np.arange(distances.shape[1]) < found[:, None]
    # 1 stands in for what has no logarithm: missing neighbors, and a furthest distance of 0
    furthest = _last(distances, found)
    unit = np.where(np.isfinite(furthest) & (furthest > 0), furthest, 1.0)[:, None]
    ratios = np.where(used, distances, unit) / unit
    with np.errstate(divide="ignore"):  # log 0: a copy of a training point, dimension 0
        total = -np.log(ratios).sum(axis=1)
    dimension = found / np.maximum(total, ONE_ROUNDING)
    return np.where(found > 0, dimension, np.inf)
