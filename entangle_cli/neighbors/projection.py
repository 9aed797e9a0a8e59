"""Fewer coordinates for the neighbor graph: wide points seen along their principal directions.

A graph only proposes neighbors, whose true distances are then measured on the points themselves, so
it may be built on something smaller. The principal directions are those of a sample of the points;
what lies outside of them costs recall (which is measured and told), never a wrong distance.
"""

import numpy as np

from entangle_cli.neighbors.coordinates import blocks
from entangle_cli.neighbors.pointset import PointSet

# 60,000 points of 256 entries are 61 MB, and a few copies of that in the graph
WIDEST = 512
DIRECTIONS = 256
SAMPLE_ROWS = 2000


class Projection:
    """Centered coordinates, ``(n, d)`` to float32 ``(n, r)``: all of them where d <= 512.

    ``share`` is the part of the sample's variance that the r directions hold, in [0, 1].
    """

    def __init__(self, points: PointSet, rows: np.ndarray, *, seed: int) -> None:
        self.share = 1.0
        self._basis: np.ndarray | None = None
        if points.dimension > WIDEST:
            self._fit(points, rows, seed)

    @property
    def width(self) -> int | None:
        """Directions r, None where every coordinate is kept."""
        return None if self._basis is None else self._basis.shape[1]

    def __call__(self, points: PointSet, rows: np.ndarray) -> np.ndarray:
        """Some rows of points ``(n, d)``, projected, ``(b, r)`` float32."""
        matrix = np.empty((len(rows), self.width or points.dimension), dtype=np.float32)
        for part in blocks(len(rows), points.dimension):
            block = points.centered(rows[part]).float().numpy()
            matrix[part] = block if self._basis is None else block @ self._basis
        return matrix

    def _fit(self, points: PointSet, rows: np.ndarray, seed: int) -> None:
        generator = np.random.default_rng(seed)
        count = min(SAMPLE_ROWS, len(rows))
        sample = np.sort(generator.choice(rows, count, replace=False))
        values = points.centered(sample).numpy()
        values -= values.mean(axis=0)
        # the small side of the sample: its Gram matrix has the same spectrum as the covariance
        spectrum, vectors = np.linalg.eigh(values @ values.T)
        kept = spectrum > spectrum[-1] * 1e-12
        spectrum, vectors = spectrum[kept][-DIRECTIONS:], vectors[:, kept][:, -DIRECTIONS:]
        total = float(np.square(values).sum())
        if total == 0:
            return
        self.share = float(spectrum.sum()) / total
        self._basis = np.ascontiguousarray(
            (values.T @ (vectors / np.sqrt(spectrum))).astype(np.float32)
        )
