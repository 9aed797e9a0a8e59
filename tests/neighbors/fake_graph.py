"""A stand-in for pynndescent: a brute-force graph that can be told to fail as the real one does."""

import sys
import types
import warnings

import numpy as np


class FakeGraph:
    """What ``NNDescent`` offers to the adapter; ``spoil`` rewrites its answers."""

    built = ()

    def __init__(self, data, *, metric, n_neighbors, random_state):
        assert metric == "euclidean"
        assert data.dtype == np.float32
        assert n_neighbors < len(data)
        self.data, self.random_state = data, random_state
        type(self).built = (*self.built, self)

    def prepare(self):
        warnings.warn("Failed to find all.\nTry again.", UserWarning, stacklevel=2)

    def query(self, points, *, k, epsilon):
        assert 0.2 <= epsilon <= 0.3
        squares = ((points[:, None, :] - self.data[None]).astype(np.float64) ** 2).sum(2)
        indices = np.argsort(squares, axis=1, kind="stable")[:, :k].astype(np.int32)
        return self.spoil(indices, np.sqrt(np.take_along_axis(squares, indices, 1)))

    def spoil(self, indices, distances):
        return indices, distances


def install(monkeypatch, spoil=None):
    """Make ``import pynndescent`` give the stand-in; returns its class."""
    graph = type("NNDescent", (FakeGraph,), {"built": ()})
    if spoil is not None:
        graph.spoil = lambda self, indices, distances: spoil(indices, distances)
    module = types.ModuleType("pynndescent")
    module.NNDescent = graph
    monkeypatch.setitem(sys.modules, "pynndescent", module)
    return graph
