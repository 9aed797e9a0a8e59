import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import chi2, kstest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.distances import fit_knn_euclidean
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.fisher import (
    Fisher,
    fit_fisher,
    fit_fisher_dknn,
    fit_fisher_knn,
    fit_fisher_mahalanobis,
    fit_fisher_rmds,
    fit_fisher_snnl,
    log_chi2_tail,
)
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import Neighbors
from tests.reference import ood_layers as reference


def names(count):
    return tuple(f"layer{number}" for number in range(count))


def scored(table):
    """Evidence whose ``knn_euclidean`` score of layer j is column j of a table ``(n, L)``."""
    found = {
        layer: Neighbors(np.zeros((len(column), 1), dtype=np.int64), column[:, None])
        for layer, column in zip(names(table.shape[1]), table.T, strict=True)
    }
    return Evidence(rows=len(table), neighbors={"euclidean": found})


def fit(table, layers=None):
    known = Known(training=Evidence(rows=1), calibration=scored(table))
    return fit_fisher(fit_knn_euclidean, known, names(table.shape[1]) if layers is None else layers)


def p_values(fitted, table):
    return np.exp(-fitted.score(scored(table)))


@pytest.mark.parametrize("seed", range(12))
def test_equals_loops(seed):
    generator = np.random.default_rng(seed)
    layers = int(generator.integers(1, 5))
    mixing = generator.normal(size=(layers, layers))
    # rounded: some scores are equal
    table = np.round(np.abs(generator.normal(size=(40, layers)) @ mixing), 1)
    calibration, tested = table[:25], table[25:]
    fitted = fit(calibration)
    columns = calibration.T.tolist()
    scale, freedom = reference.brown(columns)
    assert (fitted.scale, fitted.freedom) == pytest.approx((scale, freedom), rel=1e-10)
    statistics = np.array([reference.fisher_statistic(row, columns) for row in tested.tolist()])
    expected = -chi2.logsf(statistics / scale, freedom)
    np.testing.assert_allclose(fitted.score(scored(tested)), expected, rtol=1e-10, atol=1e-13)


def test_p_values_of_independent_layers_are_uniform():
    generator = np.random.default_rng(0)
    fitted = fit(generator.random((4000, 6)))
    assert fitted.scale == pytest.approx(1, abs=0.1)
    found = p_values(fitted, generator.random((2000, 6)))
    assert kstest(found, "uniform").pvalue > 0.05


@pytest.mark.parametrize(("layers", "correlation"), [(3, 0.5), (6, 0.8), (20, 0.9)])
def test_brown_keeps_p_values_uniform_where_fisher_does_not(layers, correlation):
    generator = np.random.default_rng(layers)

    def draw(count):
        shared = math.sqrt(correlation) * generator.normal(size=(count, 1))
        return ndtr(shared + math.sqrt(1 - correlation) * generator.normal(size=(count, layers)))

    fitted = fit(draw(4000))
    tested = draw(4000)
    brown = kstest(p_values(fitted, tested), "uniform").statistic
    plain = dataclasses.replace(fitted, scale=1.0, freedom=2.0 * layers)
    fisher = kstest(p_values(plain, tested), "uniform").statistic
    # a scaled chi-squared is an approximation: small differences remain
    assert brown < 0.04
    assert fisher > 0.09
    # false alarms at 1 % where there are none to be had
    assert (p_values(fitted, tested) < 0.01).mean() < 0.02
    assert (p_values(plain, tested) < 0.01).mean() > 0.02


def test_one_layer_gives_minus_log_p():
    calibration = np.array([[1.0], [2.0], [3.0], [4.0]])
    fitted = fit(calibration)
    assert (fitted.scale, fitted.freedom) == (1.0, 2.0)
    found = fitted.score(scored(np.array([[0.0], [2.0], [2.5], [9.0]])))
    np.testing.assert_allclose(found, -np.log([1, 4 / 5, 3 / 5, 1 / 5]), atol=1e-15)


def test_perfectly_correlated_layers_are_one_layer():
    generator = np.random.default_rng(1)
    column, tested = generator.random((50, 1)), generator.random((30, 1))
    alone = fit(column).score(scored(tested))
    fitted = fit(np.hstack([column, column**2, 3 * column]))
    assert (fitted.scale, fitted.freedom) == pytest.approx((3, 2), rel=1e-12)
    found = fitted.score(scored(np.hstack([tested, tested**2, 3 * tested])))
    np.testing.assert_allclose(found, alone, rtol=1e-10)


def test_negative_correlation_is_not_trusted():
    column = np.random.default_rng(2).random((60, 1))
    fitted = fit(np.hstack([column, 1 - column]))
    assert (fitted.scale, fitted.freedom) == (1.0, 4.0)


def test_a_single_calibration_input():
    fitted = fit(np.array([[1.0, 1.0]]))
    assert (fitted.scale, fitted.freedom) == (1.0, 4.0)
    found = p_values(fitted, np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]]))
    np.testing.assert_allclose(found, chi2.sf([0, 2 * math.log(2), 4 * math.log(2)], 4))


def test_constant_scores_are_uncorrelated_with_the_others():
    column = np.random.default_rng(3).random((40, 1))
    fitted = fit(np.hstack([column, np.full((40, 1), 0.3)]))
    assert (fitted.scale, fitted.freedom) == (1.0, 4.0)
    twice = fit(np.hstack([column, column, np.full((40, 1), 0.3)]))
    assert (twice.scale, twice.freedom) == pytest.approx((5 / 3, 18 / 5))
    constant = fit(np.full((40, 2), 0.7))
    assert (constant.scale, constant.freedom) == (1.0, 4.0)
    found = constant.score(scored(np.array([[0.7, 0.7], [0.1, 0.1], [0.8, 0.7], [0.8, 0.8]])))
    assert found[0] == found[1] == 0
    assert 0 < found[2] < found[3]


def test_infinite_scores_are_ordered_like_others():
    calibration = np.array([[1.0], [np.inf], [2.0], [np.inf]])
    fitted = fit(calibration)
    found = p_values(fitted, np.array([[0.5], [1.5], [7.0], [np.inf]]))
    np.testing.assert_allclose(found, [1, 4 / 5, 3 / 5, 3 / 5])
    finite = fit(np.array([[1.0], [9.0], [2.0], [9.0]]))
    assert (fitted.scale, fitted.freedom) == (finite.scale, finite.freedom)


def test_a_score_that_is_nan_is_refused():
    broken = SimpleNamespace(score=lambda inputs: np.full(inputs.rows, np.nan))
    with pytest.raises(MeasureError, match="layer0: a score is NaN"):
        fit_fisher(lambda *_: broken, Known(calibration=Evidence(rows=3)), names(1))


def test_a_layer_that_cannot_be_fitted_is_left_out_and_named():
    table = np.random.default_rng(4).random((30, 3))

    def choosy(known, layers):
        if layers == ("layer1",):
            raise MeasureError("no covariance")
        return fit_knn_euclidean(known, layers)

    known = Known(training=Evidence(rows=1), calibration=scored(table))
    fitted = fit_fisher(choosy, known, (*names(3), "unknown"))
    # the last one is fitted but has no score of the calibration inputs
    assert fitted.left_out == ("layer1", "unknown")
    assert [part.layer for part in fitted.layers] == ["layer0", "layer2"]
    others = fit(table, ("layer0", "layer2"))
    inputs = scored(np.random.default_rng(5).random((10, 3)))
    np.testing.assert_array_equal(fitted.score(inputs), others.score(inputs))
    with pytest.raises(MeasureError, match="neighbors of layer x"):
        fit(table, ("x", "y"))


def test_missing_sets_are_named():
    table = scored(np.ones((3, 1)))
    for calibration in (None, Evidence(rows=0)):
        with pytest.raises(MeasureError, match="needs calibration data: give --calib"):
            fit_fisher_knn(Known(training=table, calibration=calibration), names(1))
    with pytest.raises(MeasureError, match="needs training data: give --train"):
        fit_fisher_knn(Known(calibration=table), names(1))
    for method in (fit_fisher_mahalanobis, fit_fisher_rmds, fit_fisher_dknn, fit_fisher_snnl):
        with pytest.raises(MeasureError, match="needs training data with labels: give --train"):
            method(Known(training=table, calibration=table), names(1))
    with pytest.raises(MeasureError, match="no layer"):
        fit(np.ones((3, 1)), ())


def layered(train, points, logits):
    """Everything that any of the detectors looks at, in two layers."""
    both = {"a": points, "b": points[:, :3] ** 2}
    trained = {"a": train, "b": train[:, :3] ** 2}
    found = {layer: ExactIndex(trained[layer]).query(both[layer], k=10) for layer in both}
    neighbors = {"cosine": found}
    return Evidence(len(points), logits, points=both, channels=both, neighbors=neighbors)


def test_every_base_finds_the_outliers():
    generator = np.random.default_rng(6)
    means = 2.5 * np.eye(3, 5)

    def draw(count):
        labels = np.arange(count) % 3
        return means[labels] + generator.normal(size=(count, 5)), labels

    train, labels = draw(300)
    sets = [draw(150)[0], draw(100)[0], 4 * generator.normal(size=(100, 5))]
    # the network is at a loss with the outliers, which lie far out
    wrong = np.roll(np.arange(3), 1)
    logits = [sets[0] @ means.T, sets[1] @ means.T, (sets[2] @ means.T)[:, wrong]]
    pairs = zip(sets, logits, strict=True)
    calibration, inside, outside = (layered(train, x, z) for x, z in pairs)
    training = layered(train, train, train @ means.T)
    training = dataclasses.replace(training, labels=labels)
    known = Known(training=training, calibration=calibration)
    bases = (fit_fisher_knn, fit_fisher_mahalanobis, fit_fisher_rmds, fit_fisher_dknn)
    for method in (*bases, fit_fisher_snnl):
        fitted = method(known, ("a", "b"))
        assert isinstance(fitted, Fisher)
        assert fitted.left_out == ()
        normal, strange = fitted.score(inside), fitted.score(outside)
        assert np.isfinite(np.concatenate([normal, strange])).all()
        wins = (strange[:, None] > normal).mean() + (strange[:, None] == normal).mean() / 2
        assert wins > 0.6, method.__name__


@pytest.mark.parametrize("freedom", [2.0, 3.7, 40.0, 400.0])
def test_the_tail_equals_that_of_scipy_where_it_has_one(freedom):
    x = np.linspace(0, 1200, 200)
    expected = chi2.logsf(x, freedom)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(log_chi2_tail(x, freedom), expected, rtol=1e-11, atol=1e-15)
    small = np.geomspace(1e-5, 1e-2, 20)
    expected = -chi2.cdf(small, freedom)  # log(1 - q) of a q below 1e-2
    np.testing.assert_allclose(log_chi2_tail(small, freedom), expected, rtol=1e-2)


@pytest.mark.parametrize("freedom", [2.0, 2.3, 7.9, 40.0, 399.5, 2000.0])
def test_the_tail_stays_finite_and_ordered_where_it_underflows(freedom, monkeypatch):
    x = np.geomspace(1, 1e6, 4000) + freedom
    found = log_chi2_tail(x, freedom)
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()
    if freedom == 2:
        np.testing.assert_allclose(found, -x / 2, rtol=1e-13)
    # the continued fraction goes on where the library's function ends
    far = found[found < -200]
    monkeypatch.setattr("entangle_cli.measures.ood.fisher.SMALLEST_TAIL", 1e-60)
    np.testing.assert_allclose(log_chi2_tail(x, freedom)[found < -200], far, rtol=1e-13)
