import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.distances import fit_knn, fit_knn_euclidean, fit_lid
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import Neighbors
from tests.reference import ood_layers as reference

KNOWN = Known(training=Evidence(rows=3))
FITS = [fit_knn, fit_knn_euclidean, fit_lid]
METRIC = {fit_knn: "cosine", fit_knn_euclidean: "euclidean", fit_lid: "euclidean"}
ONE_ROUNDING = 2.0**-53


def searched(train, queries, k):
    found = {
        metric: {"a": ExactIndex(train, metric=metric).query(queries, k=k)}
        for metric in ("cosine", "euclidean")
    }
    return Evidence(rows=len(queries), neighbors=found)


def at(distances, fit):
    """Evidence of given distances ``(n, k)``; infinite ones are missing neighbors."""
    distances = np.asarray(distances, dtype=np.float64)
    indices = np.where(np.isfinite(distances), np.arange(distances.shape[1]), -1)
    neighbors = {METRIC[fit]: {"a": Neighbors(indices, distances)}}
    return Evidence(rows=len(distances), neighbors=neighbors)


def scores(fit, distances):
    return fit(KNOWN, ("a",)).score(at(distances, fit))


def points(seed, count, entries=6, offset=0.0, dtype=np.float64):
    return (offset + np.random.default_rng(seed).normal(size=(count, entries))).astype(dtype)


@pytest.mark.parametrize(("stored", "used"), [(7, 7), (60, 50)])
def test_the_nearest_distances_equal_loops(stored, used):
    train, queries = points(0, 80), points(1, 12)
    inputs = searched(train, queries, stored)
    for fit, normalize in ((fit_knn, True), (fit_knn_euclidean, False)):
        expected = reference.knn(train, queries, used, normalize)
        np.testing.assert_allclose(fit(KNOWN, ("a",)).score(inputs), expected, rtol=1e-10)


@pytest.mark.parametrize("offset", [1e4, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin(offset, dtype):
    train, queries = points(2, 70, offset=offset, dtype=dtype), points(3, 5, offset=offset)
    queries = queries.astype(dtype)
    inputs = searched(train, queries, 50)
    expected = reference.knn(train, queries, 50, False)
    np.testing.assert_allclose(fit_knn_euclidean(KNOWN, ("a",)).score(inputs), expected, rtol=1e-9)
    # directions differ by 1/offset, of which unit vectors in float64 keep offset * 1e-16
    expected = reference.knn(train, queries, 50, True)
    np.testing.assert_allclose(fit_knn(KNOWN, ("a",)).score(inputs), expected, rtol=1e-8)


def test_cosine_scores_are_distances_of_unit_vectors():
    found = scores(fit_knn, [[0.0], [0.5], [1.0], [2.0]])
    np.testing.assert_allclose(found, [0, 1, 2**0.5, 2])
    # a rounding below 0 is a distance of 0
    assert scores(fit_knn, [[-1e-17]]) == [0.0]


@pytest.mark.parametrize(("stored", "used"), [(5, 5), (30, 20)])
def test_local_dimension_equals_loops(stored, used):
    train, queries = points(4, 80), points(5, 12)
    inputs = searched(train, queries, stored)
    distances = inputs.neighbors["euclidean"]["a"].distances
    expected = [reference.local_dimension(row[:used]) for row in distances]
    np.testing.assert_allclose(fit_lid(KNOWN, ("a",)).score(inputs), expected, rtol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_local_dimension_of_uniform_points_is_that_of_the_space(dimension):
    # distances of the k nearest of many points that fill a ball around the input
    generator = np.random.default_rng(dimension)
    radii = np.sort(generator.random((4000, 20)) ** (1 / dimension), axis=1)
    found = scores(fit_lid, radii)
    # 1/lid is a sum of k - 1 exponentials over k
    assert (1 / found).mean() == pytest.approx(19 / 20 / dimension, rel=0.02)


def test_local_dimension_does_not_change_with_scale():
    radii = np.sort(np.random.default_rng(0).random((10, 20)), axis=1)
    found = scores(fit_lid, radii)
    np.testing.assert_allclose(scores(fit_lid, 1e-150 * radii), found, rtol=1e-12)
    np.testing.assert_allclose(scores(fit_lid, 1e150 * radii), found, rtol=1e-12)


def test_a_copy_of_a_training_point_has_dimension_0():
    found = scores(fit_lid, [[0, 1, 2], [0, 0, 0], [0, 0, np.inf], [0, np.inf, np.inf]])
    assert found.tolist() == [0, 0, 0, 0]
    # the limit of a nearly equal one
    nearly = scores(fit_lid, [[1e-300, 1, 2], [1e-30, 1, 2], [1e-3, 1, 2]])
    assert 0 < nearly[0] < nearly[1] < nearly[2] < 0.5


def test_equal_distances_have_the_largest_finite_dimension():
    found = scores(fit_lid, [[3, 3, 3], [3, 3, np.inf], [3, np.inf, np.inf], [2.9, 3, 3]])
    assert found[:3].tolist() == [3 / ONE_ROUNDING, 2 / ONE_ROUNDING, 1 / ONE_ROUNDING]
    # equal but for one rounding is not further out
    almost = scores(fit_lid, [[np.nextafter(3, 0), 3, 3], [3 * (1 - 1e-12), 3, 3]])
    assert found[3] < almost[1] < almost[0] <= found[0]


@pytest.mark.parametrize("fit", FITS)
def test_missing_neighbors(fit):
    table = [[0.1, 0.2, 0.3], [0.1, 0.2, np.inf], [np.inf] * 3]
    found = scores(fit, table)
    # the furthest found one takes the place of the missing
    assert found[1] == scores(fit, [[0.1, 0.2]])
    assert found[2] == np.inf
    assert np.isfinite(found[:2]).all()


@pytest.mark.parametrize("fit", FITS)
def test_block_by_block_equals_all_at_once(fit, monkeypatch):
    table = np.sort(np.random.default_rng(1).random((57, 20)), axis=1)
    whole = scores(fit, table)
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 20 * 5)
    np.testing.assert_array_equal(scores(fit, table), whole)


@pytest.mark.parametrize("fit", FITS)
def test_what_is_missing_is_named(fit):
    for training in (None, Evidence(rows=0)):
        with pytest.raises(MeasureError, match="needs training data: give --train"):
            fit(Known(training=training), ("a",))
    with pytest.raises(MeasureError, match="0 layers"):
        fit(KNOWN, ())
    detector = fit(KNOWN, ("a",))
    with pytest.raises(MeasureError, match=f"needs the {METRIC[fit]} neighbors of layer a"):
        detector.score(Evidence(rows=2))
    short = Evidence(rows=3, neighbors=at([[0.1, 0.2]], fit).neighbors)
    with pytest.raises(MeasureError, match="for 3 inputs"):
        detector.score(short)
    with pytest.raises(MeasureError, match="at least one"):
        detector.score(at(np.empty((4, 0)), fit))
    broken = Neighbors(np.zeros((1, 2), dtype=np.int64), np.array([[0.1, np.nan]]))
    with pytest.raises(MeasureError, match="NaN"):
        detector.score(Evidence(rows=1, neighbors={METRIC[fit]: {"a": broken}}))


def test_local_dimension_needs_two_neighbors():
    with pytest.raises(MeasureError, match="at least 2"):
        scores(fit_lid, [[0.5]])
