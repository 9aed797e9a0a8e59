"""Points that are exact copies of each other: a dead layer makes thousands of them.

All copies are equally far from everything and ties go to the smaller index, so that of k neighbors
at most the first k copies of one point can be among them (k + 1 where one of them may be left out).
"""

import numpy as np

from entangle_cli.neighbors.coordinates import blocks


def copy_ranks(points: np.ndarray) -> np.ndarray:
    """How many exact copies of each point ``(n, d)`` come before it, ``(n,)`` int64."""
    count, dimension = points.shape
    # a random linear map of the bits, modulo 2^64, tells different points apart; equal keys are
    # checked
    multipliers = np.random.default_rng(0).integers(1, 2**63, dimension, dtype=np.uint64) | 1
    keys = np.empty(count, dtype=np.uint64)
    for part in blocks(count, dimension):
        keys[part] = _words(points[part]) @ multipliers
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    original = first[inverse]
    suspects = np.flatnonzero(original != np.arange(count))
    for part in blocks(len(suspects), dimension):
        rows = suspects[part]
        different = (points[rows] != points[original[rows]]).any(1)
        original[rows[different]] = rows[different]
    order = np.argsort(original, kind="stable")
    _, starts, sizes = np.unique(original[order], return_index=True, return_counts=True)
    ranks = np.empty(count, dtype=np.int64)
    ranks[order] = np.arange(count) - np.repeat(starts, sizes)
    return ranks


def _words(block: np.ndarray) -> np.ndarray:
    if block.dtype.kind != "f":
        return np.ascontiguousarray(block).astype(np.int64).view(np.uint64)
    # + 0.0 makes -0 and 0 the same
    if block.dtype.itemsize > 4:
        return (np.ascontiguousarray(block, dtype=np.float64) + 0.0).view(np.uint64)
    return (np.ascontiguousarray(block, dtype=np.float32) + 0.0).view(np.uint32).astype(np.uint64)
