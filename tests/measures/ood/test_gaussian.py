import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.gaussian import fit_mahalanobis, fit_rmds
from tests.reference import ood_layers as reference

FITS = [(fit_mahalanobis, False), (fit_rmds, True)]


def evidence(points, labels=None):
    return Evidence(rows=len(points), channels={"a": points}, labels=labels)


def known(points, labels):
    return Known(training=evidence(points, labels))


def random_case(seed, *, count=60, entries=5, classes=3, offset=0.0, dtype=np.float64):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    mixing = generator.normal(size=(entries, entries))
    means = 3 * generator.normal(size=(classes, entries))
    train = offset + means[labels] + generator.normal(size=(count, entries)) @ mixing
    queries = offset + 4 * generator.normal(size=(20, entries))
    return train.astype(dtype), labels, queries.astype(dtype)


def agrees(fit, background, train, labels, queries, rtol=1e-8):
    found = fit(known(train, labels), ("a",)).score(evidence(queries))
    expected = reference.mahalanobis(train, labels, queries, background)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
    return found


@pytest.mark.parametrize(("fit", "background"), FITS)
@pytest.mark.parametrize("seed", range(20))
def test_equals_loops(fit, background, seed):
    generator = np.random.default_rng(1000 + seed)
    case = random_case(
        seed,
        count=int(generator.integers(10, 80)),
        entries=int(generator.integers(1, 8)),
        classes=int(generator.integers(1, 6)),
    )
    agrees(fit, background, *case)


@pytest.mark.parametrize(("fit", "background"), FITS)
@pytest.mark.parametrize("offset", [1e4, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_the_origin(fit, background, offset, dtype):
    train, labels, queries = random_case(0, offset=offset, dtype=dtype)
    agrees(fit, background, train, labels, queries, rtol=1e-6)
    # the same points about the origin: a shift by a whole number of the digits changes nothing
    near = [np.asarray(x, dtype=np.float64) - offset for x in (train, queries)]
    here = fit(known(train, labels), ("a",)).score(evidence(queries))
    there = fit(known(near[0], labels), ("a",)).score(evidence(near[1]))
    np.testing.assert_allclose(here, there, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fit", [fit_mahalanobis, fit_rmds])
def test_a_shift_without_rounding_changes_nothing(fit):
    train, labels, queries = random_case(1)
    # multiples of 1/256 keep all their digits beside 2^40
    train, queries = np.round(256 * train) / 256, np.round(256 * queries) / 256
    here = fit(known(train, labels), ("a",)).score(evidence(queries))
    there = fit(known(train + 2.0**40, labels), ("a",)).score(evidence(queries + 2.0**40))
    np.testing.assert_array_equal(there, here)


def test_a_gaussian_of_known_covariance():
    # covariance diag(1, 4) within both classes, means (0, 0) and (10, 0)
    cross = np.array([[2**0.5, 0], [-(2**0.5), 0], [0, 8**0.5], [0, -(8**0.5)]])
    train = np.concatenate([cross, cross + np.array([10, 0])])
    fitted = fit_mahalanobis(known(train, np.repeat([0, 1], 4)), ("a",))
    assert (fitted.points, fitted.dropped) == (8, 0)
    queries = np.array([[0.0, 0.0], [10.0, 0.0], [3.0, 0.0], [0.0, 2.0], [9.0, 4.0]])
    np.testing.assert_allclose(fitted.score(evidence(queries)), [0, 0, 9, 1, 5], atol=1e-12)


def test_mean_of_the_training_scores_is_the_rank_with_a_single_class():
    train, _, _ = random_case(3, count=200, entries=6)
    zeros = np.zeros(len(train), dtype=int)
    scores = fit_mahalanobis(known(train, zeros), ("a",)).score(evidence(train))
    assert scores.mean() == pytest.approx(6, rel=1e-10)  # divided by N, not by N - 1
    relative = fit_rmds(known(train, zeros), ("a",)).score(evidence(train))
    np.testing.assert_allclose(relative, 0, atol=1e-10)  # one class is all of the background


def test_scores_do_not_change_with_an_invertible_linear_map():
    train, labels, queries = random_case(4)
    mixing = np.random.default_rng(9).normal(size=(5, 5))
    for fit, _ in FITS:
        plain = fit(known(train, labels), ("a",)).score(evidence(queries))
        mapped = fit(known(train @ mixing, labels), ("a",)).score(evidence(queries @ mixing))
        np.testing.assert_allclose(mapped, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("fit", "background"), FITS)
def test_dead_and_copied_units_are_ignored_and_counted(fit, background):
    train, labels, queries = random_case(5)
    plain = fit(known(train, labels), ("a",)).score(evidence(queries))
    # two dead units that the queries wake up, however strongly
    dead = np.column_stack([train, np.zeros((len(train), 2))])
    woken = np.column_stack([queries, 1e6 * np.ones((len(queries), 2))])
    fitted = fit(known(dead, labels), ("a",))
    assert (fitted.classes if background else fitted).dropped == 2
    np.testing.assert_allclose(fitted.score(evidence(woken)), plain, rtol=1e-9, atol=1e-9)
    # a copied unit adds nothing
    copied = fit(known(train[:, [0, 1, 2, 3, 4, 4]], labels), ("a",))
    assert (copied.background if background else copied).dropped == 1
    scores = copied.score(evidence(queries[:, [0, 1, 2, 3, 4, 4]]))
    np.testing.assert_allclose(scores, plain, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("fit", "background"), FITS)
def test_more_entries_than_points(fit, background):
    train, labels, queries = random_case(6, count=15, entries=40)
    agrees(fit, background, train, labels, queries, rtol=1e-7)
    fitted = fit(known(train, labels), ("a",))
    classes = len(np.unique(labels))
    assert (fitted.classes if background else fitted).dropped == 40 - (15 - classes)
    if background:
        assert fitted.background.dropped == 40 - (15 - 1)


def test_rounding_of_float32_is_no_direction():
    generator = np.random.default_rng(7)
    mixing = generator.normal(size=(4, 12)).astype(np.float32)
    hidden = generator.normal(size=(500, 4)).astype(np.float32)
    fitted = fit_mahalanobis(known(hidden @ mixing, np.arange(500) % 2), ("a",))
    assert fitted.dropped == 8


@pytest.mark.parametrize(("fit", "background"), FITS)
def test_block_by_block_equals_all_at_once(fit, background, monkeypatch, tmp_path):
    train, labels, queries = random_case(8, count=101, entries=6, dtype=np.float32)
    labels[::7] = -1
    whole = fit(known(train, labels), ("a",)).score(evidence(queries))
    mapped = np.memmap(tmp_path / "points", dtype=np.float32, mode="w+", shape=train.shape)
    mapped[:] = train
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 6 * 4)
    blockwise = fit(known(mapped, labels), ("a",)).score(evidence(queries))
    np.testing.assert_allclose(blockwise, whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("fit", "background"), FITS)
def test_points_without_a_label_are_left_out(fit, background):
    train, labels, queries = random_case(9)
    some = labels.copy()
    some[::3] = -1
    agrees(fit, background, train, some, queries)
    fitted = fit(known(train, some), ("a",))
    without = fit(known(train[some >= 0], some[some >= 0]), ("a",))
    np.testing.assert_array_equal(fitted.score(evidence(queries)), without.score(evidence(queries)))


def test_a_class_of_one_point_and_gaps_between_labels():
    train, labels, queries = random_case(10)
    labels = np.where(labels == 2, 40, labels)
    labels[0] = 17
    agrees(fit_mahalanobis, False, train, labels, queries)
    fitted = fit_mahalanobis(known(train, labels), ("a",))
    assert len(fitted.means) == 4
    assert fitted.score(evidence(train[:1]))[0] == pytest.approx(0, abs=1e-12)


def test_scores_are_never_negative_at_the_means():
    train, labels, _ = random_case(11, offset=1e6)
    means = np.stack([train[labels == c].mean(axis=0) for c in range(3)])
    scores = fit_mahalanobis(known(train, labels), ("a",)).score(evidence(means))
    assert (scores >= 0).all()
    assert (scores < 1e-15).all()


def test_equal_points_in_every_class_have_no_covariance():
    for scale in (1.0, 0.1, 1e6 / 3):
        train = scale * np.repeat([[1.0, 2.0, 0.7], [4.0, 5.0, 0.3]], 1001, axis=0)
        with pytest.raises(MeasureError, match="equal"):
            fit_mahalanobis(known(train, np.repeat([0, 1], 1001)), ("a",))
    with pytest.raises(MeasureError, match="equal"):  # each class a single point
        fit_rmds(known(np.eye(3), np.arange(3)), ("a",))
    with pytest.raises(MeasureError, match="equal"):
        fit_rmds(known(np.ones((4, 3)), np.zeros(4, dtype=int)), ("a",))


def test_wide_layers_are_refused_before_they_are_read():
    wide = np.broadcast_to(np.float32(np.nan), (3, 4097))
    with pytest.raises(MeasureError, match=r"4097 entries.*--reduce mean"):
        fit_mahalanobis(known(wide, np.zeros(3, dtype=int)), ("a",))


@pytest.mark.parametrize("fit", [fit_mahalanobis, fit_rmds])
def test_what_is_missing_is_named(fit):
    points = np.random.default_rng(0).normal(size=(6, 2))
    labels = np.array([0, 0, 1, 1, 2, 2])
    for training in (None, evidence(points), evidence(points, np.full(6, -1))):
        with pytest.raises(MeasureError, match="needs training data with labels: give --train"):
            fit(Known(training=training), ("a",))
    with pytest.raises(MeasureError, match="nothing is stored of layer b"):
        fit(known(points, labels), ("b",))
    with pytest.raises(MeasureError, match="2 layers"):
        fit(known(points, labels), ("a", "b"))
    with pytest.raises(MeasureError, match="hold -2"):
        fit(known(points, labels - 2), ("a",))
    with pytest.raises(MeasureError, match="labels of shape"):
        fit(known(points, labels[:5]), ("a",))
    with pytest.raises(MeasureError, match=r"shape \(6, 1, 2\)"):
        fit(known(points[:, None], labels), ("a",))
    fitted = fit(known(points, labels), ("a",))
    with pytest.raises(MeasureError, match="3 entries but 2 in training"):
        fitted.score(evidence(np.zeros((4, 3))))


def test_values_that_are_not_finite_or_too_large_are_refused():
    train, labels, queries = random_case(12)
    fitted = fit_rmds(known(train, labels), ("a",))
    queries[7, 1] = np.nan
    with pytest.raises(MeasureError, match="row 7"):
        fitted.score(evidence(queries))
    queries[7, 1] = 1e200
    with pytest.raises(MeasureError, match="range of float64"):
        fitted.score(evidence(queries))
    train[11, 0] = np.inf
    with pytest.raises(MeasureError, match="row 11"):
        fit_rmds(known(train, labels), ("a",))
    train[11, 0] = 1e200
    with pytest.raises(MeasureError, match="range of float64"):
        fit_rmds(known(train, labels), ("a",))


def test_no_inputs_give_no_scores():
    train, labels, queries = random_case(13)
    assert fit_rmds(known(train, labels), ("a",)).score(evidence(queries[:0])).shape == (0,)
