"""Outlier scores from class scores, one input at a time, written from the papers; float64."""

import math

from tests.reference.snnl import log_sum_exp


def softmax(z):
    """Probabilities; a score of -inf is a probability of 0."""
    total = log_sum_exp(list(z))
    return [math.exp(value - total) for value in z]


def msp(z):
    """1 - max p, as the sum of all other probabilities."""
    p = sorted(softmax(z))
    return math.fsum(p[:-1])


def max_logit(z):
    """Minus the largest class score."""
    return -max(z)


def energy(z):
    """Minus log sum exp."""
    return -log_sum_exp(list(z))


def entropy(z):
    """Entropy in nats, 0 log 0 = 0; the logarithm of a largest p near 1 is log(1 - the others)."""
    *others, largest = sorted(softmax(z))
    terms = [p * math.log(p) for p in others if p > 0]
    return -math.fsum([*terms, largest * math.log1p(-math.fsum(others))])


def gen(z, gamma=0.1, largest=100):
    """Sum of (p (1 - p))^gamma over the largest p; 1 - p as the sum of the others."""
    p = sorted(softmax(z), reverse=True)
    terms = []
    for index in range(min(largest, len(p))):
        rest = math.fsum(p[:index] + p[index + 1 :])
        terms.append(p[index] ** gamma * rest**gamma)
    return math.fsum(terms)


def loss(scores, labels, temperature):
    """Mean -log softmax(z / T) of the true class, unknown labels left out."""
    terms = []
    for z, label in zip(scores, labels, strict=True):
        if label >= 0:
            scaled = [value / temperature for value in z]
            terms.append(log_sum_exp(scaled) - scaled[label])
    return math.fsum(terms) / len(terms)


def divergence(p, q):
    """KL(p || q) in nats, 0 log 0 = 0, infinite where q is 0 and p is not."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            total += a * math.log(a / b) if b > 0 else math.inf
    return total


def templates(scores):
    """Mean probabilities of the inputs predicted as each class; one-hot where there are none."""
    classes = len(scores[0])
    made = []
    for label in range(classes):
        members = [softmax(z) for z in scores if list(z).index(max(z)) == label]
        if members:
            made.append([math.fsum(column) / len(members) for column in zip(*members, strict=True)])
        else:
            made.append([float(index == label) for index in range(classes)])
    return made


def kl_matching(z, made):
    """Smallest divergence from a template."""
    return min(divergence(softmax(z), template) for template in made)
