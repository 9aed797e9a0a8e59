"""From measured pairs to neighbor lists: nearest first, ties in the order of their index."""

import numpy as np

from entangle_cli.neighbors.interface import Neighbors


def first_of_each(rows: np.ndarray, k: int) -> np.ndarray:
    """Positions of the first k entries of every run of equal values in sorted ``rows``."""
    place = np.arange(len(rows))
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    place -= np.repeat(starts, np.diff(starts, append=len(rows)))
    return np.flatnonzero(place < k)


def nearest_pairs(
    rows: np.ndarray, columns: np.ndarray, distances: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k nearest pairs of every row, sorted by (row, distance, column); three flat arrays."""
    order = np.lexsort((columns, distances, rows))
    order = order[first_of_each(rows[order], k)]
    return rows[order], columns[order], distances[order]


def as_neighbors(
    rows: np.ndarray, columns: np.ndarray, distances: np.ndarray, shape: tuple[int, int]
) -> Neighbors:
    """Neighbor lists ``(q, k)`` from what ``nearest_pairs`` gives; the rest is missing."""
    found = Neighbors(np.full(shape, -1, dtype=np.int64), np.full(shape, np.inf))
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    found.indices[rows, place], found.distances[rows, place] = columns, distances
    return found
