"""A calibration of the deep k-nearest neighbors over all layers, and one of every layer alone.

*Conventions*: a set is ``{layer: label counts (n, C)}``, arrays or what counts when it is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from entangle_cli.measures.conformal import Calibration, Zeros
from entangle_cli.measures.dknn import LabelCounts, nonconformity, true_label_nonconformity

Counts = Mapping[str, np.ndarray | LabelCounts]


@dataclass(frozen=True)
class LayeredCalibration:
    """One calibration over all layers together (``joint``) and one for every layer alone."""

    joint: Calibration
    layers: dict[str, Calibration]
    k: int
    classes: int
    notes: tuple[str, ...]


def calibrate(
    counts: Counts,
    labels: np.ndarray,
    *,
    k: int,
    zeros: Zeros = "keep",
    per_class: bool = False,
) -> LayeredCalibration:
    """Calibrate on held-out points: label counts per layer ``(n, C)`` and true labels ``(n,)``.

    Raises:
        MeasureError: no layers, no points, no labels, a label that is not one of the C classes.
    """

    def fit(alpha: np.ndarray) -> Calibration:
        scores = true_label_nonconformity(alpha, labels)
        classes = alpha.shape[1]
        return Calibration.fit(scores, labels, zeros=zeros, per_class=per_class, classes=classes)

    joint_alpha = nonconformity(list(counts.values()), k)
    joint = fit(joint_alpha)
    layers = {layer: fit(nonconformity([rows], k)) for layer, rows in counts.items()}
    notes = list(joint.notes)
    for layer, calibration in layers.items():
        notes += [f"layer {layer}: {note}" for note in calibration.notes if note not in joint.notes]
    return LayeredCalibration(joint, layers, k, joint_alpha.shape[1], tuple(notes))
