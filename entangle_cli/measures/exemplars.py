"""The training points behind a prediction: the nearest ones at each layer, and their labels.

*Conventions*: neighbors come nearest first; ties were broken by the search, by (distance, index).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.dknn import neighbor_labels

if TYPE_CHECKING:
    from entangle_cli.neighbors.interface import Neighbors


@dataclass(frozen=True)
class LayerExemplars:
    """The nearest training points of one input at one layer.

    ``indices`` (rows of the training set), ``distances`` and ``labels`` (-1 unknown) are ``(m,)``,
    nearest first. ``label_counts`` is over **all** neighbors found, the most frequent label first,
    equals by label, -1 for those without one; ``missing`` counts the neighbors that were not found.
    """

    layer: str
    indices: np.ndarray
    distances: np.ndarray
    labels: np.ndarray
    label_counts: tuple[tuple[int, int], ...]
    missing: int


def exemplars(
    neighbors: Mapping[str, "Neighbors"],
    train_labels: np.ndarray,
    row: int,
    *,
    count: int = 10,
    label: int | None = None,
) -> tuple[LayerExemplars, ...]:
    """The ``count`` nearest training points of the input in ``row``, at each layer.

    Fewer where fewer were found. With ``label`` only those of that label are shown (the support of
    a prediction); the counts stay those of all neighbors.

    Raises:
        MeasureError: a row or count that does not exist, neighbors that are not training points.
    """
    if count < 1:
        raise MeasureError(f"{count} exemplars; ask for at least 1")
    return tuple(
        _at_layer(layer, found, train_labels, row, (count, label))
        for layer, found in neighbors.items()
    )


def _at_layer(
    layer: str,
    found: "Neighbors",
    train_labels: np.ndarray,
    row: int,
    wanted: tuple[int, int | None],
) -> LayerExemplars:
    if not 0 <= row < len(found.indices):
        raise MeasureError(
            f"input {row} of {len(found.indices)}; give a number from 0 to {len(found.indices) - 1}"
        )
    there = found.indices[row] >= 0
    indices, distances = found.indices[row][there], found.distances[row][there]
    labels = neighbor_labels(indices, train_labels)
    values, counts = np.unique(labels, return_counts=True)
    by_count = sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda p: -p[1])
    count, label = wanted
    shown = np.arange(len(labels)) if label is None else np.flatnonzero(labels == label)
    shown = shown[:count]
    return LayerExemplars(
        layer=layer,
        indices=indices[shown],
        distances=distances[shown],
        labels=labels[shown],
        label_counts=tuple(by_count),
        missing=int((~there).sum()),
    )
