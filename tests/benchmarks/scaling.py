"""How time grows with points, dimension and layers, and the exponents that fit it."""

from collections.abc import Callable, Sequence

import numpy as np

from entangle_cli.measures.snnl import soft_nearest_neighbor_loss
from entangle_cli.measures.temperature import entanglement
from entangle_cli.neighbors.exact import ExactIndex
from tests.benchmarks.harness import Bench

POINTS = (1_000, 3_000, 10_000, 30_000, 60_000)
DIMENSIONS = (16, 64, 256, 1024)


def mixture(count: int, dimension: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Points ``(n, d)`` around class centers, and labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, count)
    centers = generator.normal(size=(classes, dimension))
    points = centers[labels] + generator.normal(size=(count, dimension))
    return points.astype(np.float32), labels


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of log time over log size, of the larger half: constant costs are over there."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def _table(
    bench: Bench, title: str, sizes: Sequence[int], job: Callable[[int], Callable[[], object]]
) -> None:
    seconds = []
    for size in sizes:
        work = job(size)
        work()
        seconds.append(min(bench.seconds(work) for _ in range(2)))
    fitted = exponent(sizes, seconds)
    print(f"\n{title}: grows with the power {fitted:.2f}")
    for size, value in zip(sizes, seconds, strict=True):
        print(f"  {size:>7} {value:10.3f} s")
    bench.found.append(
        {"title": title, "sizes": list(sizes), "seconds": seconds, "exponent": fitted}
    )


def run(bench: Bench) -> None:
    """Loss at one temperature, its minimum, and neighbors."""

    def loss(count: int, dimension: int) -> Callable[[], object]:
        points, labels = mixture(count, dimension)
        return lambda: soft_nearest_neighbor_loss(points, labels, temperature=0.5 * dimension)

    def minimum(count: int, dimension: int) -> Callable[[], object]:
        points, labels = mixture(count, dimension)
        return lambda: entanglement(points, labels)

    def neighbors(count: int, dimension: int) -> Callable[[], object]:
        points, _ = mixture(count, dimension)
        queries = points[:1000]
        return lambda: ExactIndex(points, metric="euclidean").query(queries, k=75)

    _table(bench, "loss at one T, d = 64, by points", POINTS, lambda n: loss(n, 64))
    _table(bench, "minimum over T, d = 64, by points", POINTS[:-1], lambda n: minimum(n, 64))
    _table(bench, "1,000 queries, d = 64, by points", POINTS, lambda n: neighbors(n, 64))
    _table(bench, "loss at one T, n = 10,000, by d", DIMENSIONS, lambda d: loss(10_000, d))
    _table(bench, "minimum over T, n = 10,000, by d", DIMENSIONS, lambda d: minimum(10_000, d))
    _table(bench, "1,000 queries of 30,000, by d", DIMENSIONS, lambda d: neighbors(30_000, d))
