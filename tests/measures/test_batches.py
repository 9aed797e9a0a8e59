import numpy as np
import pytest
from scipy.stats import t as student

from entangle_cli.errors import MeasureError
from entangle_cli.measures.batches import batch_entanglement, stratified_batches
from entangle_cli.measures.temperature import entanglement
from tests.measures.layers import mixture


def test_batches_are_stratified():
    labels = np.repeat([0, 1, 2], [100, 200, 700])
    for batch in stratified_batches(labels, size=50, count=20):
        assert np.bincount(labels[batch]).tolist() == [5, 10, 35]
        assert len(np.unique(batch)) == 50


def test_places_left_over_go_to_classes_in_proportion():
    labels = np.repeat(np.arange(10), [3, 5, 8, 10, 12, 13, 9, 15, 12, 13])
    batches = stratified_batches(labels, size=33, count=600, seed=1)
    counts = np.array([np.bincount(labels[batch], minlength=10) for batch in batches])
    assert (counts.sum(1) == 33).all()
    shares = np.bincount(labels) * 0.33
    assert (np.abs(counts - shares) < 1).all()
    np.testing.assert_allclose(counts.mean(0), shares, atol=0.07)


def test_batches_depend_on_the_seed_and_nothing_else():
    labels = mixture(100)[1]
    first, again, other = (
        np.array(stratified_batches(labels, size=20, count=5, seed=seed)) for seed in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_every_layer_sees_the_same_batches():
    points, labels = mixture(200, spread=0.5)
    one = batch_entanglement(points, labels, size=40, count=6)
    other = batch_entanglement(points * 2.0, labels, size=40, count=6)
    assert other.snnl == pytest.approx(one.snnl, rel=1e-9)
    assert other.sd == pytest.approx(one.sd, rel=1e-6)


def test_the_mean_is_over_minima_of_single_batches():
    points, labels = mixture(200, spread=0.5)
    found = batch_entanglement(points, labels, size=40, count=6, seed=2)
    batches = stratified_batches(labels, size=40, count=6, seed=2)
    single = [entanglement(points[rows], labels[rows]) for rows in batches]
    losses = np.array([one.snnl for one in single])
    assert found.snnl == pytest.approx(losses.mean())
    assert found.sd == pytest.approx(losses.std(ddof=1))
    low, high = student.interval(0.95, 5, losses.mean(), losses.std(ddof=1) / 6**0.5)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.entanglement == pytest.approx(np.mean([one.entanglement for one in single]))
    assert (found.n, found.count, found.total, found.dim) == (40, 6, 200, 5)
    assert sum(found.boundaries.values()) == 6


def test_batches_of_separated_classes_are_at_boundary_zero():
    points, labels = mixture(90, spread=40)
    found = batch_entanglement(points, labels, size=30, count=3)
    assert (found.snnl, found.temperature, found.boundary) == (0.0, 0.0, "zero")
    assert found.boundaries == {"zero": 3}
    assert found.notes[0].startswith("3 of 3 batches: ")


def test_batches_without_structure_are_at_boundary_infinity():
    points = np.arange(40.0)[:, None]
    found = batch_entanglement(points, np.arange(40) % 2, size=40, count=3)
    assert (found.temperature, found.boundary) == (None, "infinity")


def test_a_given_temperature_holds_for_every_batch():
    points, labels = mixture(90)
    found = batch_entanglement(points, labels, size=30, count=3, temperature=2.0)
    assert (found.temperature, found.boundary) == (2.0, "none")


def test_a_single_batch_has_no_interval():
    found = batch_entanglement(*mixture(60), size=30, count=1)
    assert (found.sd, found.low, found.high) == (None, None, None)
    assert "no interval" in found.notes[-1]


def test_one_class_has_no_entanglement():
    points, _ = mixture(30)
    found = batch_entanglement(points, np.zeros(30), size=10, count=2)
    assert (found.snnl, found.entanglement, found.temperature) == (0.0, None, None)


@pytest.mark.parametrize("size", [1, 61])
def test_sizes_that_do_not_fit_are_refused(size):
    with pytest.raises(MeasureError, match=f"batches of {size} from 60 points"):
        batch_entanglement(*mixture(60), size=size, count=2)


def test_no_batches_are_refused():
    with pytest.raises(MeasureError, match="0 batches"):
        batch_entanglement(*mixture(60), size=10, count=0)
