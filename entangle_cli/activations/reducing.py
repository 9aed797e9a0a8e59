"""How a layer's map becomes a point."""

from typing import Literal

import numpy as np

from entangle_cli.errors import UsageError

Reduce = Literal["flatten", "mean", "max", "none"]
REDUCTIONS = ("flatten", "mean", "max", "none")


def reduce_map(array: np.ndarray, how: Reduce) -> np.ndarray:
    """One row per sample from a layer's output.

    Args:
        array: ``(n, ...)``.
        how: ``flatten`` keeps every number, ``(n, d)``. ``mean`` and ``max`` go over positions:
            the axes behind the channels of images and volumes, ``(n, c, h, w) -> (n, c)``, and
            the tokens of sequences, ``(n, t, d) -> (n, d)``; what has no positions, ``(n, d)``
            or ``(n,)``, is flattened. ``none`` keeps the axes; a number per sample becomes
            ``(n, 1)``. Means are accumulated in float64.

    Raises:
        UsageError: ``how`` is none of these.
    """
    if how not in REDUCTIONS:
        raise UsageError(f"--reduce {how}: unknown; give one of {', '.join(REDUCTIONS)}")
    if array.ndim == 1:
        return array[:, None]
    if how == "none":
        return array
    if how == "flatten" or array.ndim == 2:
        return array.reshape(len(array), -1)
    # channels first is the order of images in torch and ONNX, tokens first that of sequences
    positions = (1,) if array.ndim == 3 else tuple(range(2, array.ndim))
    if how == "max":
        return array.max(axis=positions)
    mean = array.mean(axis=positions, dtype=np.float64)
    return mean.astype(array.dtype) if array.dtype.kind == "f" else mean
