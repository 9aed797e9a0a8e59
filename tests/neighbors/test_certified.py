"""Searches by codes: bounds that hold, and answers that are those of a search over all pairs."""

import numpy as np
import pytest
import torch

from entangle_cli.neighbors import certified, coarse, search
from entangle_cli.neighbors.codes import encode, mixed_basis, principal_directions
from entangle_cli.neighbors.coordinates import fit_coordinates
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.pointset import PointSet
from entangle_cli.neighbors.rooms import Rooms

METRICS = ["cosine", "euclidean"]
FORMS = [(True, None), (True, 16), (False, 16)]
FORM_NAMES = ["integers", "integers of directions", "directions"]


def layer(count, dimension, rank, *, seed=0):
    """Points near a subspace, some equal, some zero, not centered."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(count, rank)) @ generator.normal(size=(rank, dimension))
    points += 0.05 * generator.normal(size=(count, dimension)) + 3
    points[count // 2 : count // 2 + 200] = points[7]
    points[[3, 11]] = 0
    return points.astype(np.float32)


@pytest.fixture(params=FORMS, ids=FORM_NAMES)
def forced(request, monkeypatch):
    """Codes of one form for every search; how many queries were searched over all pairs."""
    small, width = request.param

    def choose(points, bias, queries, k, *, scratch):
        basis = None
        if width:
            basis = mixed_basis(principal_directions(points, width)[0])
        lengths = bias.mul(-2).sqrt_()
        codes = certified.encode_all(
            points, lengths, basis, small=small, multiple=8, scratch=scratch
        )
        return certified.CodedPoints(points, bias, codes, basis)

    missed, sieve = [], search.Search._sieve

    def counting(self, matrix, own):
        missed.append(len(matrix))
        return sieve(self, matrix, own)

    monkeypatch.setattr("entangle_cli.neighbors.exact.choose_codes", choose)
    monkeypatch.setattr("entangle_cli.neighbors.exact.FEWEST_QUERIES", 1)
    monkeypatch.setattr(search.Search, "_sieve", counting)
    return missed


def without_codes(points, queries, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr("entangle_cli.neighbors.exact.choose_codes", lambda *_, **__: None)
        metric = options.pop("metric")
        return ExactIndex(points, metric=metric).query(queries, **options)


@pytest.mark.parametrize("metric", METRICS)
def test_codes_change_no_byte_of_the_answer(metric, forced, monkeypatch):
    points = layer(6000, 48, 10)
    own = np.where(np.arange(300) % 2, np.arange(300), -1)
    expected = without_codes(points, points[:300], monkeypatch, metric=metric, k=20, exclude=own)
    forced.clear()
    found = ExactIndex(points, metric=metric).query(points[:300], k=20, exclude=own)
    assert found.indices.tobytes() == expected.indices.tobytes()
    assert found.distances.tobytes() == expected.distances.tobytes()
    # zero queries, and those that are copies of 200 points, may be searched again
    assert sum(forced) < 30


def test_sizes_of_parts_and_tiles_change_nothing(forced, monkeypatch):
    points = layer(3000, 40, 10, seed=1)
    whole = ExactIndex(points, metric="euclidean").query(points[:100], k=9)
    monkeypatch.setattr(coarse, "PART_ROWS", 13)
    monkeypatch.setattr(coarse, "TILE_ROWS", 160)
    monkeypatch.setattr(coarse, "GATHER_ELEMENTS", 1000)
    monkeypatch.setattr(coarse, "LONG", 8)
    small = ExactIndex(points, metric="euclidean").query(points[:100], k=9)
    assert small.indices.tobytes() == whole.indices.tobytes()
    assert small.distances.tobytes() == whole.distances.tobytes()


def test_a_full_room_sends_its_query_to_all_pairs(forced, monkeypatch):
    points = layer(3000, 40, 10, seed=2)
    expected = without_codes(points, points[:50], monkeypatch, metric="euclidean", k=9)
    forced.clear()
    monkeypatch.setattr(coarse, "ROOM", 12)
    found = ExactIndex(points, metric="euclidean").query(points[:50], k=9)
    assert sum(forced) > 10
    assert found.indices.tobytes() == expected.indices.tobytes()


def test_queries_far_beyond_the_points_are_answered(forced, monkeypatch):
    points = layer(3000, 40, 10, seed=3)
    queries = points[:4].astype(np.float64) * np.array([[1.0], [1e4], [1e13], [1e60]])
    expected = without_codes(points, queries, monkeypatch, metric="euclidean", k=9)
    found = ExactIndex(points, metric="euclidean").query(queries, k=9)
    assert found.indices.tobytes() == expected.indices.tobytes()


@pytest.mark.parametrize(("small", "width"), FORMS, ids=FORM_NAMES)
@pytest.mark.parametrize("spread", [1.0, 1e-3, 50.0])
def test_upper_bounds_hold_for_every_pair(small, width, spread):
    generator = np.random.default_rng(4)
    values = layer(1000, 64, 12, seed=5) + np.float32(0)
    values[:, :5] *= np.float32(spread)
    coordinates, factors = fit_coordinates(values, "euclidean", torch.device("cpu"))
    points = PointSet(values, coordinates, factors)
    bias = -points.half_norms()
    basis = mixed_basis(principal_directions(points, width)[0]) if width else None
    lengths = bias.mul(-2).sqrt_()
    codes = encode(points.single(slice(None)), lengths, basis, small=small)
    coded = coarse.CodedPoints(points, bias, codes, basis)
    asked = np.sort(generator.choice(1000, 60, replace=False))
    exact = points.centered(asked)
    bounds = coarse.CoarseSearch(coded, np.ones(1000, bool), 5).upper_bounds(
        exact.float(), lengths[asked]
    )
    scores = exact @ points.centered(slice(None)).t() + bias
    assert (bounds.double() >= scores).all()
    # and they are not far off where the codes hold nearly everything
    assert float((bounds - scores).median()) < 0.25 * float(scores.std())


def test_a_basis_is_nearly_orthonormal_and_says_how_nearly():
    values = layer(500, 30, 12)
    points = PointSet(values, *fit_coordinates(values, "euclidean", torch.device("cpu")))
    directions, shares = principal_directions(points, 14)
    basis = mixed_basis(directions)
    gram = basis.directions.double().t() @ basis.directions.double()
    off = torch.linalg.matrix_norm(gram - torch.eye(14), 2)
    assert float(off) <= basis.defect < 1e-4
    assert (shares[:-1] >= shares[1:]).all()
    assert 0.98 < float(shares.sum()) < 1.001


@pytest.fixture
def pilot(monkeypatch):
    """What the pilot chose, of problems that are small enough for a test."""
    monkeypatch.setattr(certified, "FEWEST_PRODUCTS", 1)
    monkeypatch.setattr(certified, "FEWEST_POINTS", 1)

    def chosen(points, queries, *, small):
        monkeypatch.setattr(certified, "quick_integers", lambda: small)
        index = ExactIndex(points, metric="euclidean")
        index.query(queries, k=10)
        return index._coded

    return chosen


def test_points_without_structure_are_searched_over_all_pairs(pilot):
    points = np.random.default_rng(6).normal(size=(6000, 300)).astype(np.float32)
    assert pilot(points, points[:200], small=False) is None


def test_points_near_a_subspace_are_seen_through_its_directions(pilot):
    generator = np.random.default_rng(7)
    points = generator.normal(size=(6000, 20)) @ generator.normal(size=(20, 600))
    points = (points + 0.01 * generator.normal(size=points.shape)).astype(np.float32)
    coded = pilot(points, points[:3000], small=False)
    assert coded is not None
    assert coded.codes.values.shape[1] == 64


def test_few_queries_and_few_points_have_no_pilot():
    points = np.random.default_rng(8).normal(size=(3000, 64)).astype(np.float32)
    index = ExactIndex(points)
    index.query(points[:100], k=5)
    assert index._coded is None


def test_rooms_keep_what_exceeds_the_threshold_and_tell_which_ran_over():
    scores = np.random.default_rng(9).normal(size=(5, 64)).astype(np.float32)
    threshold = np.array([0, 1, 2, -9, 9], np.float32)
    rooms = Rooms(5, 40, 32)
    for first in (0, 32):
        rooms.offer(np.ascontiguousarray(scores[:, first : first + 32]), threshold, first)
    values, columns, full = rooms.content(slice(0, 5))
    assert full.tolist() == [False, False, False, True, False]
    for row in (0, 1, 2, 4):
        kept = values[row] > -np.inf
        assert columns[row][kept].tolist() == np.flatnonzero(scores[row] > threshold[row]).tolist()
        assert (values[row][kept] == scores[row, columns[row][kept]]).all()
    assert (values[3] == -np.inf).all()
    part, places, over = rooms.content(slice(1, 3))
    assert over.tolist() == [False, False]
    for row, kept in ((1, part[0] > -np.inf), (2, part[1] > -np.inf)):
        expected = np.flatnonzero(scores[row] > threshold[row])
        assert places[row - 1][kept].tolist() == expected.tolist()


def test_products_of_integers_are_exact_where_they_are_used():
    if certified.quick_integers():
        x = torch.randint(-127, 128, (40, 700), dtype=torch.int8)
        expected = x.double() @ x.double().t()
        assert torch.equal(torch._int_mm(x, x.t()).double(), expected)
