"""The typical squared distance of a set of points, as a unit for temperatures."""

import numpy as np
import torch

from entangle_cli.measures.points import PreparedPoints
from entangle_cli.measures.stored import MOST_POINTS, all_distances


def median_squared_distance(points: PreparedPoints) -> float:
    """Median over all pairs of the distance in the user's metric (squared Euclidean, or cosine).

    Above 2,500 points: over all pairs of 2,500 of them, always the same ones.
    """
    if points.count > MOST_POINTS:
        chosen = np.random.default_rng(0).permutation(points.count)[:MOST_POINTS]
        points = points.subset(np.sort(chosen))
    distances = all_distances(points)
    upper = torch.triu_indices(points.count, points.count, 1, device=distances.device)
    values = distances[upper[0], upper[1]].sort().values
    middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    return float(middle) * points.unit
