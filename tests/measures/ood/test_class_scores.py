import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from entangle_cli.measures.ood.class_scores import (
    are_log_probabilities,
    are_probabilities,
    logarithms,
)

LOGITS = np.random.default_rng(0).normal(size=(50, 7)) * 5


@pytest.mark.parametrize("kind", ["float64", "float32", "float16"])
def test_the_three_kinds_are_told_apart(kind):
    p, logs = softmax(LOGITS, axis=1).astype(kind), log_softmax(LOGITS, axis=1).astype(kind)
    assert are_probabilities(p)
    assert are_log_probabilities(logs)
    assert not are_log_probabilities(p)
    assert not are_probabilities(logs)
    for test in (are_probabilities, are_log_probabilities):
        assert not test(LOGITS.astype(kind))
        assert not test(-np.abs(LOGITS).astype(kind))


def test_one_hot_rows_are_probabilities_and_their_logarithms():
    hot = np.eye(4)
    assert are_probabilities(hot)
    logs = logarithms(hot)
    assert logs.tolist()[0] == [0.0, -np.inf, -np.inf, -np.inf]
    assert are_log_probabilities(logs)


def test_one_row_that_is_none_decides():
    p = softmax(LOGITS, axis=1)
    p[17] *= 1.01
    assert not are_probabilities(p)
    p[17] /= 1.01
    p[3, 0], p[3, 1] = p[3, 0] - 1, p[3, 1] + 1  # sums to one, but outside [0, 1]
    assert not are_probabilities(p)


def test_sigmoids_are_none():
    assert not are_probabilities(1 / (1 + np.exp(-LOGITS)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_no_probabilities(value):
    p = softmax(LOGITS, axis=1)
    p[0, 0] = value
    assert not are_probabilities(p)
    logs = log_softmax(LOGITS, axis=1)
    logs[0] = value
    assert not are_log_probabilities(logs)


def test_no_rows_are_nothing():
    assert not are_probabilities(np.zeros((0, 3)))
    assert not are_log_probabilities(np.zeros((0, 3)))


def test_large_scores_do_not_overflow():
    assert not are_log_probabilities(np.full((2, 3), 1e300))
    assert not are_log_probabilities(np.full((2, 3), -1e300))


def test_logarithms_are_float64():
    found = logarithms(np.array([[0.25, 0.75]], np.float32))
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.exp(found), [[0.25, 0.75]], rtol=1e-15)
