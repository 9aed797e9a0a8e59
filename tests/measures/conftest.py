"""Fixtures for the measures."""

import gzip

import numpy as np
import pytest

from tests.reference.snnl import all_distances
from tests.reference.temperature import minimum


@pytest.fixture(params=["stored", "streamed"])
def route(request, monkeypatch):
    """Both ways of computing the loss, whatever the number of points."""
    if request.param == "streamed":
        monkeypatch.setattr("entangle_cli.measures.snnl.MOST_POINTS", 0)
        monkeypatch.setattr("entangle_cli.measures.minimum.SUBSAMPLE", 100)
    return request.param


@pytest.fixture
def streamed(monkeypatch):
    """Passes over all pairs instead of a kept matrix, for a small set too."""
    monkeypatch.setattr("entangle_cli.measures.snnl.MOST_POINTS", 0)
    monkeypatch.setattr("entangle_cli.measures.minimum.SUBSAMPLE", 100)


@pytest.fixture(scope="session")
def digits(shared):
    """MNIST test images as points (10000, 784) in [0, 1], and their labels."""
    with gzip.open(shared / "data/mnist/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
    with gzip.open(shared / "data/mnist/t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read()[8:], np.uint8).astype(np.int64)
    return (pixels / 255).astype(np.float32), labels


@pytest.fixture(scope="session")
def some_digits(digits):
    """2,000 of them with their float64 distances."""
    points, labels = digits[0][:2000], digits[1][:2000]
    return points, labels, all_distances(points)


@pytest.fixture(scope="session")
def least_loss_of_digits(some_digits):
    """Their minimum over temperature; it lies between 0.004 and 0.2 median distances."""
    _, labels, distances = some_digits
    return minimum(distances, labels, low=0.004, high=0.2, per_octave=1)[0]
