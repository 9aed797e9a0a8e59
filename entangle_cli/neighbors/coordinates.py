"""The coordinates in which neighbors are searched: checked, scaled or normalized, centered.

*Conventions*: rows are points. Distances are *internal* here: half the squared Euclidean distance
of the coordinates.

    euclidean   x * scale, scale a power of two: squares stay in range and nothing is rounded
    cosine      x/|x|, and 1 - cos is half the squared distance of unit vectors; a zero vector has
    no
                direction, its distance to everything is defined as 1

Centering changes no distance. It keeps the product form of a distance accurate, which loses what
the norms have in excess of it; exact distances are differences of coordinates that were never
centered. Sums are always taken over a matrix of the same shape (``block_rows``), as the order in
which torch adds depends on it: so a number never depends on how many rows were handled together.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError

# A few arrays of this many float64 fit the cache
BLOCK_ELEMENTS = 1 << 17
LONGEST, SHORTEST = 2.0**1000, 2.0**-1000
# In units of the points' spread: what can still be squared and summed in float64
FARTHEST = 2.0**480


def as_points(points: np.ndarray | Tensor, name: str = "points") -> np.ndarray:
    """Points as a real array ``(n, d)``, not copied where they are one already.

    Raises:
        MeasureError: not two axes, no entries, or not real numbers.
    """
    if isinstance(points, Tensor):
        points = points.detach().cpu()
        points = (points.float() if points.dtype == torch.bfloat16 else points).numpy()
    points = points if isinstance(points, np.ndarray) else np.asarray(points)
    if points.ndim != 2 or points.dtype.kind not in "fiub" or points.shape[1] == 0:
        raise MeasureError(
            f"{name} of shape {points.shape} and type {points.dtype}; "
            "give real numbers as rows (n, d) with d >= 1"
        )
    return points


def block_rows(dimension: int) -> int:
    """How many rows of d entries are handled at once."""
    return max(2, BLOCK_ELEMENTS // dimension)


def blocks(count: int, dimension: int) -> Iterator[slice]:
    """Ranges of at most ``block_rows`` rows that cover ``count`` of them."""
    step = block_rows(dimension)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def squared_lengths(rows: Tensor) -> Tensor:
    """Sum of squares of every row of a block ``(p, d)``, ``(p,)``; overwrites the block."""
    squares = rows.square_()
    lacking = block_rows(rows.shape[1]) - len(rows)
    if lacking:
        squares = torch.nn.functional.pad(squares, (0, 0, 0, lacking))
    return squares.sum(1)[: len(rows)]


@dataclass(frozen=True)
class Coordinates:
    """A metric, and the center and scale that suit some points; see the module."""

    metric: str
    device: torch.device
    center: Tensor  # (d,) float64, of the scaled or normalized points
    scale: float

    @property
    def unit(self) -> float:
        """Length in the points' own coordinates of a length of 1 here, under euclidean."""
        return 1.0 / self.scale

    @cached_property
    def quick(self) -> bool:
        """Whether float32 points can be scaled and centered in float32, with a single rounding."""
        ordinary = self.metric == "euclidean" and 2.0**-64 <= self.scale <= 2.0**64
        return ordinary and bool((self.center.float().double() == self.center).all())

    @cached_property
    def raw_center(self) -> np.ndarray:
        """The center before it was scaled, float32 ``(d,)``: exact where ``quick``."""
        return (self.center / self.scale).float().cpu().numpy()

    def factors(self, block: np.ndarray, first: int = 0, name: str = "point") -> Tensor:
        """What each row of ``(b, d)`` is multiplied with, ``(b,)`` float64; 0 for a zero vector.

        Raises:
            MeasureError: a value that is not finite or too extreme, naming ``first`` + the row.
        """
        values = raw(block, self.device)
        limit = LONGEST if self.metric == "cosine" else FARTHEST * self.unit
        # a NaN is the largest of all and not less than anything
        if not float(values.abs().amax()) < limit:
            finite = torch.isfinite(values).all(1)
            _require(finite, "holds a value that is not finite (NaN or infinity)", first, name)
            inside = (values.abs() < limit).all(1)
            _require(inside, "is too far away to be measured", first, name)
        if self.metric == "cosine":
            return _inverse_lengths(values, first, name)
        return torch.full((len(values),), self.scale, dtype=torch.float64, device=self.device)

    def half_squared(self, distances: Tensor) -> Tensor:
        """Half the squared length in these coordinates of true distances, ``(p,)``."""
        return distances if self.metric == "cosine" else (distances * self.scale).square_().div_(2)

    def distances(self, differences: Tensor, zero: Tensor) -> Tensor:
        """True distances of pairs from differences of their exact coordinates, ``(p, d)``.

        ``zero`` ``(p,)``: a side of the pair is a zero vector. Overwrites ``differences``.
        """
        squares = squared_lengths(differences)
        if self.metric == "cosine":
            return squares.mul_(0.5).masked_fill_(zero, 1.0)
        return squares.sqrt_().mul_(self.unit)


def fit_coordinates(
    points: np.ndarray, metric: str, device: torch.device
) -> tuple[Coordinates, Tensor]:
    """Coordinates that suit points ``(n, d)``, and the points' factors ``(n,)``, in one pass.

    Raises:
        MeasureError: no points, a value that is not finite, a range or a length that float64 cannot
            square.
    """
    count, dimension = points.shape
    if count == 0:
        raise MeasureError("no points to find neighbors among; give at least one")
    plain = Coordinates(metric, device, torch.zeros(dimension, device=device).double(), 1.0)
    center = torch.zeros_like(plain.center)
    low, high = torch.full_like(center, torch.inf), torch.full_like(center, -torch.inf)
    factors = torch.empty(count, dtype=torch.float64, device=device)
    for part in blocks(count, dimension):
        factors[part] = plain.factors(points[part], part.start)
        rows = raw(points[part], device)
        if metric == "euclidean" and rows.dtype == torch.float32:
            # nothing to be multiplied with, and sums in float64 stay in range
            low, high = torch.minimum(low, rows.amin(0)), torch.maximum(high, rows.amax(0))
            center += rows.sum(0, dtype=torch.float64).div_(count)
            continue
        rows = torch.mul(rows, factors[part][:, None])
        torch.minimum(low, rows.amin(0), out=low)
        torch.maximum(high, rows.amax(0), out=high)
        # divided before adding: a sum of very large values would overflow
        center += rows.div_(count).sum(0)
    if points.dtype.itemsize <= 4:
        # any center will do; one with the digits of the points lets differences come out exact
        center = center.float().double()
    if metric == "cosine":
        return Coordinates(metric, device, center, 1.0), factors
    scale = _power_of_two(float(torch.maximum(high - center, center - low).amax()))
    return Coordinates(metric, device, center * scale, scale), factors.fill_(scale)


def raw(block: np.ndarray, device: torch.device) -> Tensor:
    """A block as a tensor to read from, float32 where it was that and float64 otherwise."""
    dtype = np.float32 if block.dtype == np.float32 else np.float64
    # a memory-mapped file may be read-only, which a tensor cannot be: those are copied
    block = np.require(block, dtype=dtype, requirements=["C", "W"])
    return torch.from_numpy(block).to(device)


def _power_of_two(spread: float) -> float:
    if spread == 0:
        return 1.0
    if spread < SHORTEST:
        raise MeasureError(
            f"points differ by only {spread:.1e}, too little to be squared; scale them"
        )
    return 2.0 ** -math.floor(math.log2(spread))


def _inverse_lengths(values: Tensor, first: int, name: str) -> Tensor:
    largest = values.abs().amax(1).double()
    zero = largest == 0
    _require(zero | (largest > SHORTEST), "has entries too small for a length", first, name)
    largest.masked_fill_(zero, 1.0)
    lengths = squared_lengths(values / largest[:, None]).sqrt_() * largest
    return lengths.reciprocal_().masked_fill_(zero, 0.0)


def _require(good: Tensor, wrong: str, first: int, name: str) -> None:
    if not bool(good.all()):
        row = first + int(torch.nonzero(~good)[0])
        raise MeasureError(f"{name} {row} {wrong}; find the sample or the layer that causes it")
