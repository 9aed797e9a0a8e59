"""Outlier scores from penultimate features, one input at a time, from the papers; float64.

``weight`` and ``bias`` are those of the last linear layer; scores are higher for outliers.
"""

import math

import numpy as np

from tests.reference.ood_logits import softmax
from tests.reference.snnl import log_sum_exp


def logits(f, weight, bias):
    """Class scores of one input."""
    return [
        math.fsum(float(w) * float(x) for w, x in zip(row, f, strict=True)) + float(b)
        for row, b in zip(weight, bias, strict=True)
    ]


def energy(f, weight, bias):
    """Minus log sum exp of the class scores."""
    return -log_sum_exp(logits(f, weight, bias))


def predicted(z):
    """The first of the largest scores."""
    return list(z).index(max(z))


def length(f):
    """Euclidean length."""
    return math.sqrt(math.fsum(float(x) ** 2 for x in f))


def mean(rows):
    """Mean of vectors."""
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def inner(a, b):
    """Inner product."""
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def percentile(values, p):
    """Linear between the two nearest of the sorted values."""
    values = sorted(float(value) for value in values)
    position = p / 100 * (len(values) - 1)
    low = math.floor(position)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (position - low)


def react(f, threshold, weight, bias):
    """Energy with values cut off at the threshold."""
    return energy([min(float(x), threshold) for x in f], weight, bias)


def dice(f, training, weight, bias, p=90):
    """Energy with the weights of the largest mean contributions alone."""
    center = mean(training)
    contributions = [[w * m for w, m in zip(row, center, strict=True)] for row in weight]
    limit = percentile([value for row in contributions for value in row], p)
    masked = [
        [w if v >= limit else 0.0 for w, v in zip(row, values, strict=True)]
        for row, values in zip(weight, contributions, strict=True)
    ]
    return energy(f, masked, bias)


def kept_units(f, p):
    """Numbers of the largest values, the first of equal ones."""
    k = max(1, len(f) - round(len(f) * p / 100))
    return set(sorted(range(len(f)), key=lambda unit: (-f[unit], unit))[:k])


def shaped(f, method, p):
    """ASH-P, ASH-B, ASH-S and SCALE."""
    f = [float(x) for x in f]
    kept = kept_units(f, p)
    every, large = math.fsum(f), math.fsum(f[unit] for unit in kept)
    factor = math.exp(every / large) if any(f) and method in ("ash_s", "scale") else 1.0
    if method == "scale":
        return [x * factor for x in f]
    value = {
        "ash_p": lambda unit: f[unit],
        "ash_b": lambda unit: every / len(kept),
        "ash_s": lambda unit: f[unit] * factor,
    }[method]
    return [value(unit) if unit in kept else 0.0 for unit in range(len(f))]


def residual(f, training, weight, bias, dimensions):
    """Length outside the principal space: f minus its projections on the largest directions."""
    origin = np.linalg.lstsq(np.asarray(weight), -np.asarray(bias), rcond=None)[0]
    centered = np.asarray(training, dtype=np.float64) - origin
    directions = np.linalg.svd(centered, full_matrices=False)[2][:dimensions]
    rest = np.asarray(f, dtype=np.float64) - origin
    for direction in directions:
        rest = rest - inner(rest, direction) * direction
    return length(rest)


def vim(f, training, weight, bias, dimensions):
    """Virtual logit minus log sum exp."""
    largest = mean([[max(logits(row, weight, bias))] for row in training])[0]
    typical = mean([[residual(row, training, weight, bias, dimensions)] for row in training])[0]
    own = residual(f, training, weight, bias, dimensions)
    return largest / typical * own + energy(f, weight, bias)


def gradnorm(f, z):
    """Minus the sum of the sizes of all entries of the gradient, (p - 1/C) f'."""
    p = softmax(z)
    return -math.fsum(abs((q - 1 / len(p)) * float(x)) for q in p for x in f)


def she(f, z, training, scores, labels):
    """Minus the inner product with the mean of the correctly classified ones; 0 without any."""
    own = predicted(z)
    members = [
        row
        for row, s, label in zip(training, scores, labels, strict=True)
        if label == own and predicted(s) == label
    ]
    return -inner(f, mean(members)) if members else 0.0


def nnguide(f, bank, weight, bias, k):
    """Minus the energy times the mean of the largest guided cosines."""
    guides = []
    for row in bank:
        lengths = length(f) * length(row)
        cosine = inner(f, row) / lengths if lengths else 0.0
        guides.append(-energy(row, weight, bias) * cosine)
    largest = sorted(guides, reverse=True)[:k]
    return energy(f, weight, bias) * math.fsum(largest) / len(largest)


def fdbd(f, training, weight, bias):
    """Minus the mean boundary distance per distance from the mean; equal weights are left out."""
    z = logits(f, weight, bias)
    own = predicted(z)
    distances = []
    for other in range(len(z)):
        apart = length([a - b for a, b in zip(weight[own], weight[other], strict=True)])
        if apart > 0:
            distances.append(abs(z[own] - z[other]) / apart)
    away = length([x - m for x, m in zip(f, mean(training), strict=True)])
    return -math.fsum(distances) / len(distances) / away


def nci(f, training, weight, bias, share=1e-4):
    """Minus the projection on the predicted class's weights plus a share of the L1 norm."""
    own = predicted(logits(f, weight, bias))
    away = [x - m for x, m in zip(f, mean(training), strict=True)]
    lengths = length(away)
    along = inner(weight[own], away) / lengths if lengths else 0.0
    return -along - share * math.fsum(abs(float(x)) for x in f)
