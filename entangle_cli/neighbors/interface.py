"""What a search answers and what every index promises.

*Conventions*: ``q`` queries, ``n`` indexed points, rows are points. A missing neighbor has index -1
and distance infinity and stands after the found ones. Distances are true distances: the Euclidean
one is rooted, the cosine one is ``1 - similarity``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.scratch import scratch_array

METRICS = ("cosine", "euclidean")
BLOCK_CELLS = 1 << 17


@dataclass(frozen=True)
class Neighbors:
    """The nearest points of every query, nearest first, ties in the order of their index.

    ``indices`` ``(q, k)`` int64 are rows of the indexed points, -1 where missing; ``distances``
    ``(q, k)`` float64, infinity where missing.
    """

    indices: np.ndarray
    distances: np.ndarray

    @classmethod
    def room(cls, queries: int, k: int, scratch: Path | None) -> "Neighbors":
        """Lists to be filled, in an unlinked file in the folder ``scratch`` where one is given."""
        shape = (queries, k)
        return cls(
            scratch_array(shape, np.int64, scratch), scratch_array(shape, np.float64, scratch)
        )

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def k(self) -> int:
        """Neighbors asked for."""
        return self.indices.shape[1]

    @property
    def missing(self) -> int:
        """Neighbors that were not found, over all queries."""
        return sum(int((self.indices[rows] < 0).sum()) for rows in self.blocks())

    def blocks(self) -> Iterator[slice]:
        """Ranges of rows that cover the lists, each of which is small."""
        step = max(1, BLOCK_CELLS // max(1, self.k))
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))


class NeighborIndex(Protocol):
    """Points ``(n, d)`` that can be asked for the nearest of them, as often as wanted."""

    count: int
    dimension: int
    metric: str

    def query(self, points: np.ndarray, *, k: int, exclude: np.ndarray | None = None) -> Neighbors:
        """The k nearest indexed points of each of ``(q, d)`` points.

        ``exclude`` ``(q,)`` names for every query the indexed row that it may not find (itself), or
        -1.

        Raises:
            MeasureError: fewer than k points to find, shapes that do not fit, a non-finite value.
        """


def check_metric(metric: str) -> None:
    """Raise ``MeasureError`` for a metric that no index knows."""
    if metric not in METRICS:
        raise MeasureError(f"metric {metric!r} is unknown; use 'cosine' or 'euclidean'")


def check_query(
    index: NeighborIndex, points: np.ndarray, k: int, exclude: np.ndarray | None
) -> np.ndarray:
    """The rows to leave out, ``(q,)`` int64, after checking that the question can be answered.

    Raises:
        MeasureError: fewer than k points to find, points or exclusions that do not fit the index.
    """
    if points.shape[1] != index.dimension:
        raise MeasureError(
            f"queries have {points.shape[1]} entries, the indexed points {index.dimension}; "
            "both must come from the same layer"
        )
    own = np.full(len(points), -1) if exclude is None else np.asarray(exclude)
    if own.shape != (len(points),) or own.dtype.kind not in "iu":
        raise MeasureError(
            f"exclusions of shape {own.shape} and type {own.dtype} for {len(points)} queries; "
            "give one row number per query, -1 for none"
        )
    own = own.astype(np.int64)
    if len(own) and not -1 <= int(own.min()) <= int(own.max()) < index.count:
        raise MeasureError(
            f"exclusions reach from {own.min()} to {own.max()}, the index has rows 0 to "
            f"{index.count - 1}"
        )
    available = index.count - bool((own >= 0).any())
    if not 1 <= k <= available:
        left = " besides the query itself" if available < index.count else ""
        raise MeasureError(
            f"{k} neighbors asked for, {available} points to find{left}; "
            f"choose k from 1 to {available} or give more points"
        )
    return own
