"""Points and labels as somebody gives them, checked and as arrays."""

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError


def as_source(points: np.ndarray | Tensor) -> np.ndarray:
    """Points as an array ``(n, d)`` of real numbers, d >= 1; a memory-mapped array stays one.

    Raises:
        MeasureError: another shape or another kind of value.
    """
    if isinstance(points, Tensor):
        points = points.detach().cpu()
        points = (points.float() if points.dtype == torch.bfloat16 else points).numpy()
    points = points if isinstance(points, np.ndarray) else np.asarray(points)
    if points.ndim != 2 or points.dtype.kind not in "fiub":
        raise MeasureError(
            f"points of shape {points.shape} and type {points.dtype}; "
            "give real numbers as rows (n, d)"
        )
    if points.shape[1] == 0:
        raise MeasureError(
            f"points of shape {points.shape} have no entries; give (n, d) with d >= 1"
        )
    return points


def as_labels(labels: np.ndarray | Tensor) -> np.ndarray:
    """Labels as an array ``(n,)``: numbers, strings or booleans.

    Raises:
        MeasureError: another shape, or a label that is not finite.
    """
    labels = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if labels.ndim != 1:
        raise MeasureError(f"labels of shape {labels.shape}; give one label per point, (n,)")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise MeasureError("labels hold a value that is not finite; give one class per point")
    return labels
