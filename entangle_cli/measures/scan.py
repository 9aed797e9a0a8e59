"""Which basins the loss has over temperature, and how to get to the bottom of one.

The loss is a difference of convex functions of 1/T: hierarchical classes give two minima and more,
so the curve is first seen whole, on a lattice of ratio sqrt(2) in T anchored at the scale of the
data, with its slope at every point. A basin is an interval where the slope turns from falling to
rising; intervals whose cubic through values and slopes dips between its ends are halved.

Reference: arXiv 1902.01889, eq. 2; the published code takes single gradient steps in 1/T instead.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from entangle_cli.measures.losses import CurvePoint

# Two lattice points an octave where distances differ in weight, one in three octaves where all
# exponents are below 1 and the curve is nearly a straight line in 1/T
STEPS_PER_OCTAVE = 2
SPARSE_STEPS = 6
HALVINGS = 3
# A dip is looked at again when it may come this near the deepest point seen
WORTH_A_LOOK = 1.05
# What rounding alone does to a scanned loss or slope, relative to the loss, by the weights' type
RIPPLE = {torch.float32: 2e-6, torch.float64: 1e-13}
# Newton steps in log T; a bracket halves in the worst case
MOST_STEPS = 60
LONGEST_STEP = 1.0


class Curve(Protocol):
    """The loss over temperature: exactly at one, roughly at many.

    ``ripple``: slopes and dips below this share of the loss are rounding.
    """

    ripple: float

    def at(self, temperature: float) -> CurvePoint:
        """Loss and derivatives at a temperature."""

    def scan(self, temperatures: list[float]) -> list[CurvePoint]:
        """Loss and slope at many temperatures, ascending."""


@dataclass(frozen=True)
class Basin:
    """A local minimum between two temperatures, its depth and place guessed from their cubic."""

    low: float
    high: float
    temperature: float
    loss: float


def lattice(low: float, high: float, unit: float, smooth: float) -> list[float]:
    """Temperatures ``unit * 2^(k/2)`` that cover low to high; ratio 8 above ``smooth``."""
    first = math.floor(STEPS_PER_OCTAVE * math.log2(low / unit))
    last = math.ceil(STEPS_PER_OCTAVE * math.log2(high / unit))
    sparse = STEPS_PER_OCTAVE * math.log2(smooth / unit)
    return [
        unit * 2.0 ** (k / STEPS_PER_OCTAVE)
        for k in range(first, last + 1)
        if k <= sparse or k % SPARSE_STEPS == 0 or k == last
    ]


def find_basins(curve: Curve, points: list[CurvePoint]) -> list[Basin]:
    """Interior local minima of a scanned curve, deepest first; looks again between its points."""
    for _ in range(HALVINGS):
        pairs = list(pairwise(points))
        deepest = min(point.loss for point in points)
        middles = [
            math.sqrt(p.temperature * q.temperature)
            for p, q in pairs
            if _hides(p, q, WORTH_A_LOOK * deepest, curve.ripple)
        ]
        if not middles:
            break
        points = sorted([*points, *curve.scan(middles)], key=lambda point: point.temperature)
    basins = [_basin(part) for part in _turns(points, curve.ripple)]
    return sorted(basins, key=lambda basin: basin.loss)


def _turns(points: list[CurvePoint], ripple: float) -> list[list[CurvePoint]]:
    """From a falling point to the next rising one, with the flat ones between; rounding is flat."""
    turns, falling = [], None
    for number, point in enumerate(points):
        if point.slope < -ripple * point.loss:
            falling = number
        elif point.slope > ripple * point.loss and falling is not None:
            turns.append(points[falling : number + 1])
            falling = None
    return turns


def descend(curve: Curve, basin: Basin, tolerance: float) -> CurvePoint:
    """The bottom of a basin by safeguarded Newton steps in log T.

    Ends when the step still to gain is below ``tolerance`` relative to the loss; that step is
    taken, and its gain, known from the parabola, subtracted.
    """
    low, high, u = math.log(basin.low), math.log(basin.high), math.log(basin.temperature)
    best = None
    for _ in range(MOST_STEPS):
        point = curve.at(math.exp(u))
        if best is None or point.loss < best.loss:
            best = point
        low, high = (u, high) if point.slope < 0 else (low, u)
        step = -point.slope / point.curvature if point.curvature > 0 else math.inf
        gain = abs(point.slope * step) / 2
        if gain <= tolerance * point.loss:
            return CurvePoint(
                math.exp(u + step), point.loss - gain, 0.0, point.curvature, point.noise
            )
        if high - low <= 1e-12:
            break
        inside = low < u + step < high and abs(step) <= LONGEST_STEP
        u = u + step if inside else (low + high) / 2
    return best


def _cubic(p: CurvePoint, q: CurvePoint) -> tuple[Callable[[float], float], list[float]]:
    """Hermite cubic over s in [0, 1] from p to q in log T, and the s in (0, 1) of its minima."""
    width = math.log(q.temperature / p.temperature)
    left, right, rise = p.slope * width, q.slope * width, q.loss - p.loss
    a, b = left + right - 2 * rise, 3 * rise - 2 * left - right

    def value(s: float) -> float:
        return p.loss + s * (left + s * (b + s * a))

    discriminant = b * b - 3 * a * left
    if discriminant < 0 or (a == 0 and b <= 0):
        return value, []
    # the root with rising derivative, in the form without cancellation
    root = math.sqrt(discriminant)
    minimum = (
        (root - b) / (3 * a) if b <= 0 and a != 0 else -left / (b + root) if b + root else -1.0
    )
    return value, [minimum] if 0 < minimum < 1 else []


def _hides(p: CurvePoint, q: CurvePoint, bound: float, ripple: float) -> bool:
    """Whether points that both rise, or both fall, may have a dip below ``bound`` between them."""
    value, minima = _cubic(p, q)
    shallow = (1 - ripple) * min(p.loss, q.loss)
    return (p.slope < 0) == (q.slope < 0) and any(value(s) < min(bound, shallow) for s in minima)


def _basin(points: list[CurvePoint]) -> Basin:
    p, q = points[0], points[-1]
    temperature = math.sqrt(p.temperature * q.temperature)
    loss = min(point.loss for point in points)
    if len(points) > 2:
        temperature = min(points[1:-1], key=lambda point: point.loss).temperature
    else:
        value, minima = _cubic(p, q)
        for s in minima:
            temperature = p.temperature * (q.temperature / p.temperature) ** s
            loss = min(loss, value(s))
    return Basin(p.temperature, q.temperature, temperature, loss)
