"""Weighted sums over all pairs at given temperatures, and the curve of the loss that they give.

*Conventions*: ``beta = 1 / T``, ``u = log T``; temperatures here are internal (see ``points``).
Exponents are in powers of two, ``e = -(d - shift) log2(e) / T``, so that ``w = 2^e``. For every row
i the sums of ``w, w e, w e^2`` over the same class (S) and over other classes (O) are kept apart
and never obtained by subtraction; tile sums are added up in float64.

    a_i = log O_i - log S_i,   L_i = log(1 + exp a_i),   L = mean over anchors

Differentiated under the sum (E, Var: weighted mean and variance of d over S or O):

    dL_i/dbeta = sigmoid(a_i) (E_S - E_O)
    d2L_i/dbeta2 = sigmoid(a_i) (Var_O - Var_S) + sigmoid(a_i) (1 - sigmoid(a_i)) (E_S - E_O)^2

Reference: arXiv 1902.01889, eq. 1, written so that nothing underflows and no epsilon is needed.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from entangle_cli.measures.nearest import Nearest
from entangle_cli.measures.pairs import (
    HEIGHT,
    WIDTH,
    Tile,
    TileDistances,
    numbers,
    strips,
    triangle,
)
from entangle_cli.measures.points import PreparedPoints

LOG2E = math.log2(math.e)
# torch gives fewer elements than 2^15 to one thread
UNSHARED = (1 << 15) - 64
SAME, OTHER = 0, 1
# A row whose sum is below this has lost weights to underflow that matter; above it at most 1e-10 of
# the sum is missing. It is visited again with its own shift.
TRUSTED = {torch.float32: 1e-24, torch.float64: 1e-280}
# Exponent of the largest weight allowed, in nats: n weights and two moments still fit below the
# maximum
HEADROOM = {torch.float32: 50.0, torch.float64: 500.0}
# Standard error of a distance, in units of |x|^2: two norms and a product, about half an ulp each
ROUNDING = {torch.float32: 1.2e-7, torch.float64: 2.2e-16}


@dataclass(frozen=True)
class CurvePoint:
    """The loss at a temperature, with its first and second derivative in ``log T``."""

    temperature: float
    loss: float
    slope: float
    curvature: float
    noise: float  # standard error of loss from rounding, estimated


def triangle_sums(
    points: PreparedPoints,
    temperatures: list[float],
    *,
    dtype: torch.dtype,
    orders: int,
    shifts: list[float],
) -> Tensor:
    """Sums of ``w e^m`` for m < orders over all pairs, ``(temperatures, 2, orders, n)`` float64."""
    n, device = points.count, points.device
    sums = torch.zeros(len(temperatures), 2, orders, n, dtype=torch.float64, device=device)
    distances = TileDistances(points, dtype)
    work = torch.empty(2, HEIGHT * WIDTH, dtype=dtype, device=device)
    scales = [LOG2E / temperature for temperature in temperatures]
    offsets = [
        torch.tensor(scale * shift, dtype=dtype, device=device)
        for scale, shift in zip(scales, shifts, strict=True)
    ]
    for tile in triangle(points):
        d = distances(tile.rows, tile.columns)
        exponents, weights = (buffer[: d.numel()].view(d.shape) for buffer in work)
        for number, (offset, scale) in enumerate(zip(offsets, scales, strict=True)):
            torch.add(offset, d, alpha=-scale, out=exponents)
            powers_of_two(exponents, out=weights)
            if tile.diagonal:
                # distance 0 can exceed the headroom; the exponent must stay finite
                weights.fill_diagonal_(0)
            for order in range(orders):
                if order:
                    weights.mul_(exponents)
                _add(sums[number, :, order], tile, weights, points.classes)
    return sums


def _add(sums: Tensor, tile: Tile, weights: Tensor, classes: Tensor) -> None:
    """Add a tile's row and column sums to same-class and other-class sums ``(2, n)``."""
    if tile.mixed:
        same = (classes[tile.rows, None] == classes[None, tile.columns]).to(weights.dtype)
        sums[SAME, tile.rows] += (weights * same).sum(1)
        sums[OTHER, tile.rows] += (weights * (1 - same)).sum(1)
        return
    target = sums[SAME if tile.same else OTHER]
    target[tile.rows] += weights.sum(1)
    if not tile.diagonal:
        target[tile.columns] += weights.sum(0)


def strip_sums(
    points: PreparedPoints, rows: Tensor, temperature: float, nearest: Nearest
) -> Tensor:
    """As ``triangle_sums`` for chosen rows, each shifted by its nearest distances, ``(2, 3, k)``.

    The nearest weight of each sum is 1, so nothing underflows; all in float64.
    """
    sums = torch.zeros(2, 3, points.count, dtype=torch.float64, device=points.device)
    distances = TileDistances(points, torch.float64)
    scale = LOG2E / temperature
    for strip in strips(points, rows):
        d = distances(strip.rows, strip.columns)
        shift = (nearest.same if strip.same else nearest.other)[strip.rows]
        exponents = (shift[:, None] - d).mul_(scale)
        weights = powers_of_two(exponents, out=torch.empty_like(exponents))
        if strip.same:
            own = strip.rows[:, None] == numbers(
                strip.columns, torch.arange(d.shape[1]).to(d.device)
            )
            weights.masked_fill_(own, 0.0)
            exponents.masked_fill_(own, 0.0)
        target = sums[SAME if strip.same else OTHER]
        for order in range(3):
            if order:
                weights.mul_(exponents)
            target[order, strip.rows] += weights.sum(1)
    return sums[:, :, rows]


def powers_of_two(exponents: Tensor, out: Tensor) -> Tensor:
    """``2^e`` of a contiguous tensor, into ``out``; the same bits with any number of threads.

    torch.exp2 rounds the ends of each thread's share differently, so it gets pieces that it does
    not share out. torch.exp would be several times slower where results underflow.
    """
    if exponents.device.type != "cpu":
        return torch.exp2(exponents, out=out)
    for part, result in zip(
        exponents.view(-1).split(UNSHARED), out.view(-1).split(UNSHARED), strict=True
    ):
        torch.exp2(part, out=result)
    return out


def total(values: Tensor) -> float:
    """Sum of a float64 vector, in an order that does not depend on the number of threads."""
    return float(values.cpu().numpy().sum())


def curve_point(
    sums: Tensor, gaps: Tensor, temperature: float, *, anchors: Tensor, noise: Tensor
) -> CurvePoint:
    """Loss and derivatives from sums ``(2, 3, n)``.

    ``gaps`` ``(n,)`` is (shift of S - shift of O) / T per row, 0 where both have the same shift;
    ``noise`` ``(n,)`` the standard error of an exponent in nats; ``anchors`` the rows to average
    over.
    """
    same, other, gaps = sums[SAME][:, anchors], sums[OTHER][:, anchors], gaps[anchors]
    a = gaps + other[0].log() - same[0].log()
    share = torch.sigmoid(a)
    same_mean, other_mean = same[1] / same[0], other[1] / other[0]
    same_variance = same[2] / same[0] - same_mean.square()
    other_variance = other[2] / other[0] - other_mean.square()
    pull = (same_mean - other_mean) / LOG2E - gaps
    spread = (other_variance - same_variance) / LOG2E**2
    losses = torch.logaddexp(torch.zeros_like(a), a)
    curvature = share * (spread + (1 - share) * pull.square() - pull)
    count = len(a)
    return CurvePoint(
        temperature=temperature,
        loss=total(losses) / count,
        slope=total(share * pull) / count,
        curvature=total(curvature) / count,
        noise=math.sqrt(total((share * noise[anchors]).square())) / count,
    )
