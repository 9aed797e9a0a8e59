"""Synthetic layers that tests of measures share."""

import numpy as np


def mixture(n, dimension=5, classes=3, spread=1.5, seed=0, dtype=np.float64):
    """Gaussian classes that overlap; at least three members each for n >= 9."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centers = generator.normal(size=(classes, dimension)) * spread
    points = centers[labels] + generator.normal(size=(n, dimension))
    return points.astype(dtype), labels


def near_duplicates(n, seed=0, offset=0.0):
    """Groups of three points 1e-3 apart, most of one class, in classes that overlap."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(n // 3, 20))
    points = np.repeat(centers, 3, 0) + 1e-3 * generator.normal(size=(n // 3 * 3, 20)) / 20**0.5
    labels = np.repeat(generator.integers(0, 3, n // 3), 3)
    strangers = generator.random(len(labels)) < 0.1
    labels[strangers] = generator.integers(0, 3, int(strangers.sum()))
    return points + offset, labels


def hierarchy(seed, n, *, blobs, coarse, offset, inner, noise, dimension, classes):
    """Blobs, in each a cluster per class, and labels drawn anew for a share of the points."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(blobs, dimension)) * coarse
    offsets = generator.normal(size=(blobs, classes, dimension)) * offset
    labels = generator.integers(0, classes, n)
    blob = generator.integers(0, blobs, n)
    points = centers[blob] + offsets[blob, labels] + generator.normal(size=(n, dimension)) * inner
    flipped = generator.random(n) < noise
    return points, np.where(flipped, generator.integers(0, classes, n), labels)
