"""Points made ready for a measure: checked, centered, scaled, in the order of their classes.

*Conventions*: rows are in class order everywhere below this module (a stable sort by label), so
that "same class" is a range of rows and no mask is ever needed. Distances are *internal*: squared
Euclidean of the prepared rows; a distance in the user's metric is ``unit`` times the internal one.

    euclidean   rows are (x - center) * scale, a power of two: squares stay in range
    cosine      rows are x/|x| - center, and 1 - cos = half the squared distance of unit vectors;
                a zero vector has no direction, it gets distance 1 to everything through ``extra``

Centering matters: the product form of a distance loses what the norms have in excess of it. The
center is subtracted each time rows are read, from the values as given, never from a rounded copy.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.measures.given import as_labels, as_source
from entangle_cli.measures.survey import as_float64, blocks, first_copies, survey
from entangle_cli.neighbors.distances import squared_norms, unit_vectors
from entangle_cli.scratch import scratch_array

# A centered float64 copy is kept where it is small; otherwise rows are converted again when needed
KEEP_BYTES = 1 << 26
# Fewer numbers per point than this do not show beside the blocks that are worked on
_MANY = 1 << 14
_SMALLEST, _LARGEST = 1e-150, 1e150


@dataclass
class PreparedPoints:
    """Checked points in class order, ``count`` rows of ``dimension`` entries; see the module."""

    source: np.ndarray
    order: np.ndarray  # (n,) row of the source behind each prepared row
    bounds: tuple[int, ...]  # class c is the rows bounds[c] to bounds[c + 1]
    metric: str
    device: torch.device
    scratch: Path | None
    center: Tensor  # (d,) float64
    scale: float
    extra: Tensor  # (n,) float64, added to the norms: 1 for a zero vector under cosine
    copies: Tensor | None  # (n,) int64, equal for exact copies; None where all points differ
    duplicates: int  # points that are exact copies of an earlier one
    constant: bool

    def __post_init__(self) -> None:
        self._kept: dict[torch.dtype, Tensor] = {}
        self._norms: dict[torch.dtype, Tensor] = {}

    @property
    def count(self) -> int:
        """Number of points n."""
        return len(self.order)

    @property
    def dimension(self) -> int:
        """Number of entries d of a point."""
        return self.source.shape[1]

    @property
    def unit(self) -> float:
        """What an internal squared distance of 1 is in the user's metric."""
        return 0.5 if self.metric == "cosine" else self.scale**-2

    @property
    def zero_vectors(self) -> int:
        """Points without a direction, under cosine; 0 under euclidean."""
        return int(self.extra.sum())

    @cached_property
    def classes(self) -> Tensor:
        """Class number of every row, ``(n,)`` int64, ascending."""
        widths = np.diff(self.bounds)
        return torch.from_numpy(np.repeat(np.arange(len(widths)), widths)).to(self.device)

    @property
    def sizes(self) -> Tensor:
        """Size of the class of every row, ``(n,)`` float64."""
        widths = np.diff(self.bounds)
        return torch.from_numpy(np.repeat(widths, widths).astype(np.float64)).to(self.device)

    def vectors(self, *shape: int, fill: float = 0.0, count: int | None = None) -> Tensor:
        """Numbers for every point, or for ``count`` of them, ``(*shape, n)`` float64, all ``fill``.

        Of many points they lie in an unlinked file where there is a folder for such.
        """
        large = self.count >= _MANY and self.device.type == "cpu"
        shape = (*shape, self.count if count is None else count)
        room = scratch_array(shape, np.float64, self.scratch if large else None)
        return torch.from_numpy(room).to(self.device).fill_(fill)

    def norms(self, dtype: torch.dtype) -> Tensor:
        """``|x|^2`` of the rows *as rounded to* ``dtype``, and ``extra``, in float64, ``(n,)``."""
        if dtype not in self._norms:
            norms = self.vectors().copy_(self.extra)
            for part in self._parts():
                norms[part] += squared_norms(self.rows(part, dtype))
            self._norms[dtype] = norms
        return self._norms[dtype]

    def mean_norm(self) -> float:
        """Mean of the squared norms: half the mean squared distance, roughly."""
        return float(self.norms(torch.float64).cpu().numpy().mean())

    def rows(self, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """Prepared rows in ``dtype``, ``(k, d)``; all of them are kept in float32 on first use."""
        keep = dtype == torch.float32 or 8 * self.count * self.dimension <= KEEP_BYTES
        if keep and dtype not in self._kept:
            shape = (self.count, self.dimension)
            copy = _working_copy(shape, dtype, self.scratch, self.device)
            for part in self._parts():
                copy[part] = self.exact(part).sub_(self.center)
            self._kept[dtype] = copy
        if keep:
            return self._kept[dtype][rows]
        return self.exact(rows).sub_(self.center)

    def exact(self, rows: slice | Tensor) -> Tensor:
        """Rows scaled (euclidean) or normalized (cosine) but not centered, float64 ``(k, d)``.

        Differences of these are as exact as the points themselves.
        """
        index = self.order[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        values = as_float64(self.source[index]).to(self.device)
        return unit_vectors(values) if self.metric == "cosine" else values.mul_(self.scale)

    def subset(self, rows: np.ndarray) -> "PreparedPoints":
        """Some of the rows, ascending, with the same center and scale; nothing is copied."""
        index = torch.from_numpy(rows).to(self.device)
        return replace(
            self,
            order=self.order[rows],
            bounds=tuple(np.searchsorted(rows, self.bounds).tolist()),
            extra=self.extra[index],
            copies=None if self.copies is None else self.copies[index],
        )

    def _parts(self) -> list[slice]:
        return blocks(self.count, self.dimension)


def prepare(
    points: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    *,
    metric: str = "euclidean",
    device: str | torch.device = "cpu",
    scratch: Path | None = None,
) -> PreparedPoints:
    """Check points ``(n, d)`` and labels ``(n,)`` and put them into class order.

    Reads the points block by block; with ``scratch`` (a folder) working copies go to an unlinked
    memory-mapped file there instead of into memory.

    Raises:
        MeasureError: shapes that do not fit, fewer than two points, a non-finite value, a spread
            whose square is out of range.
    """
    source, labels = _checked(points, labels, metric)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    center, spread, zero = survey(source, metric)
    scale = _scale(spread) if metric == "euclidean" else 1.0
    copies = first_copies(source)
    duplicates = int((copies != np.arange(len(copies))).sum())
    device = torch.device(device)
    return PreparedPoints(
        source=source,
        order=order,
        bounds=(0, *np.cumsum(counts).tolist()),
        metric=metric,
        device=device,
        scratch=scratch,
        center=torch.from_numpy(center * scale).to(device),
        scale=scale,
        extra=torch.from_numpy(zero[order].astype(np.float64)).to(device),
        copies=torch.from_numpy(copies[order]).to(device) if duplicates else None,
        duplicates=duplicates,
        constant=spread == 0,
    )


def _checked(
    points: np.ndarray | Tensor, labels: np.ndarray | Tensor, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    if metric not in ("euclidean", "cosine"):
        raise MeasureError(f"metric {metric!r} is unknown; use 'euclidean' or 'cosine'")
    source, labels = as_source(points), as_labels(labels)
    if len(source) != len(labels):
        raise MeasureError(
            f"{len(source)} points but {len(labels)} labels; give one label per point"
        )
    if len(source) < 2:
        raise MeasureError(f"{len(source)} points; a neighbor measure needs at least 2")
    return source, labels


def _scale(spread: float) -> float:
    """A power of two that brings the spread of the points near one, so that squares stay exact."""
    if spread == 0:
        return 1.0
    if not _SMALLEST < spread < _LARGEST:
        raise MeasureError(
            f"points spread over {spread:.1e}, whose square float64 cannot hold; scale them"
        )
    return 2.0 ** -math.floor(math.log2(spread))


def _working_copy(
    shape: tuple[int, int], dtype: torch.dtype, scratch: Path | None, device: torch.device
) -> Tensor:
    if scratch is None or device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    numpy_type = np.float32 if dtype == torch.float32 else np.float64
    return torch.from_numpy(scratch_array(shape, numpy_type, scratch))
