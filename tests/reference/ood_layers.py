"""Out-of-distribution scores of hidden layers in loops over points, float64."""

import math
from fractions import Fraction

import numpy as np
from scipy.special import logsumexp

from tests.reference.snnl import distance


def mean_of(points):
    return [math.fsum(column) / len(points) for column in zip(*points, strict=True)]


def outer_sum(vectors, count):
    total = np.zeros((len(vectors[0]), len(vectors[0])))
    for vector in vectors:
        total += np.outer(vector, vector)
    return total / count


def pseudo_inverse(matrix, tolerance=1e-10):
    values, vectors = np.linalg.eigh(matrix)
    inverse = np.zeros_like(matrix)
    for value, vector in zip(values, vectors.T, strict=True):
        if value > tolerance * values[-1]:
            inverse += np.outer(vector, vector) / value
    return inverse


def mahalanobis(train, labels, queries, background=False):
    """min_c d_c, or min_c (d_c - d_0); points labeled -1 are left out."""
    points = [np.array(x, dtype=np.float64) for x, y in zip(train, labels, strict=True) if y >= 0]
    classes = [y for y in labels if y >= 0]
    means = {
        c: np.array(mean_of([x for x, y in zip(points, classes, strict=True) if y == c]))
        for c in set(classes)
    }
    apart = [x - means[y] for x, y in zip(points, classes, strict=True)]
    inverse = pseudo_inverse(outer_sum(apart, len(points)))
    middle = np.array(mean_of(points))
    all_inverse = pseudo_inverse(outer_sum([x - middle for x in points], len(points)))
    scores = []
    for query in queries:
        query = np.array(query, dtype=np.float64)
        nearest = min((query - mean) @ inverse @ (query - mean) for mean in means.values())
        if background:
            nearest -= (query - middle) @ all_inverse @ (query - middle)
        scores.append(nearest)
    return np.array(scores)


def knn(train, queries, k, normalize):
    """Distance to the k-th nearest of all training points."""

    def prepared(x):
        x = np.array(x, dtype=np.float64)
        return x / math.sqrt(math.fsum(x * x)) if normalize else x

    bank = [prepared(x) for x in train]
    return np.array([sorted(math.dist(prepared(x), b) for b in bank)[k - 1] for x in queries])


def local_dimension(distances):
    """Maximum likelihood from ascending positive distances that are not all equal."""
    logs = [math.log(r / distances[-1]) for r in distances]
    return -1.0 / (math.fsum(logs) / len(logs))


def soft_neighbor_loss(reference, labels, query, predicted, temperature):
    exponents = [-distance(query, r) / temperature for r in reference]
    same = [e for e, label in zip(exponents, labels, strict=True) if label == predicted]
    return float(logsumexp(exponents) - logsumexp(same))


def neighbor_count(indices_by_layer, train_labels, predicted):
    """Minus the neighbors of one input, over all layers, that have the predicted label."""
    return -sum(
        1
        for indices in indices_by_layer
        for index in indices
        if index >= 0 and train_labels[index] == predicted
    )


def p_value(score, calibration):
    return Fraction(1 + sum(1 for a in calibration if a >= score), len(calibration) + 1)


def fisher_statistic(scores, calibrations):
    """-2 sum of log p of one input from its scores per layer."""
    pairs = zip(scores, calibrations, strict=True)
    return -2.0 * math.fsum(math.log(p_value(score, known)) for score, known in pairs)


def brown(calibrations):
    """(c, f): the variance 4 of every layer, correlations from p-values of one among the rest."""
    logs = []
    for known in calibrations:
        others = [known[:i] + known[i + 1 :] for i in range(len(known))]
        logs.append([-2 * math.log(p_value(s, o)) for s, o in zip(known, others, strict=True)])
    count, variance = len(logs), 0.0
    for i in range(count):
        for j in range(count):
            if i == j:
                variance += 4.0
            elif len(set(logs[i])) > 1 and len(set(logs[j])) > 1:
                variance += 4.0 * float(np.corrcoef(logs[i], logs[j])[0, 1])
    variance, mean = max(variance, 4.0 * count), 2.0 * count
    return variance / (2.0 * mean), 2.0 * mean**2 / variance
