"""Which search suits some points: the exact one wherever it is quick enough.

*Cost model* of the exact search of ``q`` queries among ``n`` points of ``d`` entries:

    seconds = q n (2 d / rate + c)

``rate`` is what a product of single precision reaches on the device now, measured for a moment in
floating point operations per second where it matters; c is what one score costs beyond the product.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.approximate import FEWEST_POINTS, ApproximateIndex
from entangle_cli.neighbors.coordinates import as_points
from entangle_cli.neighbors.distances import product
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import NeighborIndex, check_metric
from entangle_cli.progress import Progress, silent

METHODS = ("auto", "exact", "approximate")
# An approximate index costs about a minute of compiling and as long again of building, and gives up
# exactness: it has to save more than that
EXACT_SECONDS = 300.0
# Measured on one core with k = 75 and 60,000 points; on a GPU estimated from its memory bandwidth
SECONDS_PER_SCORE = {"cpu": 4e-9, "cuda": 5e-11}
SLOWEST_RATE = 5e9
PROBE_SHAPE = (512, 2048)
# Long enough to meet a moment when nobody else uses the processor
PROBE_SECONDS = 0.3


def build_index(  # noqa: PLR0913 - the options of one search
    points: np.ndarray | Tensor,
    *,
    metric: str = "cosine",
    method: str = "auto",
    queries: int | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Progress = silent,
    notes: list[str] | None = None,
    scratch: Path | None = None,
) -> NeighborIndex:
    """An index of points ``(n, d)``; ``auto`` is exact where that takes five minutes at most.

    ``queries`` is how many will be asked for in all, as many as there are points if not given;
    ``seed`` is for the approximate index alone. What was chosen and why is added to ``notes``.
    Answers lie in an unlinked file in the folder ``scratch`` where one is given.

    Raises:
        MeasureError: an unknown metric or method, no points, a value that is not finite.
    """
    notes = [] if notes is None else notes
    check_metric(metric)
    if method not in METHODS:
        raise MeasureError(f"search {method!r} is unknown; use {', '.join(METHODS)}")
    points, device = as_points(points), torch.device(device)
    if method == "auto":
        method = choose(points.shape, queries, device=device, notes=notes)
    shared = {"metric": metric, "progress": progress, "notes": notes, "scratch": scratch}
    if method == "exact":
        return ExactIndex(points, device=device, **shared)
    return ApproximateIndex(points, seed=seed, **shared)


def choose(
    shape: tuple[int, int], queries: int | None, *, device: torch.device, notes: list[str]
) -> str:
    """How to search points ``(n, d)``; the reason goes to ``notes``."""
    count, dimension = shape
    queries = count if queries is None else queries
    # what any machine does quickly is not worth a measurement
    rate = SLOWEST_RATE
    if exact_seconds(count, dimension, queries, rate=rate, device=device.type) > EXACT_SECONDS:
        rate = product_rate(dimension, device)
    seconds = exact_seconds(count, dimension, queries, rate=rate, device=device.type)
    method = "approximate" if seconds > EXACT_SECONDS and count > FEWEST_POINTS else "exact"
    notes.append(
        f"{method} neighbors: the exact search for {queries} queries among {count} points of "
        f"{dimension} entries takes {'at most' if rate == SLOWEST_RATE else 'about'} "
        f"{seconds:.0f} s at {rate / 1e9:.0f} GFLOP/s, "
        f"the limit is {EXACT_SECONDS:.0f} s"
    )
    return method


def exact_seconds(
    count: int, dimension: int, queries: int, *, rate: float, device: str = "cpu"
) -> float:
    """Estimated seconds of an exact search, ``q n (2 d / rate + c)``."""
    return queries * count * (2 * dimension / rate + SECONDS_PER_SCORE.get(device, 0.0))


def product_rate(dimension: int, device: torch.device) -> float:
    """Floating point operations a second of a float32 product with rows of d entries."""
    dimension = min(dimension, 2048)
    rows, columns = PROBE_SHAPE
    x, y = (torch.ones((count, dimension), device=device) for count in PROBE_SHAPE)
    bias = torch.zeros(columns, device=device)
    best, end = float("inf"), time.perf_counter() + PROBE_SECONDS
    # the first run also loads the library; reading a value waits for the device
    while (start := time.perf_counter()) < end or best == float("inf"):
        float(product(x, y, bias)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * rows * columns * dimension / best
