"""Which output of a network holds class scores, and how often they are right."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from entangle_cli.activations.file import ActivationFile

# rows looked at together, so that memory does not grow with the data set
_ROWS = 8192


def class_outputs(outputs: Sequence[object]) -> np.ndarray | None:
    """The class scores ``(n, C)`` float32 among a network's outputs, None if there are none.

    The first output of floats that is ``(n, C)`` with ``C >= 2`` once trailing axes of length 1
    are dropped; logits, log-probabilities and probabilities alike.
    """
    for output in outputs:
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            continue
        shape = output.shape
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
        if len(shape) == 2 and shape[1] >= 2:
            with np.errstate(over="ignore"):
                return output.reshape(shape).astype(np.float32, copy=False)
    return None


def accuracy(file: "ActivationFile") -> tuple[float | None, str]:
    """The fraction of labeled rows whose largest score is their label's, in [0, 1].

    Returns:
        The accuracy and an empty reason, or None and why there is none.
    """
    logits, labels = file.logits, file.labels
    if logits is None:
        return None, "the model has no class-like output"
    if labels is None or not (labels >= 0).any():
        return None, "the data has no labels"
    highest, classes = int(labels.max()), logits.shape[1]
    if highest >= classes:
        return None, f"labels go up to {highest}, the model has classes 0 to {classes - 1}"
    right = 0
    for start in range(0, len(labels), _ROWS):
        scores = np.asarray(logits[start : start + _ROWS])
        if not np.isfinite(scores).all():
            return None, "some class scores are NaN or infinite"
        # unlabeled rows hold -1, which no prediction equals
        right += int((scores.argmax(axis=1) == labels[start : start + _ROWS]).sum())
    return right / int((labels >= 0).sum()), ""
