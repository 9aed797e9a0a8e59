"""Approximate nearest neighbors with PyNNDescent, under the promises of every index.

The graph proposes neighbors; everything else is as in the exact search: distances are measured
again in float64, the order is (distance, index), a query leaves itself out by index. What the graph
did not find is marked as missing and counted.

Zero vectors never enter the graph under cosine: PyNNDescent answers them with one point many times
over. Their distances are known to be 1, so they compete as such.

Reference: Dong, Moses and Li, *Efficient k-nearest neighbor graph construction for generic
similarity measures*, WWW 2011; the library is pynndescent.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.compiling import compile_ahead
from entangle_cli.neighbors.coordinates import as_points
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import Neighbors, check_metric, check_query
from entangle_cli.neighbors.pointset import (
    PointSet,
    open_points,
    open_queries,
    pair_distances,
    zero_vector_notes,
)
from entangle_cli.neighbors.projection import Projection
from entangle_cli.neighbors.ranking import fill, nearest_pairs
from entangle_cli.neighbors.recall import SAMPLE_QUERIES, sampled_recall
from entangle_cli.progress import Progress, silent

# Together they find 0.9996 (64 entries) and 0.9993 (784) of 75 neighbors among 60,000 MNIST points
GRAPH_NEIGHBORS = 30
EPSILON = 0.2
FEWEST_POINTS = 2 * GRAPH_NEIGHBORS
BATCH_ROWS = 4096
MORE_PROPOSALS = 2
# from here on the points and the compiler's memory together are worth a child process
COMPILE_AHEAD_SIZE = 20_000_000
COMPILES = "pynndescent compiles its code on first use in a process, which takes about a minute"


class ApproximateIndex:
    """Points ``(n, d)`` in a graph that finds most of the nearest.

    The graph holds float32 copies of the points, or of 256 principal coordinates of wide ones.
    Answers lie in an unlinked file in the folder ``scratch`` where one is given.

    The same points, seed and queries, asked together, get the same answer.

    Raises:
        MeasureError: an unknown metric, too few points for a graph, a value that is not finite
        (naming
            the row), no pynndescent.
    """

    def __init__(
        self,
        points: np.ndarray | Tensor,
        *,
        metric: str = "cosine",
        seed: int = 0,
        progress: Progress = silent,
        notes: list[str] | None = None,
        scratch: Path | None = None,
    ) -> None:
        check_metric(metric)
        self.metric = metric
        self._scratch = scratch
        self._seed = seed
        self._notes = [] if notes is None else notes
        self._progress = progress
        self._points = open_points(as_points(points), metric, torch.device("cpu"))
        self.count, self.dimension = self._points.source.shape
        self._notes += zero_vector_notes(self._points, "indexed points")
        self._zero = np.flatnonzero(self._points.zero.numpy())
        self._rows = np.flatnonzero(~self._points.zero.numpy())
        self._exact: ExactIndex | None = None
        self._measured: set[int] = set()
        if len(self._rows) < FEWEST_POINTS:
            raise MeasureError(
                f"{len(self._rows)} points that are not zero vectors; approximate search needs at "
                f"least {FEWEST_POINTS}, use the exact one"
            )
        self._project = Projection(self._points, self._rows, seed=seed)
        if self._project.width is not None:
            self._notes.append(
                f"approximate neighbors: the graph sees {self._project.width} principal "
                f"coordinates of {self.dimension} ({100 * self._project.share:.0f} % of the "
                "variance); distances are those of the points"
            )
        self._graph = self._build()

    def query(
        self, points: np.ndarray | Tensor, *, k: int, exclude: np.ndarray | None = None
    ) -> Neighbors:
        """About the k nearest indexed points of each of ``(q, d)`` points; see ``NeighborIndex``.

        Distances are those of the exact search, for the neighbors that were found. The first query
        for a number k is also a measurement: its recall on 200 queries goes to the notes.

        Raises:
            MeasureError: fewer than k points to find, shapes that do not fit, a non-finite value.
        """
        points = as_points(points, "queries")
        own = check_query(self, points, k, exclude)
        queries = open_queries(points, self._points.coordinates)
        self._notes += zero_vector_notes(queries, "queries")
        found = Neighbors.room(len(points), k, self._scratch)
        self._progress.start("neighbors", len(points))
        for start in range(0, len(points), BATCH_ROWS):
            part = slice(start, min(start + BATCH_ROWS, len(points)))
            batch = PointSet(points[part], queries.coordinates, queries.factors[part])
            fill(found, part, *self._nearest(batch, own[part], k))
            self._progress.advance(len(batch.source))
        self._progress.finish()
        if not len(points):
            return found
        self._report(found, points, own)
        return found

    def _build(self) -> Any:
        self._progress.start("building the neighbor graph (compiling takes about a minute)", 1)
        if self._points.source.size >= COMPILE_AHEAD_SIZE:
            compile_ahead(GRAPH_NEIGHBORS)
        try:
            import pynndescent
        except ImportError as error:
            raise MeasureError(
                f"approximate search needs pynndescent, which cannot be imported ({error.name}); "
                "install it or use the exact search"
            ) from None
        self._notes.append(f"approximate neighbors: {COMPILES}")
        with self._warnings_as_notes():
            graph = pynndescent.NNDescent(
                self._project(self._points, self._rows),
                metric="euclidean",
                n_neighbors=GRAPH_NEIGHBORS,
                random_state=self._seed,
            )
            graph.prepare()
        self._progress.advance()
        self._progress.finish()
        return graph

    def _nearest(
        self, queries: PointSet, own: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flat (query, point, distance) of the nearest points found, at most k a query."""
        rows, columns = self._proposals(queries, own, k)
        # repeated pairs become one; sorted by query
        pairs = np.unique(rows * self.count + columns)
        rows, columns = np.divmod(pairs, self.count)
        others = columns != own[rows]
        rows, columns = rows[others], columns[others]
        return nearest_pairs(rows, columns, pair_distances(queries, self._points, rows, columns), k)

    def _proposals(
        self, queries: PointSet, own: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Flat (query, point): what the graph finds, and points whose distance is known to be 1."""
        more = k + bool((own >= 0).any())
        zero = queries.zero.numpy()
        asked = np.flatnonzero(~zero)
        # everything is equally far from a zero vector: the first points are its neighbors
        pairs = [
            _every(np.flatnonzero(zero), np.arange(min(more, self.count))),
            _every(asked, self._zero[:more]),
        ]
        if len(asked):
            with self._warnings_as_notes():
                found, distances = self._graph.query(
                    self._project(queries, asked), k=self._asked(more), epsilon=EPSILON
                )
            rows, place = np.nonzero((found >= 0) & np.isfinite(distances))
            pairs.append((asked[rows], self._rows[found[rows, place]]))
        rows, columns = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return rows, columns

    def _asked(self, k: int) -> int:
        """Proposals for k neighbors: more where the graph sees only part of each point."""
        factor = 1 if self._project.width is None else MORE_PROPOSALS
        return min(factor * k, len(self._rows))

    def _report(self, found: Neighbors, points: np.ndarray, own: np.ndarray) -> None:
        if found.missing:
            short = int((found.indices < 0).any(1).sum())
            self._notes.append(
                f"approximate neighbors: {found.missing} of {found.indices.size} were not found "
                f"({short} of {len(found)} queries); they are marked as missing"
            )
        if found.k in self._measured:
            return
        self._measured.add(found.k)
        if self._exact is None:
            self._exact = ExactIndex(self._points.source, metric=self.metric, codes=False)
        share = sampled_recall(found, self._exact, points, exclude=own, seed=self._seed)
        self._notes.append(
            f"approximate neighbors: recall {share:.4f} of the exact {found.k} nearest, "
            f"measured on {min(SAMPLE_QUERIES, len(points))} queries"
        )

    def _warnings_as_notes(self) -> "_WarningsAsNotes":
        return _WarningsAsNotes(self._notes)


class _WarningsAsNotes(warnings.catch_warnings):
    """What a library would say as a warning becomes a note, once each."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(record=True)
        self._list = notes

    def __enter__(self) -> None:
        self._caught = super().__enter__()
        warnings.simplefilter("always")

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        for text in dict.fromkeys(str(warning.message) for warning in self._caught):
            first = text.strip().splitlines()[0]
            if f"pynndescent: {first}" not in self._list:
                self._list.append(f"pynndescent: {first}")


def _every(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(rows, len(columns)), np.tile(columns, len(rows))
