"""Principal components of centered points by a full singular value decomposition, float64."""

import numpy as np


def principal_scores(points, count, others=None):
    """Scores of the points (or of others) on the first axes, each axis of either sign."""
    points = np.asarray(points, dtype=np.float64)
    center = points.mean(axis=0)
    _, _, axes = np.linalg.svd(points - center, full_matrices=False)
    return ((points if others is None else others) - center) @ axes[:count].T
