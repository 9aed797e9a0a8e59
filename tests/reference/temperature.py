"""Minimum over temperature on the full matrix: a grid, then Brent in every dip of it, float64."""

import numpy as np
from scipy.optimize import minimize_scalar

from tests.reference.snnl import snnl_of_distances


def minimum(distances, labels, *, low=1e-4, high=1e3, per_octave=4):
    """(loss, temperature, local minima) over T from low to high times the median distance."""
    labels = np.asarray(labels)
    scale = np.median(distances[~np.eye(len(labels), dtype=bool)])
    steps = int(per_octave * np.log2(high / low))
    grid = np.log(scale) + np.linspace(np.log(low), np.log(high), steps + 1)

    def loss(u):
        return snnl_of_distances(distances, labels, np.exp(u))

    values = [loss(u) for u in grid]
    dips = [k for k in range(1, steps) if values[k] < values[k - 1] and values[k] <= values[k + 1]]
    found = []
    for k in dips:
        result = minimize_scalar(
            loss, bounds=(grid[k - 1], grid[k + 1]), method="bounded", options={"xatol": 1e-7}
        )
        found.append((result.fun, np.exp(result.x)))
    return (*min(found), len(found))
