"""How much of the truth an approximate search finds, measured against the exact one on a sample."""

import numpy as np

from entangle_cli.neighbors.interface import NeighborIndex, Neighbors

SAMPLE_QUERIES = 200


def recall(found: Neighbors, exact: Neighbors) -> float:
    """Share of the exact k nearest neighbors that were found, ``mean_i |found_i and exact_i| / k``.

    In [0, 1], larger is better; 1 without queries. A point as near as the exact k-th neighbor
    counts as found: which of several ties is listed is nobody's mistake. Both must be answers to
    the same queries.
    """
    if found.indices.size == 0:
        return 1.0
    near = (found.indices >= 0) & (found.distances <= exact.distances[:, -1:])
    return float(near.mean())


def sampled_recall(
    found: Neighbors,
    exact: NeighborIndex,
    points: np.ndarray,
    *,
    exclude: np.ndarray,
    seed: int = 0,
) -> float:
    """``recall`` of the answers to queries ``points`` ``(q, d)``, on at most 200 of them.

    ``exclude`` ``(q,)`` as it was given to the search; ``seed`` chooses the sample.
    """
    order = np.random.default_rng(seed).permutation(len(points))
    chosen = np.sort(order[:SAMPLE_QUERIES])
    truth = exact.query(points[chosen], k=found.k, exclude=exclude[chosen])
    return recall(Neighbors(found.indices[chosen], found.distances[chosen]), truth)
