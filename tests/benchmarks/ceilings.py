"""What the machine reaches: matrix product, exp2, copy, file write; measured in the run."""

import os
import tempfile
from collections.abc import Callable
from functools import cache
from statistics import median

import numpy as np
import torch

from tests.benchmarks.harness import Bench

_ROWS, _COLUMNS = 1024, 4096


def _rate(bench: Bench, work: float, run: Callable[[], object]) -> float:
    run()
    return work / median(bench.seconds(run) for _ in range(max(5, bench.rounds)))


@cache
def _products(threads: int, dimension: int) -> dict[str, float]:
    bench = Bench(threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_ROWS, dimension, generator=generator)
    y = torch.randn(_COLUMNS, dimension, generator=generator)
    bias, out = torch.zeros(_COLUMNS), torch.empty(_ROWS, _COLUMNS)
    work = 2.0 * _ROWS * _COLUMNS * dimension
    left, right, room = x.numpy(), y.numpy(), out.numpy()
    rivals = {
        "torch.addmm": lambda: torch.addmm(bias, x, y.t(), out=out),
        "numpy.matmul": lambda: np.matmul(left, right.T, out=room),
    }
    if torch.backends.mkldnn.is_available():
        linear = torch.ops.mkldnn._linear_pointwise
        rivals["oneDNN"] = lambda: linear(x, y, bias, "none", [], "")
    return {name: _rate(bench, work, run) for name, run in rivals.items()}


def product_rate(bench: Bench, dimension: int) -> float:
    """Operations a second of the fastest float32 product with rows of d entries."""
    return max(_products(bench.threads, dimension).values())


@cache
def _exp2(threads: int) -> float:
    values = -torch.rand(1 << 16) * 20
    work = torch.empty_like(values)
    return _rate(Bench(threads), 100 * len(values), lambda: _repeat(torch.exp2, values, work))


def _repeat(function: Callable, values: torch.Tensor, out: torch.Tensor) -> None:
    for _ in range(100):
        function(values, out=out)


def exp2_rate(bench: Bench) -> float:
    """Exponentials a second in the cache."""
    return _exp2(bench.threads)


def copy_rate(bench: Bench) -> float:
    """Bytes a second of a copy of 200 MB."""
    source = np.ones(25_000_000)
    target = np.empty_like(source)
    return _rate(bench, source.nbytes, lambda: np.copyto(target, source))


def write_rate(bench: Bench) -> float:
    """Bytes a second of ``np.save`` of 64 MB, on the disk when it returns."""
    block = np.ones(16_000_000, np.float32)
    with tempfile.TemporaryDirectory() as folder:

        def save() -> None:
            with open(os.path.join(folder, "x.npy"), "wb") as file:
                np.save(file, block)
                file.flush()
                os.fdatasync(file.fileno())

        return _rate(bench, block.nbytes, save)


def run(bench: Bench) -> None:
    """Print them all."""
    print(f"\nceilings  ({bench.threads} threads)")
    for dimension in (64, 512, 2048):
        rates = _products(bench.threads, dimension)
        listed = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())
        print(f"  product, d = {dimension:<5} {listed} GFLOP/s")
    print(f"  exp2 {exp2_rate(bench) / 1e9:.2f} G/s")
    print(f"  copy {copy_rate(bench) / 1e9:.1f} GB/s")
    print(f"  write {write_rate(bench) / 1e9:.2f} GB/s")
