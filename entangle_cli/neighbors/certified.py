"""Whether codes save time, and which: decided by some queries among a sample of the points.

An exact search pays for every pair a product over all d coordinates. Codes (``codes``) make that
product cheaper and leave some candidates whose scores are then computed one by one. How many are
left hangs on the data: few where integers of 8 bits resolve the neighbors or the spectrum falls,
nearly all where few directions are to stand for points without structure. The answer is the same
either way.

*Cost model*, per query, in multiplications of a float32 product:

    all pairs   n (d + SIEVE)
    codes       n (P / speed + COARSE) + candidates (GATHER d + PAIR) + n d (P + ENCODE) / queries

with the last P left out for codes of the coordinates themselves. Only counts enter it, no times of
this moment, except for whether the processor multiplies integers quickly.
"""

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.neighbors.coarse import LONGEST, CoarseSearch, CodedPoints
from entangle_cli.neighbors.codes import (
    Basis,
    encode,
    encode_all,
    mixed_basis,
    principal_directions,
)
from entangle_cli.neighbors.distances import product
from entangle_cli.neighbors.pointset import PointSet
from entangle_cli.neighbors.rooms import WORD

FEWEST_POINTS = 16_384
FEWEST_QUERIES = 64
# Below this many multiplications a pilot costs more than it can save
FEWEST_PRODUCTS = 1 << 31
# Kept in memory while an index lives
CODE_BYTES = 1 << 28
WIDTHS = (64, 128, 256)
PILOT_QUERIES, PILOT_POINTS = 200, 4096
# Directions that hold less of the variance leave too much outside
LEAST_SHARE = 0.6
SPEED = 4.0
SIEVE, COARSE, GATHER, PAIR, ENCODE = 60.0, 25.0, 40.0, 2500.0, 60.0


def choose_codes(
    points: PointSet, bias: Tensor, queries: PointSet, k: int, *, scratch: Path | None = None
) -> CodedPoints | None:
    """Codes of points that are expected to save time for such queries, None where none are.

    ``bias`` ``(n,)`` float64: minus half the squared lengths of the centered points. ``scratch``:
    see ``encode_all``.
    """
    if not _worth_a_pilot(points, bias, queries.count, k):
        return None
    pilot = _Pilot(points, bias, queries, k)
    small = quick_integers()
    costs: dict[int, float] = {0: pilot.all_pairs}
    bases: dict[int, Basis | None] = {}
    if small and points.count * points.dimension <= CODE_BYTES:
        width, bases[points.dimension] = points.dimension, None
        costs[width] = pilot.cost(None, width, small)
    widths = [width for width in WIDTHS if 3 * width <= points.dimension]
    if widths:
        directions, shares = principal_directions(points, widths[-1])
        for width in widths:
            if float(shares[:width].sum()) >= LEAST_SHARE:
                bases[width] = mixed_basis(directions[:, :width])
                costs[width] = pilot.cost(bases[width], width, small)
    width = min(costs, key=costs.__getitem__)
    if not width:
        return None
    lengths = bias.mul(-2).sqrt_()
    codes = encode_all(points, lengths, bases[width], small=small, multiple=WORD, scratch=scratch)
    return CodedPoints(points, bias, codes, bases[width])


def _worth_a_pilot(points: PointSet, bias: Tensor, queries: int, k: int) -> bool:
    return (
        points.coordinates.device.type == "cpu"
        and points.count >= max(FEWEST_POINTS, 100 * k)
        and queries >= FEWEST_QUERIES
        and queries * points.count * points.dimension >= FEWEST_PRODUCTS
        and float(bias.amin()) > -(LONGEST**2)
        and torch.get_float32_matmul_precision() == "highest"
    )


class _Pilot:
    """Some queries and some points, and what a search of all would cost."""

    def __init__(self, points: PointSet, bias: Tensor, queries: PointSet, k: int) -> None:
        self._count, self._queries = points.count, queries.count
        generator = np.random.default_rng(0)
        rows = np.sort(generator.permutation(points.count)[:PILOT_POINTS])
        asked = np.sort(generator.permutation(queries.count)[:PILOT_QUERIES])
        self._points = PointSet(points.source[rows], points.coordinates, points.factors[rows])
        self._bias = bias[torch.from_numpy(rows)]
        self._lengths = self._bias.mul(-2).sqrt_()
        self._matrix = self._points.single(slice(None))
        self._asked = queries.single(asked)
        self._asked_lengths = self._asked.double().square_().sum(1).sqrt_().mul_(1 + 1e-6)
        scores = product(self._asked, self._matrix, self._bias.float())
        rank = max(1, round((k + 1) * len(rows) / points.count))
        self._kth = scores.topk(rank, dim=1).values[:, -1:]
        self._k = rank
        self.all_pairs = self._count * (points.dimension + SIEVE)

    def cost(self, basis: Basis | None, width: int, small: bool) -> float:
        """Cost of a query by codes of ``width`` numbers; see the module."""
        codes = encode(self._matrix, self._lengths, basis, small=small)
        coded = CodedPoints(self._points, self._bias, codes, basis)
        search = CoarseSearch(coded, np.ones(len(self._bias), bool), self._k)
        bounds = search.upper_bounds(self._asked, self._asked_lengths)
        candidates = float((bounds > self._kth).double().mean()) * self._count
        dimension = self._matrix.shape[1]
        made = dimension * (ENCODE + (width if basis is not None else 0)) / self._queries
        speed = SPEED if small else 1.0
        scan = self._count * (width / speed + COARSE + made)
        return scan + candidates * (GATHER * dimension + PAIR)


@cache
def quick_integers() -> bool:
    """Whether products of 8-bit integers are there, exact, and quicker than those of float32."""
    x, y = (
        torch.full((256, 512), 127, dtype=torch.int8),
        torch.full((512, 512), -127).to(torch.int8),
    )
    try:
        # without an instruction of its own, processors add such products in 16 bits
        exact = bool((torch._int_mm(x, y.t()) == -512 * 127 * 127).all())
    except (AttributeError, RuntimeError):
        return False
    if not exact:
        return False
    real, other, bias = x.float(), y.float(), torch.zeros(512)
    out = torch.empty((256, 512), dtype=torch.int32)
    whole_seconds = _least(lambda: torch._int_mm(x, y.t(), out=out))
    return whole_seconds < 0.6 * _least(lambda: product(real, other, bias))


def _least(run: Callable[[], object]) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
