import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood import soft_neighbors
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.soft_neighbors import fit_snnl_point
from entangle_cli.measures.temperature import entanglement
from tests.reference import ood_layers as reference
from tests.reference.snnl import distance


def evidence(points, *, logits=None, labels=None):
    return Evidence(rows=len(points), logits=logits, points={"a": points}, labels=labels)


def known(points, labels, seed=0):
    return Known(training=evidence(points, labels=labels), seed=seed)


def random_case(seed, *, count=90, entries=4, classes=3, spread=1.0, offset=0.0, dtype=float):
    """Overlapping classes, whose loss is lowest at a temperature between the ends."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    means = spread * generator.normal(size=(classes, entries))
    train = offset + means[labels] + generator.normal(size=(count, entries))
    queries = offset + 2 * generator.normal(size=(15, entries))
    logits = generator.normal(size=(15, classes))
    return train.astype(dtype), labels, queries.astype(dtype), logits


def by_loops(fitted, queries, logits):
    return [
        reference.soft_neighbor_loss(
            fitted.reference, fitted.labels, query, row.argmax(), fitted.temperature
        )
        for query, row in zip(queries, logits, strict=True)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_equals_loops_at_the_temperature_of_the_reference(seed):
    train, labels, queries, logits = random_case(seed)
    fitted = fit_snnl_point(known(train, labels), ("a",))
    # fewer than 100 of every class: all of them, in their order
    np.testing.assert_array_equal(fitted.reference, train)
    np.testing.assert_array_equal(fitted.labels, labels)
    assert fitted.temperature == entanglement(train, labels).temperature
    assert fitted.temperature > 0
    found = fitted.score(evidence(queries, logits=logits))
    assert found.dtype == np.float64
    assert (found >= 0).all()
    np.testing.assert_allclose(found, by_loops(fitted, queries, logits), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("offset", [1e4, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin(offset, dtype):
    train, labels, queries, logits = random_case(0, offset=offset, dtype=dtype)
    fitted = fit_snnl_point(known(train, labels), ("a",))
    found = fitted.score(evidence(queries, logits=logits))
    np.testing.assert_allclose(found, by_loops(fitted, queries, logits), rtol=1e-8)


def test_inputs_that_are_copies_of_training_points():
    train, labels, _, _ = random_case(1)
    fitted = fit_snnl_point(known(train, labels), ("a",))
    logits = np.eye(3)[labels]
    found = fitted.score(evidence(train, logits=logits))
    np.testing.assert_allclose(found, by_loops(fitted, train, logits), rtol=1e-9, atol=1e-12)


def test_training_points_stored_twice_are_nearest_to_their_own_class():
    train, labels, _, _ = random_case(1)
    fitted = fit_snnl_point(known(np.tile(train, (2, 1)), np.tile(labels, 2)), ("a",))
    assert fitted.temperature == 0.0
    assert (fitted.score(evidence(train, logits=np.eye(3)[labels])) < 0).all()
    assert (fitted.score(evidence(train, logits=np.eye(3)[(labels + 1) % 3])) > 0).all()


def test_the_score_falls_with_the_support_of_the_predicted_class():
    train = np.random.default_rng(0).normal(size=(200, 2))
    labels = np.arange(200) % 2
    train[:, 0] += 2.5 * labels
    fitted = fit_snnl_point(known(train, labels), ("a",))
    line = np.column_stack([np.linspace(-1, 3.5, 10), np.zeros(10)])
    first = fitted.score(evidence(line, logits=np.tile([1.0, 0.0], (10, 1))))
    second = fitted.score(evidence(line, logits=np.tile([0.0, 1.0], (10, 1))))
    assert first[0] < second[0]
    assert first[-1] > second[-1]
    # the two shares add up to 1
    np.testing.assert_allclose(np.exp(-first) + np.exp(-second), 1, rtol=1e-10)


def separated(seed=2):
    train, labels, queries, logits = random_case(seed, spread=50)
    assert entanglement(train, labels).boundary == "zero"
    return train, labels, queries, logits


def test_at_temperature_0_it_is_the_difference_of_the_nearest_distances():
    train, labels, queries, logits = separated()
    fitted = fit_snnl_point(known(train, labels), ("a",))
    assert fitted.temperature == 0.0
    found = fitted.score(evidence(queries, logits=logits))
    for query, row, score in zip(queries, logits, found, strict=True):
        distances = np.array([distance(query, x) for x in train])
        same = labels == row.argmax()
        assert score == pytest.approx(distances[same].min() - distances[~same].min(), rel=1e-9)


def test_the_score_at_temperature_0_orders_inputs_as_small_temperatures_do():
    train, labels, queries, logits = separated()
    fitted = fit_snnl_point(known(train, labels), ("a",))
    at_zero = fitted.score(evidence(queries, logits=logits))
    temperature = 1e-4
    odds = []
    for query, predicted in zip(queries, logits.argmax(axis=1), strict=True):
        exponents = np.array([-distance(query, x) / temperature for x in train])
        same = labels == predicted
        odds.append(np.logaddexp.reduce(exponents[~same]) - np.logaddexp.reduce(exponents[same]))
    np.testing.assert_allclose(temperature * np.array(odds), at_zero, rtol=1e-4, atol=0.01)
    assert np.argsort(odds).tolist() == np.argsort(at_zero).tolist()


def test_a_loss_that_is_lowest_at_infinity_is_refused():
    checkers = np.array([[0.0], [1.0], [2.0], [3.0]])
    with pytest.raises(MeasureError, match=r"layer a: .*infinite temperature"):
        fit_snnl_point(known(checkers, np.array([0, 1, 0, 1])), ("a",))
    with pytest.raises(MeasureError, match="infinite temperature"):
        fit_snnl_point(known(np.ones((6, 3)), np.array([0, 0, 0, 1, 1, 1])), ("a",))


def test_far_inputs_have_finite_ordered_scores():
    train, labels, _, _ = random_case(3)
    fitted = fit_snnl_point(known(train, labels), ("a",))
    far = 10.0 ** np.arange(1, 12)[:, None] * np.ones((11, 4))
    support = [fitted.score(evidence(far, logits=np.tile(np.eye(3)[c], (11, 1)))) for c in range(3)]
    assert np.isfinite(support).all()
    # a single class is nearest in that direction, the others lose ever more clearly
    assert (np.min(support, axis=0)[3:] < 1e-6).all()
    assert (np.diff(np.max(support, axis=0)) > 0).all()


@pytest.mark.parametrize("make", [random_case, lambda seed: separated()])
def test_a_predicted_class_without_training_points_is_infinitely_far(make):
    train, labels, queries, logits = make(4)
    logits = np.column_stack([logits, np.zeros(15)])
    logits[3, 3] = 99
    fitted = fit_snnl_point(known(train, labels), ("a",))
    found = fitted.score(evidence(queries, logits=logits))
    assert found[3] == np.inf
    assert np.isfinite(np.delete(found, 3)).sum() == (np.delete(logits, 3, 0).argmax(1) < 3).sum()


def test_the_reference_is_balanced_seeded_and_small():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, -1], [900, 130, 40, 500])
    train = (generator.normal(size=(len(labels), 3)) + 0.7 * labels[:, None]).astype(np.float32)
    fitted = fit_snnl_point(known(train, labels), ("a",))
    assert np.bincount(fitted.labels).tolist() == [100, 100, 40]
    assert fitted.reference.dtype == np.float32
    assert len(np.unique(fitted.reference, axis=0)) == 240
    again = fit_snnl_point(known(train, labels), ("a",))
    np.testing.assert_array_equal(again.reference, fitted.reference)
    other = fit_snnl_point(known(train, labels, seed=1), ("a",))
    assert not np.array_equal(other.reference, fitted.reference)
    # the draw is a copy
    train[:] = 0
    assert fitted.reference.any()


def test_many_classes_and_wide_rows_get_fewer_points_each(monkeypatch):
    labels = np.repeat(np.arange(10), 60)
    rows = soft_neighbors._draw(labels, 8, 0)
    assert len(rows) == 600
    monkeypatch.setattr(soft_neighbors, "MOST_POINTS", 125)
    assert np.bincount(labels[soft_neighbors._draw(labels, 8, 0)]).tolist() == [12] * 10
    monkeypatch.setattr(soft_neighbors, "MOST_BYTES", 300)
    assert np.bincount(labels[soft_neighbors._draw(labels, 8, 0)]).tolist() == [3] * 10
    assert np.bincount(labels[soft_neighbors._draw(labels, 99, 0)]).tolist() == [2] * 10


def test_block_by_block_equals_all_at_once(monkeypatch, tmp_path):
    train, labels, queries, logits = random_case(5, dtype=np.float32)
    whole = fit_snnl_point(known(train, labels), ("a",)).score(evidence(queries, logits=logits))
    mapped = np.memmap(tmp_path / "points", dtype=np.float32, mode="w+", shape=train.shape)
    mapped[:] = train
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 90 * 4)
    fitted = fit_snnl_point(known(mapped, labels), ("a",))
    assert type(fitted.reference) is np.ndarray
    found = fitted.score(evidence(queries, logits=logits))
    np.testing.assert_allclose(found, whole, rtol=1e-10, atol=1e-12)


def test_what_is_missing_or_does_not_fit_is_named():
    train, labels, queries, logits = random_case(6)
    for training in (None, evidence(train), evidence(train, labels=np.full(90, -1))):
        with pytest.raises(MeasureError, match="needs training data with labels: give --train"):
            fit_snnl_point(Known(training=training), ("a",))
    with pytest.raises(MeasureError, match="nothing is stored of layer b"):
        fit_snnl_point(known(train, labels), ("b",))
    with pytest.raises(MeasureError, match="all training labels are 7"):
        fit_snnl_point(known(train, np.full(90, 7)), ("a",))
    with pytest.raises(MeasureError, match="class"):
        fit_snnl_point(known(train, np.arange(90)), ("a",))
    fitted = fit_snnl_point(known(train, labels), ("a",))
    with pytest.raises(MeasureError, match="no class scores"):
        fitted.score(evidence(queries))
    with pytest.raises(MeasureError, match="3 entries but 4 in training"):
        fitted.score(evidence(queries[:, :3], logits=logits))
    queries[4, 0] = 1e200
    with pytest.raises(MeasureError, match="range of float64"):
        fitted.score(evidence(queries, logits=logits))
    train[8] = np.nan
    with pytest.raises(MeasureError, match="row 8"):
        fit_snnl_point(known(train, labels), ("a",))
