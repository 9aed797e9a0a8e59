"""One look at all points, block by block: are they finite, where is their center, which are copies.

Memory stays at a few blocks however many points there are, so the points may be a memory-mapped
file.
"""

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.distances import unit_vectors

BLOCK_BYTES = 1 << 20
# Directions that differ by less than this in every entry are one direction, up to rounding
SAME_DIRECTION = 1e-15


def blocks(count: int, dimension: int) -> list[slice]:
    """Ranges of rows that cover ``count`` points, about 1 MiB of float64 each."""
    step = max(1, BLOCK_BYTES // (8 * max(1, dimension)))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def as_float64(block: np.ndarray) -> Tensor:
    """A fresh float64 tensor of a block of points."""
    return torch.from_numpy(np.array(block, dtype=np.float64, order="C"))


def survey(source: np.ndarray, metric: str) -> tuple[np.ndarray, float, np.ndarray]:
    """Center ``(d,)`` in float64, largest distance of an entry from it, zero vectors ``(n,)``.

    Under ``cosine`` center and spread are those of the unit vectors; under ``euclidean`` no vector
    counts as a zero vector. A spread of 0 means that all points are the same.

    Raises:
        MeasureError: a value that is not finite, naming the row.
    """
    count, dimension = source.shape
    center = torch.zeros(dimension, dtype=torch.float64)
    low, high = torch.full_like(center, np.inf), torch.full_like(center, -np.inf)
    zero = np.zeros(count, dtype=bool)
    for part in blocks(count, dimension):
        rows = as_float64(source[part])
        _require_finite(rows, part.start)
        if metric == "cosine":
            zero[part] = (~rows.any(1)).numpy()
            rows = unit_vectors(rows)
        torch.minimum(low, rows.amin(0), out=low)
        torch.maximum(high, rows.amax(0), out=high)
        # divided before adding: a sum of very large values would overflow; added by numpy, whose
        # order does not depend on the number of threads
        center += torch.from_numpy(rows.div_(count).numpy().sum(0))
    spread = float(torch.maximum(high - center, center - low).amax())
    identical = bool((high == low).all())
    if identical or (metric == "cosine" and float((high - low).amax()) <= SAME_DIRECTION):
        spread = 0.0
    return _representable(center.numpy(), source.dtype), spread, zero


def _representable(center: np.ndarray, dtype: np.dtype) -> np.ndarray:
    # any center will do; one with the digits of the points lets x - center come out exact
    return center.astype(np.float32).astype(np.float64) if dtype.itemsize <= 4 else center


def _require_finite(rows: Tensor, first: int) -> None:
    if bool(torch.isfinite(rows).all()):
        return
    row = int(torch.nonzero(~torch.isfinite(rows).all(1))[0])
    raise MeasureError(
        f"point {first + row} holds a value that is not finite (NaN or infinity); "
        "find the sample or the layer that overflows"
    )


def first_copies(source: np.ndarray) -> np.ndarray:
    """For every point the number of the first point that is exactly equal to it, ``(n,)``."""
    count, dimension = source.shape
    # a random linear map of the bits, modulo 2^64, tells different points apart; equal keys are
    # checked
    factors = np.random.default_rng(0).integers(1, 2**63, dimension, dtype=np.uint64) | 1
    keys = np.concatenate([_words(source[part]) @ factors for part in blocks(count, dimension)])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    original = first[inverse]
    suspects = np.flatnonzero(original != np.arange(count))
    for part in blocks(len(suspects), dimension):
        rows = suspects[part]
        different = rows[(source[rows] != source[original[rows]]).any(1)]
        original[different] = different
    return original


def _words(block: np.ndarray) -> np.ndarray:
    if block.dtype.itemsize > 4 and block.dtype.kind == "f":
        return (np.ascontiguousarray(block, dtype=np.float64) + 0.0).view(np.uint64)
    if block.dtype.kind == "f":
        # + 0.0 makes -0 and 0 the same
        return (
            (np.ascontiguousarray(block, dtype=np.float32) + 0.0).view(np.uint32).astype(np.uint64)
        )
    return np.ascontiguousarray(block).astype(np.int64).view(np.uint64)
