"""The exact search against brute force, where single precision or ties would go wrong."""

import gzip
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors import exact, search
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.search import score_error
from tests.reference import neighbors as reference

METRICS = ["cosine", "euclidean"]
MEASURE_MEMORY = """
import sys, threading, time
import numpy as np
from entangle_cli.neighbors.exact import ExactIndex

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

points = np.load(sys.argv[1], mmap_mode="r")
ExactIndex(points[:3000], metric="cosine").query(points[:100], k=75)
start, peak, done = anonymous(), [0.0], threading.Event()

def watch():
    while not done.wait(0.003):
        peak[0] = max(peak[0], anonymous())

thread = threading.Thread(target=watch)
thread.start()
ExactIndex(points, metric="cosine").query(points[:4500], k=75, exclude=np.arange(4500))
done.set()
thread.join()
print(peak[0] - start)
"""


def brute_force(points, query, k, metric, exclude=-1):
    """As the reference, by rows of arrays: (indices, distances) of one query."""
    points, query = np.asarray(points, np.float64), np.asarray(query, np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        unit, length = points / np.where(lengths == 0, 1, lengths), np.linalg.norm(query)
        distances = ((unit - query / (length or 1)) ** 2).sum(1) / 2
        distances[(lengths[:, 0] == 0) | (length == 0)] = 1
    else:
        distances = np.sqrt(((points - query) ** 2).sum(1))
    order = np.lexsort((np.arange(len(points)), distances))
    order = order[order != exclude][:k]
    return order, distances[order]


def assert_exact(points, queries, k, metric, *, exclude=None, tolerance=1e-9):
    found = ExactIndex(points, metric=metric).query(queries, k=k, exclude=exclude)
    for row, query in enumerate(queries):
        own = -1 if exclude is None else exclude[row]
        _, distances = brute_force(points, query, k, metric, own)
        np.testing.assert_allclose(found.distances[row], distances, rtol=tolerance, atol=1e-15)
        assert len(set(found.indices[row].tolist())) == k
        assert own not in found.indices[row]
    return found


@pytest.fixture
def rechecked(monkeypatch):
    """How many queries were searched again in float64."""
    counts = []
    complete = search.Search._complete

    def counting(self, again, farthest):
        counts.append(len(again))
        return complete(self, again, farthest)

    monkeypatch.setattr(search.Search, "_complete", counting)
    return counts


@pytest.fixture
def coarse(monkeypatch):
    """Single precision that cannot certify anything."""
    roundoff = search.unit_roundoff
    monkeypatch.setattr(
        search, "unit_roundoff", lambda dtype: 1.0 if dtype == torch.float32 else roundoff(dtype)
    )


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    dimension=st.integers(1, 8),
    dtype=st.sampled_from(["uint8", "int64", "float16", "float32", "float64"]),
    metric=st.sampled_from(METRICS),
)
def test_small_integers_full_of_ties_agree_with_the_loop(seed, count, dimension, dtype, metric):
    generator = np.random.default_rng(seed)
    points = generator.integers(0, 3, (count, dimension)).astype(dtype)
    queries = generator.integers(-1, 3, (3, dimension)).astype(np.float32)
    own = generator.integers(-1, count, 3)
    k = int(generator.integers(1, max(1, count - 1) + 1))
    if k > count - 1:
        own[:] = -1
    found = ExactIndex(points, metric=metric).query(queries, k=k, exclude=own)
    for row in range(3):
        expected = reference.nearest(points.astype(float), queries[row], k, metric, own[row])
        distances = [distance for distance, _ in expected]
        np.testing.assert_allclose(found.distances[row], distances, rtol=1e-12, atol=1e-15)
        if metric == "euclidean":
            # sums of small integers are exact, so are the ties
            assert found.indices[row].tolist() == [index for _, index in expected]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0, 1e2, 1e4, 1e6])
def test_near_duplicates_far_from_the_origin_are_told_apart(metric, offset):
    generator = np.random.default_rng(1)
    points = generator.normal(size=(1500, 24)) + offset
    points[700:1400] = points[:700] + 1e-5 * generator.normal(size=(700, 24))
    found = assert_exact(points, points[:12], 9, metric, exclude=np.arange(12), tolerance=1e-6)
    if metric == "euclidean":
        assert (found.indices[:, 0] == np.arange(700, 712)).all()


def test_float32_points_far_from_the_origin_keep_their_digits():
    generator = np.random.default_rng(2)
    points = (generator.normal(size=(3000, 16)) + 1e4).astype(np.float32)
    found = assert_exact(points, points[:20], 10, "euclidean", tolerance=1e-12)
    assert (found.indices[:, 0] == np.arange(20)).all()


@pytest.mark.parametrize("metric", METRICS)
def test_uncertain_queries_are_searched_again_with_the_same_answer(metric, coarse, rechecked):
    generator = np.random.default_rng(3)
    points = np.abs(generator.normal(size=(2500, 12))).astype(np.float32)
    points[[3, 4, 900]] = 0
    points[1000:1100] = points[7]
    own = np.where(np.arange(40) % 2, np.arange(40), -1)
    assert_exact(points, points[:40], 30, metric, exclude=own)
    assert sum(rechecked) >= 38


def test_a_certain_search_is_not_repeated(rechecked):
    generator = np.random.default_rng(3)
    points = generator.normal(size=(2500, 12)).astype(np.float32)
    assert_exact(points, points[:40], 30, "euclidean")
    assert rechecked == []


def test_clusters_below_the_resolution_of_float32_are_resolved(rechecked):
    generator = np.random.default_rng(4)
    centers = generator.normal(size=(4, 32))
    points = np.repeat(centers, 1000, axis=0) + 1e-7 * generator.normal(size=(4000, 32))
    found = assert_exact(points, points[::400], 50, "euclidean", tolerance=1e-7)
    assert sum(rechecked) == 10
    assert (found.indices // 1000 == (np.arange(0, 4000, 400) // 1000)[:, None]).all()


def test_candidates_dropped_on_the_way_are_not_forgotten(monkeypatch, rechecked):
    generator = np.random.default_rng(4)
    points = np.concatenate(
        [generator.normal(size=(20, 32)), 1 + 1e-7 * generator.normal(size=(3000, 32))]
    )
    monkeypatch.setattr(
        search, "sample_threshold", lambda scores, *_: scores.new_full((len(scores),), -torch.inf)
    )
    assert_exact(points, points[20:30], 20, "euclidean", tolerance=1e-7)
    assert sum(rechecked) == 10


@pytest.mark.parametrize("metric", METRICS)
def test_results_do_not_depend_on_the_sizes_of_blocks(metric, monkeypatch):
    generator = np.random.default_rng(5)
    points = generator.integers(0, 4, (3000, 9)).astype(np.float32)
    queries, own = points[:120], np.where(np.arange(120) % 3, np.arange(120), -1)
    whole = ExactIndex(points, metric=metric).query(queries, k=25, exclude=own)
    singly = ExactIndex(points, metric=metric)
    for row in range(0, 120, 11):
        one = singly.query(queries[row : row + 1], k=25, exclude=own[row : row + 1])
        assert one.indices.tobytes() == whole.indices[row].tobytes()
        assert one.distances.tobytes() == whole.distances[row].tobytes()
    monkeypatch.setitem(exact.BATCH_ROWS, "cpu", 50)
    monkeypatch.setattr("entangle_cli.neighbors.search.PART_ROWS", 7)
    monkeypatch.setattr("entangle_cli.neighbors.search.PENDING_PAIRS", 100)
    for module in ("search", "tiles"):
        monkeypatch.setattr(f"entangle_cli.neighbors.{module}.TILE_ROWS", 96)
    small = ExactIndex(points, metric=metric).query(queries, k=25, exclude=own)
    assert small.indices.tobytes() == whole.indices.tobytes()
    assert small.distances.tobytes() == whole.distances.tobytes()


def test_long_rows_have_the_same_distance_alone_and_together():
    points = np.random.default_rng(6).normal(size=(6, 70_000)).astype(np.float32)
    threads = torch.get_num_threads()
    # only then does torch share the sum of a single row among them
    torch.set_num_threads(2)
    try:
        index = ExactIndex(points)
        together, alone = index.query(points, k=6), index.query(points[4:5], k=6)
    finally:
        torch.set_num_threads(threads)
    assert alone.distances.tobytes() == together.distances[4].tobytes()


def test_lower_precision_products_change_nothing():
    points = np.random.default_rng(7).normal(size=(2500, 40)).astype(np.float32)
    expected = ExactIndex(points).query(points[:50], k=20)
    torch.set_float32_matmul_precision("medium")
    try:
        found = ExactIndex(points).query(points[:50], k=20)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.indices.tobytes() == expected.indices.tobytes()


@pytest.mark.parametrize("metric", METRICS)
def test_a_constant_layer_gives_the_first_points(metric):
    points = np.full((5000, 30), 3.1, dtype=np.float32)
    found = ExactIndex(points, metric=metric).query(
        points[:3], k=40, exclude=np.array([0, 17, 4999])
    )
    expected = [[i for i in range(41) if i != own][:40] for own in (0, 17, 4999)]
    assert found.indices.tolist() == expected
    assert (found.distances == 0).all()


def test_a_dead_layer_lists_the_first_of_its_copies():
    generator = np.random.default_rng(8)
    points = generator.normal(size=(4000, 20)).astype(np.float32)
    points[1::2] = 0
    found = assert_exact(points, points[1:6:2], 60, "euclidean", exclude=np.array([1, 3, 5]))
    assert (found.distances == 0).all()
    assert found.indices[2].tolist() == [i for i in range(1, 125, 2) if i != 5][:60]


@pytest.mark.parametrize("scale", [1e-150, 1e-40, 1e40, 1e140])
@pytest.mark.parametrize("metric", METRICS)
def test_very_large_and_small_points_have_scaled_distances(scale, metric):
    points = np.random.default_rng(9).normal(size=(300, 6))
    plain = ExactIndex(points, metric=metric).query(points[:9], k=8)
    scaled = ExactIndex(points * scale, metric=metric).query(points[:9] * scale, k=8)
    unit = scale if metric == "euclidean" else 1.0
    np.testing.assert_allclose(scaled.distances / unit, plain.distances, rtol=1e-9, atol=1e-15)
    assert scaled.indices.tolist() == plain.indices.tolist()


def test_one_far_outlier_does_not_blur_the_others():
    points = np.random.default_rng(10).normal(size=(500, 5))
    points[499] = 1e30
    assert_exact(points, points[:20], 10, "euclidean")


def test_a_query_beyond_single_precision_is_still_answered():
    points = np.random.default_rng(11).normal(size=(400, 5))
    queries = points[:2] * np.array([[1e25], [1e60]])
    found = ExactIndex(points, metric="euclidean").query(queries, k=400)
    assert (np.sort(found.indices, axis=1) == np.arange(400)).all()
    np.testing.assert_allclose(
        found.distances, np.linalg.norm(queries, axis=1)[:, None] + 0 * found.distances
    )


@pytest.mark.parametrize(
    ("points", "metric", "message"),
    [
        pytest.param(np.eye(3) * 1e-310, "cosine", "point 0 has entries too small", id="short"),
        pytest.param(np.eye(3) * 1e-310, "euclidean", "differ by only 6.7e-311", id="close"),
        pytest.param(np.eye(3) * 1e200, "euclidean", "point 0 is too far away", id="far"),
        pytest.param(np.zeros((0, 3)), "cosine", "no points to find", id="empty"),
        pytest.param(np.zeros((3, 0)), "cosine", "give real numbers", id="no-entries"),
        pytest.param(np.array([["a"]]), "cosine", "give real numbers", id="text"),
    ],
)
def test_points_without_distances_are_refused(points, metric, message):
    with pytest.raises(MeasureError, match=message):
        ExactIndex(points, metric=metric)


def test_the_error_bound_holds_for_every_score():
    generator = np.random.default_rng(12)
    for dimension, sign in itertools.product([3, 100, 2000], [-1, 0]):
        x, y = (generator.uniform(sign, 1, (200, dimension)) for _ in range(2))
        bias = -(y**2).sum(1) / 2
        x32, y32, bias32 = (torch.from_numpy(a).float() for a in (x, y, bias))
        scores = torch.addmm(bias32, x32, y32.t()).double().numpy()
        wrong = np.abs(scores - (x @ y.T + bias)).max(1)
        lengths = torch.from_numpy(np.linalg.norm(x, axis=1))
        reach = torch.tensor(np.linalg.norm(y, axis=1).max())
        assert (wrong <= score_error(lengths, reach, dimension, torch.float32).numpy()).all()


@pytest.mark.parametrize("metric", METRICS)
def test_pixels_of_real_digits_with_copies_agree_with_brute_force(shared, metric, rechecked):
    with gzip.open(shared / "data/mnist/t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
    points = np.concatenate([pixels[:4000], pixels[:300]])
    own = np.arange(4000, 4025)
    found = assert_exact(points, points[own], 75, metric, exclude=own)
    assert (found.indices[:, 0] == np.arange(25)).all()
    assert rechecked == []


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_a_gpu_gives_the_same_neighbors(metric):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    points = np.random.default_rng(13).normal(size=(5000, 300)).astype(np.float32)
    points[[5, 900]], points[2000:2200] = 0, points[7]
    own = np.arange(200)
    here = ExactIndex(points, metric=metric).query(points[:200], k=75, exclude=own)
    there = ExactIndex(points, metric=metric, device="cuda").query(points[:200], k=75, exclude=own)
    assert there.indices.tolist() == here.indices.tolist()
    np.testing.assert_allclose(there.distances, here.distances, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_memory_stays_bounded_for_a_wide_layer(tmp_path):
    path = tmp_path / "points.npy"
    points = np.lib.format.open_memmap(path, "w+", np.float32, (60_000, 3136))
    for start in range(0, 60_000, 5000):
        block = np.random.default_rng(start).random((5000, 3136), dtype=np.float32)
        points[start : start + 5000] = block
    del points
    done = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 600
