"""FGSM and BIM written for a linear softmax classifier, whose gradients are known by hand."""

import numpy as np


def gradient(inputs, labels, weight, bias):
    """Of the cross-entropy of ``softmax(x W' + b)``: ``(p - onehot) W``, row by row."""
    rows = []
    for x, label in zip(inputs, labels, strict=True):
        scores = weight @ x + bias
        p = np.exp(scores - scores.max())
        p /= p.sum()
        p[label] -= 1
        rows.append(weight.T @ p)
    return np.array(rows)


def bim(inputs, labels, weight, bias, *, epsilon, step, steps, sign=1.0):
    """Signs of gradients, clipped to the ball and to [0, 1] after every step."""
    moved = inputs.copy()
    for _ in range(steps):
        moved = moved + sign * step * np.sign(gradient(moved, labels, weight, bias))
        moved = np.clip(moved, inputs - epsilon, inputs + epsilon)
        moved = np.clip(moved, 0.0, 1.0)
    return moved
