"""Points in few small numbers, with a bound of what that leaves out.

A point y is coded by integers of 8 bits and a step, of its coordinates themselves or of P
coordinates ``V^T y`` in an orthonormal basis V; ``rest`` is the length of what lies outside of the
basis. For the codes q', y' of a query and a point,

    |q.y - q'.y'| <= |q - q'| |y'| + |q| |y - y'| + rest(q) rest(y) + defect |q| |y|

with the errors ``|q - q'|`` taken within the basis. It holds for every rounding on the way: V is
what it is in float32, ``defect`` bounds how far it is from orthonormal, and ``error`` counts the
rounding of the projection. Where a product of 8-bit integers is not quick, codes are float32.

*Conventions*: rows are points, centered; lengths are upper bounds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.pointset import PointSet
from entangle_cli.scratch import scratch_array

UNIT = 2.0**-24
LEVELS = 127
# A sum over d entries is taken in runs of this many: its rounding grows with the run, not with d
RUN = 256
BLOCK_ELEMENTS = 1 << 17
SAMPLE_ROWS = 1024


@dataclass(frozen=True)
class Basis:
    """Directions ``(d, P)`` float32 that are orthonormal up to ``defect`` (spectral norm)."""

    directions: Tensor
    defect: float

    def project(self, rows: Tensor) -> Tensor:
        """Coordinates ``(b, P)`` of ``(b, d)``, each at most ``rounding`` |y| wrong."""
        out = torch.mm(rows[:, :RUN], self.directions[:RUN])
        for start in range(RUN, rows.shape[1], RUN):
            part = slice(start, start + RUN)
            out.addmm_(rows[:, part], self.directions[part])
        return out

    @property
    def rounding(self) -> float:
        """Error of the length of a projection, in lengths of the point; Higham, eq. 3.5."""
        dimension, width = self.directions.shape
        terms = min(dimension, RUN) + dimension // RUN + 3
        return 1.01 * UNIT * terms * (width * (1 + self.defect)) ** 0.5


@dataclass(frozen=True)
class Codes:
    """Codes ``(n, P)``, int8 or float32, their steps, and bounds, all ``(n,)`` float64."""

    values: Tensor
    steps: Tensor
    lengths: Tensor
    errors: Tensor
    rests: Tensor

    def __getitem__(self, chosen: slice | Tensor) -> "Codes":
        return Codes(
            self.values[chosen],
            self.steps[chosen],
            self.lengths[chosen],
            self.errors[chosen],
            self.rests[chosen],
        )


def encode(
    matrix: Tensor, lengths: Tensor, basis: Basis | None, *, small: bool, together: bool = False
) -> Codes:
    """Codes of centered rows ``(b, d)`` float32 whose ``lengths`` ``(b,)`` are known in float64.

    ``small``: 8-bit integers, else float32. ``together``: all rows get the same step.
    """
    rounding = 2 * UNIT if basis is None else basis.rounding
    coordinates = matrix if basis is None else basis.project(matrix)
    inside = torch.linalg.vector_norm(coordinates, dim=1).double()
    rests = torch.zeros_like(lengths)
    if basis is not None:
        short = UNIT * (coordinates.shape[1] + 4)
        least = (inside * (1 - short) - rounding * lengths).clamp_(min=0)
        rests = lengths.square() * (1 + 1e-12) - least.square() / (1 + basis.defect)
        rests = rests.clamp_(min=0).sqrt_()
    if not small:
        steps = torch.ones_like(lengths)
        return Codes(coordinates, steps, lengths, rounding * lengths, rests)
    largest = torch.maximum(-coordinates.amin(1), coordinates.amax(1))
    if together:
        largest = largest.amax().expand(len(matrix))
    steps = torch.where(largest > 0, largest / LEVELS, 1.0)
    levels = torch.mul(coordinates, steps.reciprocal()[:, None]).round_()
    values = levels.to(torch.int8)
    errors = torch.addcmul(coordinates, levels, steps[:, None], value=-1, out=levels)
    errors = torch.linalg.vector_norm(errors, dim=1)
    # the differences and their norm were rounded, too
    errors = errors.double() * 1.001 + 4 * UNIT * inside + rounding * lengths
    return Codes(values, steps.double(), lengths, errors, rests)


def encode_all(
    points: PointSet,
    lengths: Tensor,
    basis: Basis | None,
    *,
    small: bool,
    multiple: int = 1,
    scratch: Path | None = None,
) -> Codes:
    """Codes of all points, which are read once, filled up with zeros to a ``multiple``.

    They lie in unlinked files in the folder ``scratch`` where one is given.
    """
    width = points.dimension if basis is None else basis.directions.shape[1]
    count = points.count + -points.count % multiple
    values = _zeros((count, width), np.int8 if small else np.float32, scratch)
    steps, known, errors, rests = _zeros((4, count), np.float64, scratch)
    step = max(16, BLOCK_ELEMENTS // points.dimension)
    for start in range(0, points.count, step):
        part = slice(start, min(start + step, points.count))
        codes = encode(points.single(part), lengths[part], basis, small=small)
        values[part], steps[part], known[part] = codes.values, codes.steps, codes.lengths
        errors[part], rests[part] = codes.errors, codes.rests
    return Codes(values, steps, known, errors, rests)


def _zeros(shape: tuple[int, int], dtype: type, scratch: Path | None) -> Tensor:
    return torch.from_numpy(scratch_array(shape, dtype, scratch)).zero_()


def principal_directions(points: PointSet, width: int) -> tuple[Tensor, Tensor]:
    """Directions ``(d, width)`` float32, the first ones first, and their shares of the variance.

    Of a sample of the points, by two steps of subspace iteration: Halko, Martinsson and Tropp,
    *Finding structure with randomness*, SIAM Review 53 (2011), algorithm 4.4.
    """
    order = np.random.default_rng(0).permutation(points.count)
    sample = points.single(np.sort(order[:SAMPLE_ROWS]))
    guess = torch.randn((len(sample), width), generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        directions = torch.linalg.qr(sample.t() @ guess)[0]
        guess = sample @ directions
    spectrum, vectors = torch.linalg.eigh(guess.t() @ guess)
    total = sample.square().sum().clamp_(min=torch.finfo(torch.float32).tiny)
    return directions @ vectors.flip(1), spectrum.flip(0).clamp_(min=0) / total


def mixed_basis(directions: Tensor) -> Basis:
    """A basis of what directions span, rotated so that coordinates are about equally large.

    That is what codes of equal steps want.
    """
    width = directions.shape[1]
    generator = torch.Generator().manual_seed(0)
    mix = torch.linalg.qr(torch.randn((width, width), generator=generator).double())[0]
    directions = (torch.linalg.qr(directions.double())[0] @ mix).float()
    exact = directions.double()
    gram = exact.t() @ exact
    gram.diagonal().sub_(1)
    return Basis(directions, float(torch.linalg.matrix_norm(gram)) * 1.01 + 1e-12)
