"""The least loss over all temperatures: time, passes over all pairs, and error."""

import numpy as np
import torch

from entangle_cli import entanglement
from tests.benchmarks import rivals
from tests.benchmarks.harness import Bench
from tests.benchmarks.layers import COUNT, Layer, mixture, real_layers
from tests.benchmarks.snnl import DIMENSIONS, limit

# A bracket about the minimum that is known by then; its end is exact to far below the error allowed
NARROW, FINE = 0.3, 1e-4


def run(bench: Bench) -> None:
    """Mixtures whose classes overlap in any dimension, and real layers where there are any."""
    # classes as far apart as in 64 dimensions
    layers = [mixture(COUNT, d, spread=0.35 * (64 / d) ** 0.25) for d in DIMENSIONS]
    if bench.shared is not None:
        layers += real_layers(bench.shared)
    worst = passes = 0.0
    for layer in layers:
        error, visits = _compare(bench, layer)
        worst, passes = max(worst, error), max(passes, visits)
    print(f"\n  of {len(layers)} layers: error at most {worst:.1e}, passes at most {passes:.0f}")


def _compare(bench: Bench, layer: Layer) -> tuple[float, int]:
    name, points, labels = layer
    x, y = torch.from_numpy(points), torch.from_numpy(labels)
    x = x - x.mean(0)
    found = entanglement(points, labels)
    exact = _exact(points, labels, found.temperature) if found.temperature else found.snnl
    theirs = rivals.brent(lambda temperature: rivals.chunked(x, y, temperature), points)
    error = abs(found.snnl / exact - 1) if exact else abs(found.snnl)
    bench.compare(
        f"least loss over temperature, {name}, {points.shape[0]} x {points.shape[1]}",
        {
            "ours": lambda: entanglement(points, labels),
            "torch in chunks, Brent": lambda: rivals.brent(
                lambda temperature: rivals.chunked(x, y, temperature), points
            ),
        },
        limits={"one pass: half the product, exponentials": limit(bench, *points.shape)},
        rounds=1,
        notes=(
            f"loss {found.snnl:.7g} at {found.temperature:.4g}, error {error:.1e}, "
            f"{found.passes} passes, {found.local_minima} minima; "
            f"theirs {theirs[0]:.7g} at {theirs[1]:.4g}, {theirs[2]} passes"
        ),
    )
    return error, found.passes


def _exact(points: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Least loss by Brent in float64 near a temperature."""
    from scipy.optimize import minimize_scalar

    loss, middle = rivals.exact_loss(points, labels), np.log2(temperature)
    found = minimize_scalar(
        lambda power: loss(2.0**power),
        bounds=(middle - NARROW, middle + NARROW),
        method="bounded",
        options={"xatol": FINE},
    )
    return found.fun
