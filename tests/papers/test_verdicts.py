"""A verdict follows from its rule, and from nothing else."""

import math

import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.papers.verdicts import (
    Verdict,
    above,
    below,
    further_run,
    interval,
    like_a_run,
    near,
)


def test_interval_is_students():
    found = interval([1.0, 2.0, 3.0, 4.0])
    # t(0.975, 3) = 3.1824, standard error sqrt(5/3)/2
    half = 3.182446305 * math.sqrt(5 / 3) / 2
    assert found.mean == 2.5
    assert found.low == pytest.approx(2.5 - half, rel=1e-8)
    assert found.high == pytest.approx(2.5 + half, rel=1e-8)
    assert interval([7.0]).low is None


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_interval_refuses_what_has_none(values):
    with pytest.raises(MeasureError, match="finite"):
        interval(values)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.0, 1.1, 0.9], Verdict.reproduced),
        ([3.0, -1.0, 0.1], Verdict.direction),
        ([-1.0, -1.1, -0.9], Verdict.not_reproduced),
        ([0.0, 0.0], Verdict.not_reproduced),
        ([5.0], Verdict.direction),
        ([-5.0], Verdict.not_reproduced),
    ],
)
def test_above_wants_the_whole_interval(values, verdict):
    assert above("q", values, 0.0).verdict is verdict
    assert below("q", [-v for v in values], 0.0).verdict is verdict


def test_one_run_is_enough_only_where_the_claim_says_so():
    assert above("q", [5.0], 0.0, single=True).verdict is Verdict.reproduced
    assert near("q", [5.0], 5.1, tolerance=0.2).verdict is Verdict.reproduced
    assert near("q", [5.0], 5.1, tolerance=0.2, single=False).verdict is Verdict.direction


def test_near_counts_the_tolerance_on_both_sides():
    assert near("q", [1.0, 1.2], 1.0, tolerance=0.11).verdict is Verdict.reproduced
    assert near("q", [1.0, 1.2], 1.3, tolerance=0.11).verdict is Verdict.not_reproduced
    assert near("q", [1.0, 1.2], 0.95, tolerance=0.11).verdict is Verdict.not_reproduced


@pytest.mark.parametrize("rule", [above, below])
def test_a_scale_without_a_say_never_decides(rule):
    for value in (-1.0, 1.0):
        found = rule("q", [value, value], 0.0, shown=False)
        assert found.verdict is Verdict.cannot_show
        assert found.measured == value
    assert near("q", [1.0], 1.0, tolerance=1.0, shown=False).verdict is Verdict.cannot_show


def test_a_row_carries_its_rule():
    row = above("mean distance", [1.0, 2.0], 0.5, printed=0.7).to_row()
    assert row["rule"] == "above 0.5, with its interval"
    assert (row["printed"], row["runs"], row["verdict"]) == (0.7, 2, "direction")


def test_a_further_run_lies_within_the_interval_of_the_mean_and_of_itself():
    found = further_run([1.0, 2.0, 3.0])
    # t(0.975, 2) = 4.3027, deviation 1, sqrt(1 + 1/3)
    half = 4.302652730 * math.sqrt(4 / 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-8)
    assert further_run([2.0]).low is None


@pytest.mark.parametrize(
    ("values", "printed", "verdict"),
    [
        ([1.0, 2.0, 3.0], (6.9, 6.9), Verdict.reproduced),
        ([1.0, 2.0, 3.0], (7.0, 7.0), Verdict.not_reproduced),
        ([1.0, 2.0, 3.0], (-3.1, -3.1), Verdict.not_reproduced),
        # what is printed may be any of a range
        ([1.0, 2.0, 3.0], (6.9, 9.0), Verdict.reproduced),
        ([1.0, 2.0, 3.0], (-9.0, -2.9), Verdict.reproduced),
        # no spread to hold it against
        ([2.0], (2.0, 2.0), Verdict.cannot_show),
    ],
)
def test_a_printed_run_is_held_against_the_spread_of_runs(values, printed, verdict):
    found = like_a_run("q", values, printed)
    assert found.verdict is verdict
    assert found.measured == sum(values) / len(values)


def test_how_a_printed_range_is_named():
    assert like_a_run("q", [1.0, 2.0], (0.763, 0.794)).printed == "0.763 to 0.794"
    assert like_a_run("q", [1.0, 2.0], (0.987, 0.987)).printed == 0.987
