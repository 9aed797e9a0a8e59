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
    if len(rows) and _ascending(rows, columns):
        order = _order(rows, distances)
    else:
        order = np.lexsort((columns, distances, rows))
    order = order[first_of_each(rows[order], k)]
    return rows[order], columns[order], distances[order]


def _ascending(rows: np.ndarray, columns: np.ndarray) -> bool:
    """Whether pairs are sorted by (row, column)."""
    row, column = np.diff(rows), np.diff(columns)
    return bool(((row > 0) | ((row == 0) & (column >= 0))).all())


def _order(rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Order by (row, distance, place) of pairs sorted by row: each row's by itself, in a table."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    within = np.arange(sizes.max()) < sizes[:, None]
    if within.size > 4 * len(rows) or not np.isfinite(distances).all():
        return np.lexsort((distances, rows))
    table = np.full(within.shape, np.inf)
    table[within] = distances
    order = np.argsort(table, axis=1)
    ordered = np.take_along_axis(table, order, axis=1)
    ties = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] < np.inf)).any(1)
    if ties.any():
        order[ties] = np.argsort(table[ties], axis=1, kind="stable")
    return (starts[:, None] + order)[within]


def fill(
    lists: Neighbors, part: slice, rows: np.ndarray, columns: np.ndarray, distances: np.ndarray
) -> None:
    """Write what ``nearest_pairs`` gives for the queries ``part`` into their lists.

    ``rows`` count from the part's first query; what is left of a list is missing.
    """
    indices, lengths = lists.indices[part], lists.distances[part]
    indices[:], lengths[:] = -1, np.inf
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    indices[rows, place], lengths[rows, place] = columns, distances
