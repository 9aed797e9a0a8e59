"""Soft nearest neighbor loss, arXiv 1902.01889, eq. 1: loops over points, log-sum-exp, float64."""

import math

import numpy as np
from scipy.spatial.distance import cdist


def distance(x, z, metric="euclidean"):
    """Squared Euclidean distance, or 1 - cos with cos := 0 where a vector is zero."""
    if metric == "euclidean":
        return math.fsum((float(a) - float(b)) ** 2 for a, b in zip(x, z, strict=True))
    lengths = (
        math.sqrt(math.fsum(float(a) ** 2 for a in x)),
        math.sqrt(math.fsum(float(b) ** 2 for b in z)),
    )
    if 0.0 in lengths:
        return 1.0
    # half the squared distance of unit vectors: no cancellation for nearly equal directions
    units = zip(x, z, strict=True)
    return 0.5 * math.fsum((float(a) / lengths[0] - float(b) / lengths[1]) ** 2 for a, b in units)


def log_sum_exp(values):
    """log(sum(exp(values))), without overflow."""
    top = max(values)
    return top + math.log(math.fsum(math.exp(value - top) for value in values))


def snnl(points, labels, temperature, metric="euclidean"):
    """Mean over points with a same-class neighbor; those alone in their class stay neighbors."""
    losses = []
    for i in range(len(points)):
        same, other = [], []
        for j in range(len(points)):
            if j == i:
                continue
            exponent = -distance(points[i], points[j], metric) / temperature
            (same if labels[j] == labels[i] else other).append(exponent)
        if not same:
            continue
        if not other:
            losses.append(0.0)
            continue
        a = log_sum_exp(other) - log_sum_exp(same)
        losses.append(max(a, 0.0) + math.log1p(math.exp(-abs(a))))
    return math.fsum(losses) / len(losses)


def ceiling(labels):
    """Limit at infinite temperature."""
    labels = list(labels)
    counts = [labels.count(label) for label in labels]
    terms = [-math.log((c - 1) / (len(labels) - 1)) for c in counts if c > 1]
    return math.fsum(terms) / len(terms)


def nearest_neighbor_accuracy(points, labels, metric="euclidean"):
    """Leave-one-out 1-NN accuracy, the first of equally near points deciding."""
    hits = 0
    for i in range(len(points)):
        others = [j for j in range(len(points)) if j != i]
        nearest = min(others, key=lambda j: (distance(points[i], points[j], metric), j))
        hits += labels[nearest] == labels[i]
    return hits / len(points)


def all_distances(points):
    """Squared Euclidean distances by differences, float64 ``(n, n)``."""
    points = np.asarray(points, dtype=np.float64)
    return cdist(points, points, "sqeuclidean")


def snnl_of_distances(distances, labels, temperature):
    """The same loss from a full matrix of distances, with masks."""
    labels = np.asarray(labels)
    same = labels[:, None] == labels[None, :]
    logs = -distances / temperature
    parts = []
    for mask in (same & ~np.eye(len(labels), dtype=bool), ~same):
        values = np.where(mask, logs, -np.inf)
        top = values.max(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            parts.append(top[:, 0] + np.log(np.exp(values - top).sum(1)))
    keep = same.sum(1) > 1
    return float(np.logaddexp(0.0, parts[1] - parts[0])[keep].mean())
