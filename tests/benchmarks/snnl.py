"""The soft nearest neighbor loss at one temperature, and the memory that it takes."""

import threading
import time

import numpy as np
import torch

from entangle_cli import soft_nearest_neighbor_loss
from tests.benchmarks import rivals
from tests.benchmarks.ceilings import exp2_rate, product_rate
from tests.benchmarks.harness import Bench
from tests.benchmarks.layers import COUNT, Layer, mixture, real_layers

DIMENSIONS = (64, 512, 2048)
MANY = 60_000


def limit(bench: Bench, count: int, dimension: int) -> float:
    """Seconds of half the product and half the exponentials of all pairs, at the machine's best."""
    product = 2 * count**2 * dimension / product_rate(bench, dimension)
    return (product + count**2 / exp2_rate(bench)) / 2


def run(bench: Bench) -> None:
    """Mixtures, then real layers where there are any, then the memory of many points."""
    for dimension in DIMENSIONS:
        layer = mixture(COUNT, dimension)
        _compare(bench, layer, 0.3 * dimension, everyone=True)
    for layer in [] if bench.shared is None else real_layers(bench.shared):
        points = layer[1]
        spread = float(points.var(0, dtype=np.float64).sum())
        _compare(bench, layer, 2 * rivals.TYPICAL * spread, everyone=False)
    _memory()


def _compare(bench: Bench, layer: Layer, temperature: float, *, everyone: bool) -> None:
    name, points, labels = layer
    x, y = torch.from_numpy(points), torch.from_numpy(labels)
    x = x - x.mean(0)
    chosen = {
        "ours": lambda: soft_nearest_neighbor_loss(points, labels, temperature=temperature),
        "torch in chunks": lambda: rivals.chunked(x, y, temperature),
    }
    if everyone:
        chosen["torch, n x n"] = lambda: rivals.naive(x, y, temperature)
        if rivals.has_keops():
            chosen["KeOps"] = lambda: rivals.keops(x, y, temperature)
    exact = soft_nearest_neighbor_loss(points, labels, temperature=temperature, precision="float64")
    errors = ", ".join(f"{who} {abs(run() / exact - 1):.0e}" for who, run in chosen.items())
    bench.compare(
        f"loss at one temperature, {name}, n = {len(points)}",
        chosen,
        limits={"half the product and the exponentials": limit(bench, *points.shape)},
        rounds=min(bench.rounds, 3),
        notes=f"relative error: {errors}",
    )


def _memory() -> None:
    for count in (COUNT, MANY):
        _, points, labels = mixture(count, DIMENSIONS[0])
        start, mebibytes = time.process_time(), _peak(points, labels)
        taken = time.process_time() - start
        print(f"\n  n = {count}, d = 64: {mebibytes:.0f} MiB beside the points, {taken:.2f} s")


def _peak(points: np.ndarray, labels: np.ndarray) -> float:
    """Most resident memory above what there was before, sampled every 2 ms."""
    stop, before = threading.Event(), _resident()
    seen = [before]

    def watch() -> None:
        while not stop.wait(0.002):
            seen.append(_resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    soft_nearest_neighbor_loss(points, labels, temperature=20.0)
    stop.set()
    watcher.join()
    return (max(seen) - before) / 2**20


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
