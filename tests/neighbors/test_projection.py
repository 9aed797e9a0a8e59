"""The graph's view of wide points: principal directions of a sample."""

import numpy as np
import pytest
import torch
from fake_graph import install

from entangle_cli.neighbors import projection
from entangle_cli.neighbors.approximate import ApproximateIndex
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.pointset import open_points
from entangle_cli.neighbors.projection import Projection
from entangle_cli.neighbors.recall import recall


def project(points, *, seed=0):
    opened = open_points(points, "euclidean", torch.device("cpu"))
    rows = np.arange(len(points))
    view = Projection(opened, rows, seed=seed)
    return view, view(opened, rows)


def flat(generator, count, width, rank):
    """Points in a subspace of this rank, far from the origin."""
    directions = generator.normal(size=(rank, width))
    return (generator.normal(size=(count, rank)) @ directions + 40).astype(np.float32)


def test_narrow_points_are_only_centered():
    points = np.random.default_rng(0).normal(size=(50, projection.WIDEST)).astype(np.float32)
    view, matrix = project(points)
    assert view.width is None
    assert matrix.shape == points.shape
    assert np.allclose(matrix.mean(axis=0), 0, atol=1e-6)


def test_distances_inside_the_subspace_are_kept():
    points = flat(np.random.default_rng(1), 90, 700, rank=12)
    view, matrix = project(points)
    # rounding to float32 leaves a little outside of the subspace
    assert 12 <= view.width <= 90
    assert view.share == pytest.approx(1, abs=1e-9)
    true = np.linalg.norm(points[:1].astype(np.float64) - points, axis=1)
    seen = np.linalg.norm(matrix[:1] - matrix, axis=1)
    ratio = seen[1:] / true[1:]
    # coordinates are scaled by a power of two
    assert np.allclose(ratio, ratio[0], rtol=1e-4)


def test_at_most_as_many_directions_as_stated_and_their_share(monkeypatch):
    monkeypatch.setattr(projection, "DIRECTIONS", 5)
    points = np.random.default_rng(2).normal(size=(300, 600)).astype(np.float32)
    view, matrix = project(points)
    assert matrix.shape == (300, 5)
    spectrum = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) ** 2
    assert view.share == pytest.approx(spectrum[:5].sum() / spectrum.sum(), rel=1e-5)


def test_equal_points_have_no_directions():
    view, matrix = project(np.ones((70, 600), dtype=np.float32))
    assert view.width is None
    assert not matrix.any()


def test_the_same_seed_gives_the_same_view(monkeypatch):
    monkeypatch.setattr(projection, "SAMPLE_ROWS", 40)
    points = np.random.default_rng(3).normal(size=(120, 600)).astype(np.float32)
    first, again, other = (project(points, seed=seed)[1].tobytes() for seed in (0, 0, 1))
    assert first == again != other


def test_a_graph_on_fewer_directions_still_gives_true_distances(monkeypatch):
    graph = install(monkeypatch)
    generator = np.random.default_rng(4)
    points = flat(generator, 200, 600, rank=8) + generator.normal(size=(200, 600)) * 0.1
    points = points.astype(np.float32)
    monkeypatch.setattr(projection, "DIRECTIONS", 8)
    notes = []
    index = ApproximateIndex(points, metric="euclidean", notes=notes)
    assert graph.built[0].data.shape == (200, 8)
    assert any("sees 8 principal coordinates of 600" in note for note in notes)
    found = index.query(points, k=10, exclude=np.arange(200))
    exact = ExactIndex(points, metric="euclidean").query(points, k=10, exclude=np.arange(200))
    assert recall(found, exact) > 0.95
    same = found.indices == exact.indices
    assert found.distances[same].tobytes() == exact.distances[same].tobytes()
