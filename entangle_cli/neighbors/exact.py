"""Exact nearest neighbors of points that are read where they lie; see ``search`` for how.

*Conventions*: ``q`` queries, ``n`` indexed points, rows are points.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.certified import FEWEST_QUERIES, choose_codes
from entangle_cli.neighbors.coarse import CoarseSearch, CodedPoints
from entangle_cli.neighbors.coordinates import as_points
from entangle_cli.neighbors.copies import copy_ranks
from entangle_cli.neighbors.interface import Neighbors, check_metric, check_query
from entangle_cli.neighbors.pointset import (
    PointSet,
    open_points,
    open_queries,
    zero_vector_notes,
)
from entangle_cli.neighbors.search import Search
from entangle_cli.neighbors.sieve import capacity
from entangle_cli.neighbors.tiles import Candidates
from entangle_cli.progress import Progress, silent
from entangle_cli.scratch import give_back

# Queries that are searched together, and the memory that they take; a GPU wants more at a time
BATCH_ROWS = {"cpu": 1024, "cuda": 4096}
BATCH_BYTES = {"cpu": 1 << 24, "cuda": 1 << 26}
FEWEST_DIFFERENT = 1024
# After so many batches freed memory goes back
TIDIED = 8


class ExactIndex:
    """Points ``(n, d)`` of which the exactly nearest can be asked; reads them where they lie.

    ``codes`` allows a faster search that keeps a byte for every coordinate. These and the answers
    lie in unlinked files in the folder ``scratch`` where one is given.

    Raises:
        MeasureError: an unknown metric, no points, a value that is not finite (naming the row).
    """

    def __init__(  # noqa: PLR0913 - the options of one search
        self,
        points: np.ndarray | Tensor,
        *,
        metric: str = "cosine",
        device: str | torch.device = "cpu",
        progress: Progress = silent,
        notes: list[str] | None = None,
        codes: bool = True,
        scratch: Path | None = None,
    ) -> None:
        check_metric(metric)
        self.metric = metric
        self._scratch = scratch
        self._notes = [] if notes is None else notes
        self._progress = progress
        self._points = open_points(as_points(points), metric, torch.device(device))
        self.count, self.dimension = self._points.source.shape
        # a zero vector lies at the origin, half from every unit vector, and is to be at distance 1
        self._bias = -self._points.half_norms() - 0.5 * self._points.zero
        self._ranks = copy_ranks(self._points.source)
        self._coded: CodedPoints | None = None
        self._decided = not codes
        self._notes += zero_vector_notes(self._points, "indexed points")

    def query(
        self, points: np.ndarray | Tensor, *, k: int, exclude: np.ndarray | None = None
    ) -> Neighbors:
        """The k nearest indexed points of each of ``(q, d)`` points; see ``NeighborIndex``.

        Distances are Euclidean (rooted) or ``1 - cos``, computed by differences in float64; their
        relative error is a few roundings. A zero vector is at cosine distance 1 from everything.

        Raises:
            MeasureError: fewer than k points to find, shapes that do not fit, a non-finite value.
        """
        points = as_points(points, "queries")
        own = check_query(self, points, k, exclude)
        queries = open_queries(points, self._points.coordinates)
        self._notes += zero_vector_notes(queries, "queries")
        rows = np.flatnonzero(self._ranks <= k)
        candidates = Candidates(
            self._points, rows, self._bias[torch.from_numpy(rows).to(self._bias.device)]
        )
        coarse = self._coarse(queries, k)
        halves = queries.half_norms()
        found = Neighbors.room(len(points), k, self._scratch)
        kind = self._bias.device.type
        row_bytes = 4 * self.dimension + 12 * capacity(k, candidates.count)[1]
        step = min(BATCH_ROWS[kind], max(1, BATCH_BYTES[kind] // row_bytes))
        self._progress.start("neighbors", len(points))
        for start in range(0, len(points), step):
            part = slice(start, min(start + step, len(points)))
            batch = PointSet(points[part], queries.coordinates, queries.factors[part])
            search = Search(
                candidates, batch, halves[part], candidates.places(own[part]), k, coarse
            )
            found.indices[part], found.distances[part] = search.run()
            self._progress.advance(part.stop - part.start)
            if start // step % TIDIED == TIDIED - 1:
                give_back()
        self._progress.finish()
        return found

    def _coarse(self, queries: PointSet, k: int) -> CoarseSearch | None:
        """A search by codes, where a pilot says that it pays."""
        if not self._decided and queries.count >= FEWEST_QUERIES:
            self._coded = choose_codes(self._points, self._bias, queries, k, scratch=self._scratch)
            self._decided = True
            give_back()
        usable = self._ranks <= k
        # a layer of copies leaves little to search
        if self._coded is None or usable.sum() < FEWEST_DIFFERENT:
            return None
        return CoarseSearch(self._coded, usable, k)
