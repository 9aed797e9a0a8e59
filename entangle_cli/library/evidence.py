"""From stored activations to the evidence that detectors look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.reducing import reduce_map
from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.class_scores import (
    are_log_probabilities,
    are_probabilities,
    logarithms,
)
from entangle_cli.measures.ood.evidence import Evidence, Head, blocks
from entangle_cli.measures.ood.least_squares import recover_head
from entangle_cli.neighbors.interface import Neighbors

if TYPE_CHECKING:
    from entangle_cli.models.head import LinearHead

# by metric and layer
NeighborsOf = Mapping[str, Mapping[str, Neighbors]]


@dataclass(frozen=True)
class Penultimate:
    """Where the last linear layer's input is stored, and the layer itself.

    ``ends_in``: ``logits``, ``probabilities`` or ``log_probabilities``, what the class output is.
    """

    layer: str | None
    head: Head | None
    ends_in: str
    note: str = ""

    def features(self, stored: ActivationFile) -> np.ndarray | None:
        """The stored features ``(n, D)``."""
        return None if self.head is None else stored.points(self.layer)

    def class_scores(self, stored: ActivationFile) -> tuple[np.ndarray | None, bool]:
        """Logits ``(n, C)`` where they can be had; else log-probabilities, and True."""
        if stored.logits is None:
            return None, False
        if self.ends_in == "logits":
            return stored.logits, False
        if self.head is not None:
            features = stored.points(self.layer)
            logits = np.empty((stored.rows, len(self.head.bias)))
            for part in blocks(features):
                logits[part] = self.head.logits(features[part])
            return logits, False
        if self.ends_in == "log_probabilities":
            return stored.logits, True
        return logarithms(stored.logits), True


def from_file(found: "LinearHead | None", reason: str, stored: ActivationFile) -> Penultimate:
    """The last linear layer as the model file has it; ``reason`` says why it has none."""
    if found is None:
        return Penultimate(None, None, _ending(stored), f"no last linear layer: {reason}")
    stored_width, width = stored.layer(found.features).dim, found.weight.shape[1]
    if stored_width != width:
        note = (
            f"no last linear layer: {found.features} is stored with {stored_width} of its {width} "
            "numbers; use --reduce flatten"
        )
        return Penultimate(None, None, found.ends_in, note)
    return Penultimate(found.features, Head(found.weight, found.bias), found.ends_in)


def by_least_squares(layer: str, stored: ActivationFile) -> Penultimate:
    """The last linear layer from stored features and class scores.

    Raises:
        MeasureError: the class scores are no affine function of that layer, or too few inputs.
    """
    ending = _ending(stored)
    if stored.logits is None or ending != "logits":
        raise MeasureError(
            f"--features {layer}: the network gives no logits, so its last linear layer cannot be "
            "recovered from stored activations"
        )
    try:
        head, unseen = recover_head(stored.points(layer), stored.logits)
    except MeasureError as error:
        raise MeasureError(f"--features {layer}: {error}") from error
    note = f"last linear layer recovered by least squares from {layer} ({stored.rows} inputs)"
    if unseen:
        note += f"; {unseen} directions never vary there, its weight is taken as 0 in them"
    return Penultimate(layer, head, ending, note)


def _ending(stored: ActivationFile) -> str:
    if stored.logits is None:
        return "logits"
    outputs = np.asarray(stored.logits)
    if are_probabilities(outputs):
        return "probabilities"
    return "log_probabilities" if are_log_probabilities(outputs) else "logits"


def evidence(
    stored: ActivationFile,
    penultimate: Penultimate,
    layers: Sequence[str],
    *,
    labels: np.ndarray | None,
    neighbors: NeighborsOf,
    averaged: bool,
) -> Evidence:
    """What is stored of one data set; ``averaged``: feature maps averaged over space as well."""
    logits, probabilities = penultimate.class_scores(stored)
    points = {layer: stored.points(layer) for layer in layers}
    return Evidence(
        rows=stored.rows,
        logits=logits,
        probabilities=probabilities,
        features=penultimate.features(stored),
        points=points,
        channels={layer: _channels(stored, layer) for layer in layers} if averaged else {},
        neighbors=neighbors,
        labels=labels,
    )


def _channels(stored: ActivationFile, layer: str) -> np.ndarray:
    """A layer's maps averaged over positions ``(n, c)``; its points where it has no map."""
    maps = stored.map(layer)
    if maps.ndim < 3:
        return stored.points(layer)
    parts = [reduce_map(maps[part], "mean") for part in blocks(maps)]
    return np.concatenate(parts) if parts else stored.points(layer)
