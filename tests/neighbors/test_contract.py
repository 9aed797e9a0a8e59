"""What every index promises, whichever search is behind it."""

import numpy as np
import pytest
from fake_graph import install

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.opening import build_index
from tests.reference import neighbors as reference

METRICS = ["cosine", "euclidean"]


@pytest.fixture(params=["exact", "approximate"])
def build(request, monkeypatch):
    """``build_index`` with one of the methods; the approximate graph is a brute-force stand-in."""
    install(monkeypatch)

    def build(points, **options):
        return build_index(points, method=request.param, **options)

    return build


@pytest.fixture
def points():
    """150 points with copies, near-copies and zero vectors among them."""
    generator = np.random.default_rng(4)
    points = generator.normal(size=(150, 7)).astype(np.float32)
    points[20:25] = points[3]
    points[30:35] = points[4] + 1e-4
    points[[50, 60, 61]] = 0
    return points


@pytest.fixture
def queries(points):
    """A copy of a point, a zero vector and some of their own."""
    generator = np.random.default_rng(5)
    return np.concatenate([points[[3, 60]], generator.normal(size=(9, 7))]).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 6, 40])
def test_neighbors_are_those_of_brute_force(build, points, queries, metric, k):
    found = build(points, metric=metric).query(queries, k=k)
    for row, query in enumerate(queries):
        expected = reference.nearest(points, query, k, metric)
        np.testing.assert_allclose(
            found.distances[row], [distance for distance, _ in expected], rtol=1e-9, atol=1e-15
        )


@pytest.mark.parametrize("metric", METRICS)
def test_lists_are_sorted_by_distance_and_index_without_repetition(build, points, queries, metric):
    found = build(points, metric=metric).query(queries, k=40)
    for indices, distances in zip(found.indices, found.distances, strict=True):
        assert sorted(zip(distances, indices, strict=True)) == list(
            zip(distances, indices, strict=True)
        )
        assert len(set(indices)) == 40
    assert found.indices.dtype == np.int64
    assert found.distances.dtype == np.float64
    assert found.missing == 0
    assert found.k == 40
    assert len(found) == len(queries)


@pytest.mark.parametrize("metric", METRICS)
def test_a_query_leaves_itself_out_by_index_and_finds_its_copies(build, points, metric):
    own = np.array([3, 22, 60, 100])
    found = build(points, metric=metric).query(points[own], k=5, exclude=own)
    assert not (found.indices == own[:, None]).any()
    assert found.indices[0].tolist() == [20, 21, 22, 23, 24]
    assert found.indices[1].tolist() == [3, 20, 21, 23, 24]
    np.testing.assert_allclose(found.distances[:2], 0, atol=1e-12)


def test_minus_one_leaves_nothing_out(build, points):
    index = build(points, metric="euclidean")
    some = index.query(points[:4], k=3, exclude=np.array([0, -1, 2, -1]))
    plain = index.query(points[:4], k=3)
    assert some.indices[[1, 3]].tolist() == plain.indices[[1, 3]].tolist()
    assert (plain.indices[:, 0] == np.arange(4)).all()


def test_a_zero_vector_is_at_cosine_distance_one_from_everything(build, points):
    notes = []
    index = build(points, metric="cosine", notes=notes)
    found = index.query(np.zeros((2, 7)), k=4, exclude=np.array([1, -1]))
    assert found.indices.tolist() == [[0, 2, 3, 4], [0, 1, 2, 3]]
    assert (found.distances == 1).all()
    opposite = index.query(-points[:1], k=150)
    assert (opposite.distances[np.isin(opposite.indices, [50, 60, 61])] == 1).all()
    assert any("3 of 150 indexed points are zero vectors" in note for note in notes)
    assert any("2 of 2 queries are zero vectors" in note for note in notes)


@pytest.mark.parametrize("metric", METRICS)
def test_all_points_can_be_asked_for(build, points, queries, metric):
    found = build(points, metric=metric).query(queries, k=150)
    assert (np.sort(found.indices, axis=1) == np.arange(150)).all()


@pytest.mark.parametrize("metric", METRICS)
def test_repeated_searches_give_the_same_bytes(build, points, queries, metric):
    first, second = (build(points, metric=metric, seed=3).query(queries, k=20) for _ in range(2))
    assert first.indices.tobytes() == second.indices.tobytes()
    assert first.distances.tobytes() == second.distances.tobytes()


def test_read_only_files_are_searched_where_they_lie(build, points, queries, tmp_path):
    np.save(tmp_path / "points.npy", points)
    stored = np.load(tmp_path / "points.npy", mmap_mode="r")
    index = build(stored)
    found, expected = index.query(stored[:5], k=3), build(points).query(points[:5], k=3)
    assert found.indices.tolist() == expected.indices.tolist()
    assert (index.count, index.dimension, index.metric) == (150, 7, "cosine")


def test_no_queries_get_no_answer(build, points):
    found = build(points).query(points[:0], k=3)
    assert found.indices.shape == found.distances.shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"k": 151}, "151 neighbors asked for, 150 points to find;", id="too-many"),
        pytest.param(
            {"k": 150, "exclude": np.array([0, 1])},
            "149 points to find besides the query itself",
            id="too-many-besides-itself",
        ),
        pytest.param({"k": 0}, "choose k from 1 to 150", id="none"),
        pytest.param({"points": np.zeros((2, 5))}, "5 entries, the indexed points 7", id="width"),
        pytest.param({"points": np.zeros(7)}, "queries of shape", id="one-axis"),
        pytest.param(
            {"points": np.full((1, 7), np.nan), "exclude": None}, "query 0 holds", id="nan"
        ),
        pytest.param({"exclude": np.array([0, 150])}, "rows 0 to 149", id="exclusion-outside"),
        pytest.param({"exclude": np.array([0.0, 1.0])}, "one row number", id="exclusion-type"),
        pytest.param({"exclude": np.array([0])}, "for 2 queries", id="exclusion-length"),
    ],
)
def test_impossible_questions_are_refused_in_one_line(build, points, change, message):
    question = {"points": points[:2], "k": 3, **change}
    with pytest.raises(MeasureError, match=message) as caught:
        build(points).query(question.pop("points"), **question)
    assert "\n" not in str(caught.value)


def test_a_value_that_is_not_finite_is_named_by_its_row(build, points):
    points[77, 2] = np.inf
    with pytest.raises(MeasureError, match="point 77 holds a value that is not finite"):
        build(points)


def test_progress_covers_every_query(build, points, queries):
    done = []

    class Recorder:
        def start(self, task, total):
            done.append([total, 0])

        def advance(self, amount=1):
            done[-1][1] += amount

        def finish(self):
            done[-1].append("finished")

    build(points, progress=Recorder()).query(queries, k=3)
    assert [len(queries), len(queries), "finished"] in done
    assert all(total == advanced for total, advanced, _ in done)


def test_unknown_names_are_refused():
    with pytest.raises(MeasureError, match="metric 'l2' is unknown; use 'cosine' or 'euclidean'"):
        build_index(np.eye(4), metric="l2")
    with pytest.raises(MeasureError, match="search 'fast' is unknown; use auto, exact, approx"):
        build_index(np.eye(4), method="fast")


def test_auto_is_exact_where_that_is_quick(points):
    notes = []
    index = build_index(points, queries=10, notes=notes)
    assert type(index).__name__ == "ExactIndex"
    assert notes[0].startswith("exact neighbors: the exact search for 10 queries among 150 points")


def test_auto_is_approximate_beyond_its_limit(points, monkeypatch):
    install(monkeypatch)
    monkeypatch.setattr("entangle_cli.neighbors.opening.product_rate", lambda *_: 1e9)
    notes = []
    index = build_index(points, queries=10**10, notes=notes)
    assert type(index).__name__ == "ApproximateIndex"
    assert "takes about 27000 s at 1 GFLOP/s, the limit is 300 s" in notes[0]
