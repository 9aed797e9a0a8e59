"""Indexed points as the matrices that a product reads: some thousand centered rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.coordinates import blocks
from entangle_cli.neighbors.pointset import PointSet, Rows

TILE_BYTES = 1 << 25
TILE_ROWS = 1024
SAMPLE_ROWS = 2048


@dataclass(frozen=True)
class Candidates:
    """The points that a search has to look at, ``count`` of them, in ascending order.

    ``rows`` says which of the points they are. ``bias`` ``(count,)`` float64 is what a score adds
    to the inner product: minus half the squared length of the centered coordinates.
    """

    points: PointSet
    rows: np.ndarray
    bias: Tensor

    @property
    def count(self) -> int:
        """Number of candidates."""
        return len(self.rows)

    def places(self, rows: np.ndarray) -> Tensor:
        """Where points stand among the candidates, ``(r,)``; -1 for one that is none of them."""
        place = np.searchsorted(self.rows, rows)
        found = self.rows[np.minimum(place, self.count - 1)] == rows
        return torch.from_numpy(np.where(found, place, -1)).to(self.bias.device)

    @cached_property
    def indices(self) -> Tensor:
        """``rows`` beside the bias."""
        return torch.from_numpy(self.rows).to(self.bias.device)

    @cached_property
    def numbers(self) -> Tensor:
        """Which candidate each of the points is, ``(n,)``; -1 for one that is none of them."""
        numbers = torch.full((self.points.count,), -1, device=self.bias.device)
        numbers[self.indices] = torch.arange(self.count, device=self.bias.device)
        return numbers

    def matrix(self, chosen: slice | np.ndarray, dtype: torch.dtype) -> Tensor:
        """Centered coordinates of some candidates, ``(b, d)`` in ``dtype``."""
        rows = self.rows[chosen]
        out = torch.empty((len(rows), self.points.dimension), dtype=dtype, device=self.bias.device)
        read = self.points.single if dtype == torch.float32 else self.points.centered
        for part in blocks(*out.shape):
            out[part] = read(_as_slice(rows[part]))
        return out

    def tiles(self, dtype: torch.dtype, multiple: int = 1) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(first candidate, matrix ``(c, d)``, bias ``(c,)``), all candidates in order.

        c is filled up to a ``multiple`` with points that score minus infinity.
        """
        step = TILE_BYTES // (4 * self.points.dimension)
        step = min(TILE_ROWS, max(multiple, step // multiple * multiple))
        for first in range(0, self.count, step):
            part = slice(first, min(first + step, self.count))
            matrix, bias = self.matrix(part, dtype), self.bias[part].to(dtype)
            lacking = -len(bias) % multiple
            matrix = torch.nn.functional.pad(matrix, (0, 0, 0, lacking))
            yield first, matrix, torch.nn.functional.pad(bias, (0, lacking), value=-torch.inf)

    @cached_property
    def sample(self) -> tuple[Tensor, Tensor]:
        """Matrix and bias of at most ``SAMPLE_ROWS`` candidates in float32, the same every time."""
        order = np.random.default_rng(0).permutation(self.count)
        chosen = np.sort(order[:SAMPLE_ROWS])
        return self.matrix(chosen, torch.float32), self.bias[torch.from_numpy(chosen)].float()


def _as_slice(rows: np.ndarray) -> Rows:
    # neighboring rows of a file are read at once, without a list of them
    if rows[-1] - rows[0] == len(rows) - 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
