import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.reliability import reliability


def test_bins_hold_what_the_definition_says():
    credibility = np.array([0.0, 0.05, 0.5, 0.55, 1.0])
    correct = np.array([False, True, True, True, True])
    first, second = reliability(credibility, correct, bins=2)
    assert (first.low, first.high, first.count, first.accuracy) == (0.0, 0.5, 2, 0.5)
    assert (second.low, second.high, second.count, second.accuracy) == (0.5, 1.0, 3, 1.0)
    assert first.credibility == pytest.approx(0.025)


def test_credibility_zero_and_one_are_not_lost():
    table = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert [row.count for row in table] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_an_empty_bin_is_missing():
    table = reliability(np.array([0.95]), np.array([True]))
    assert [row.accuracy for row in table] == [None] * 9 + [1.0]
    assert table[0].credibility is None


@pytest.mark.parametrize("bins", [1, 3, 7, 10, 15, 20])
@pytest.mark.parametrize("points", [10, 30, 210, 750, 751])
def test_p_values_on_an_edge_belong_to_the_bin_above(bins, points):
    ranks = np.arange(points + 1)
    counts = [row.count for row in reliability(ranks / points, ranks >= 0, bins=bins)]
    exact = np.minimum(ranks * bins // points, bins - 1)
    assert counts == np.bincount(exact, minlength=bins).tolist()


def test_no_inputs_leave_every_bin_missing():
    table = reliability(np.empty(0), np.empty(0, dtype=bool), bins=3)
    assert [(row.count, row.accuracy) for row in table] == [(0, None)] * 3


@pytest.mark.parametrize(
    ("credibility", "correct", "bins", "message"),
    [
        ([0.5], [True, False], 10, r"shape \(1,\)"),
        ([0.5], [1.0], 10, "float64"),
        ([1.5], [True], 10, r"outside \[0, 1\]"),
        ([np.nan], [True], 10, r"outside \[0, 1\]"),
        ([0.5], [True], 0, "0 reliability bins"),
    ],
)
def test_what_cannot_be_binned_is_refused(credibility, correct, bins, message):
    with pytest.raises(MeasureError, match=message):
        reliability(np.array(credibility), np.array(correct), bins=bins)
