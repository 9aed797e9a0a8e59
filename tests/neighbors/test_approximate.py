"""The adapter around pynndescent: what it makes of bad answers, and one real search."""

import builtins
import sys

import numpy as np
import pytest
from fake_graph import install

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.approximate import ApproximateIndex
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.recall import recall


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


def test_missing_neighbors_are_marked_last_and_counted(points, monkeypatch):
    def spoil(indices, distances):
        indices[0, 1], distances[0, 1] = -1, np.inf
        distances[1, 0] = np.inf
        return indices, distances

    install(monkeypatch, spoil)
    notes = []
    found = ApproximateIndex(points, notes=notes).query(points[:5], k=4)
    assert found.missing == 2
    assert (found.indices[:2, 3] == -1).all()
    assert np.isinf(found.distances[:2, 3]).all()
    assert (found.indices[2:] >= 0).all()
    assert any("2 of 20 were not found (2 of 5 queries)" in note for note in notes)


def test_repeated_answers_count_once(points, monkeypatch):
    def spoil(indices, distances):
        indices[:, 1:], distances[:, 1:] = indices[:, :1], distances[:, :1]
        return indices, distances

    install(monkeypatch, spoil)
    found = ApproximateIndex(points).query(points[:5], k=4)
    assert found.indices[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (found.indices[:, 1:] == -1).all()


def test_distances_are_measured_again_and_sorted(points, monkeypatch):
    def spoil(indices, distances):
        return indices[:, ::-1], np.zeros_like(distances)

    install(monkeypatch, spoil)
    for metric in ("cosine", "euclidean"):
        found = ApproximateIndex(points, metric=metric).query(points[:5], k=4)
        exact = ExactIndex(points, metric=metric).query(points[:5], k=4)
        assert found.indices.tolist() == exact.indices.tolist()
        assert found.distances.tobytes() == exact.distances.tobytes()


def test_zero_vectors_stay_out_of_the_graph(points, monkeypatch):
    points[[3, 9]] = 0
    graph = install(monkeypatch)
    index = ApproximateIndex(points, metric="cosine")
    assert len(graph.built[0].data) == 198
    found = index.query(points, k=150)
    assert found.missing == 0
    assert found.distances.tobytes() == ExactIndex(points).query(points, k=150).distances.tobytes()


def test_recall_is_measured_on_the_first_query_of_each_k(points, monkeypatch):
    def spoil(indices, distances):
        indices[:, -1] = -1
        return indices, distances

    install(monkeypatch, spoil)
    notes = []
    index = ApproximateIndex(points, notes=notes)
    for k in (4, 4, 10):
        index.query(points, k=k)
    measured = [note for note in notes if "recall" in note]
    assert measured == [
        "approximate neighbors: recall 0.7500 of the exact 4 nearest, measured on 200 queries",
        "approximate neighbors: recall 0.9000 of the exact 10 nearest, measured on 200 queries",
    ]


def test_the_library_speaks_through_notes(points, monkeypatch):
    graph = install(monkeypatch)
    notes = []
    ApproximateIndex(points, seed=11, notes=notes)
    assert "takes about a minute" in notes[0]
    assert notes[1] == "pynndescent: Failed to find all."
    assert graph.built[0].random_state == 11


def test_too_few_points_for_a_graph_are_refused(points, monkeypatch):
    install(monkeypatch)
    points[50:] = 0
    with pytest.raises(MeasureError, match=r"50 points that are not zero vectors; .* at least 60"):
        ApproximateIndex(points)


def test_a_missing_library_is_said_in_one_line(points, monkeypatch):
    found = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "pynndescent":
            raise ImportError("no module", name=name)
        return found(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "pynndescent", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MeasureError, match=r"cannot be imported \(pynndescent\); install it or"):
        ApproximateIndex(points)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_real_graph_finds_what_the_exact_search_finds(metric):
    generator = np.random.default_rng(1)
    centers = 3 * generator.normal(size=(10, 24))
    points = centers[generator.integers(0, 10, 4000)] + generator.normal(size=(4000, 24))
    points[100:140], points[[5, 6]] = points[7], 0
    queries, own = points[:500], np.arange(500)
    answers = [
        ApproximateIndex(points, metric=metric, seed=2).query(queries, k=30, exclude=own)
        for _ in range(2)
    ]
    exact = ExactIndex(points, metric=metric).query(queries, k=30, exclude=own)
    assert recall(answers[0], exact) >= 0.99
    assert not (answers[0].indices == own[:, None]).any()
    assert answers[0].indices.tobytes() == answers[1].indices.tobytes()
    assert answers[0].distances.tobytes() == answers[1].distances.tobytes()
