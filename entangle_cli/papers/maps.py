"""Points of many numbers as points of the plane, to look at; no measure is taken there.

Reference: van der Maaten, Hinton, "Visualizing data using t-SNE", 2008.
"""

import numpy as np

# numbers that principal components leave, as is usual before t-SNE
_COMPONENTS = 50
PERPLEXITY = 30.0


def tsne(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """A t-SNE map ``(n, 2)`` float32 of points ``(n, d)``; started from principal components.

    Perplexity 30, less where there are few points. Euclidean distances, after PCA to 50 numbers.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    most = min(_COMPONENTS, *points.shape)
    # the sign of a component is arbitrary, but the same at every run
    reduced = PCA(most, svd_solver="full").fit_transform(points.astype(np.float64))
    # at most a third of the points can be neighbors
    perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
    made = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return made.fit_transform(reduced).astype(np.float32)
