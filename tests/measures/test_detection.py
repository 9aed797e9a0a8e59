from dataclasses import asdict, astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from entangle_cli.errors import MeasureError
from entangle_cli.measures.detection import Detection, detection, threshold
from tests.reference import detection as reference

SCORES = st.one_of(st.integers(-3, 3), st.floats(allow_nan=False, width=64))
SETS = st.lists(SCORES, min_size=1, max_size=25)
# orders of magnitude, heavy ties, and sizes at which 95 % is a whole number of inputs and is not
CASES = {
    "apart": (lambda r, n: r.normal(size=n), lambda r, n: r.normal(2, 1, n)),
    "inverted": (lambda r, n: r.normal(2, 1, n), lambda r, n: r.normal(size=n)),
    "tied": (lambda r, n: r.integers(0, 4, n), lambda r, n: r.integers(1, 5, n)),
    "two values": (lambda r, n: r.integers(0, 2, n), lambda r, n: r.integers(0, 2, n)),
    "large": (lambda r, n: 1e300 * r.normal(size=n), lambda r, n: 1e300 * r.normal(size=n)),
    "close": (lambda r, n: 1 + 1e-15 * r.integers(0, 9, n), lambda r, n: 1 + 1e-15 * np.arange(n)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("sizes", [(1, 1), (20, 19), (21, 40), (60, 3), (100, 101)])
def test_every_number_equals_loops_over_pairs_and_thresholds(case, sizes):
    generator = np.random.default_rng(sum(sizes))
    inside, outside = (draw(generator, n) for draw, n in zip(case, sizes, strict=True))
    found = asdict(detection(inside, outside))
    for name, value in reference.detection(inside.tolist(), outside.tolist()).items():
        assert found[name] == pytest.approx(float(value), abs=1e-14), name


@settings(max_examples=300, deadline=None)
@given(SETS, SETS)
def test_any_scores_equal_the_loops_infinities_included(inside, outside):
    found = asdict(detection(np.array(inside, float), np.array(outside, float)))
    expected = reference.detection([float(s) for s in inside], [float(s) for s in outside])
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-14), name


def first_reaching(positive, negative):
    """FPR at 95 % TPR from scikit-learn's curve."""
    truth = np.r_[np.ones(len(positive)), np.zeros(len(negative))]
    fpr, tpr, _ = roc_curve(truth, np.r_[positive, negative], drop_intermediate=False)
    return fpr[tpr >= 0.95][0]


@pytest.mark.parametrize("decimals", [None, 1, 0], ids=["no ties", "ties", "heavy ties"])
@pytest.mark.parametrize("shift", [-1, 0, 1, 3, 30])
def test_scikit_learn_gives_the_same_numbers(decimals, shift):
    generator = np.random.default_rng(shift + 7)
    inside, outside = generator.normal(size=2000), generator.normal(shift, 2, 700)
    if decimals is not None:
        inside, outside = inside.round(decimals), outside.round(decimals)
    scores = np.r_[inside, outside]
    is_outside = np.r_[np.zeros(2000, int), np.ones(700, int)]
    fpr, tpr, _ = roc_curve(is_outside, scores, drop_intermediate=False)
    found = detection(inside, outside)
    assert found.auroc == pytest.approx(roc_auc_score(is_outside, scores), abs=1e-12)
    assert found.aupr_out == pytest.approx(average_precision_score(is_outside, scores), abs=1e-12)
    assert found.aupr_in == pytest.approx(
        average_precision_score(1 - is_outside, -scores), abs=1e-12
    )
    assert found.fpr95_out == pytest.approx(first_reaching(outside, inside), abs=1e-12)
    assert found.fpr95_in == pytest.approx(first_reaching(-inside, -outside), abs=1e-12)
    assert found.dtacc == pytest.approx(((tpr + 1 - fpr) / 2).max(), abs=1e-12)


def test_the_two_fpr_are_not_the_same_number():
    # 95 of 100 inside at 0; 50 of 100 outside above everything, the rest below everything
    inside = np.r_[np.zeros(95), np.full(5, 2.0)]
    outside = np.r_[np.full(50, 3.0), np.full(50, -1.0)]
    found = detection(inside, outside)
    assert (found.fpr95_in, found.fpr95_out) == (0.5, 1.0)


@pytest.mark.parametrize("size", [20, 100, 2000])
def test_exactly_95_percent_is_enough_and_one_less_is_not(size):
    kept = size * 95 // 100
    outside = np.array([1.0])
    inside = np.r_[np.zeros(kept), np.full(size - kept, 2.0)]
    assert detection(inside, outside).fpr95_in == 0
    inside[0] = 2.0
    assert detection(inside, outside).fpr95_in == 1
    assert detection(-outside, -inside).fpr95_out == 1


def test_turning_the_sides_and_the_sign_around_turns_the_names_around():
    generator = np.random.default_rng(3)
    inside, outside = generator.integers(0, 9, 50), generator.integers(3, 12, 80)
    one, other = detection(inside, outside), detection(-outside, -inside)
    assert one.auroc == other.auroc
    assert one.dtacc == other.dtacc
    assert one.aupr_in == pytest.approx(other.aupr_out, abs=1e-15)
    assert (one.fpr95_in, one.fpr95_out) == (other.fpr95_out, other.fpr95_in)
    assert detection(-inside, -outside).auroc == pytest.approx(1 - one.auroc, abs=1e-15)


def test_only_the_order_of_scores_counts():
    generator = np.random.default_rng(4)
    inside, outside = generator.normal(size=90), generator.normal(1, 1, 60)
    assert detection(np.exp(inside), np.exp(outside)) == detection(inside, outside)
    shuffled = generator.permutation(inside), generator.permutation(outside)
    assert detection(*shuffled) == detection(inside, outside)


def test_far_apart_and_far_apart_the_wrong_way():
    inside, outside = np.arange(30.0), np.arange(100.0, 110.0)
    assert detection(inside, outside) == Detection(1, 1, 1, 0, 0, 1)
    wrong = detection(outside, inside)
    assert (wrong.auroc, wrong.fpr95_in, wrong.fpr95_out, wrong.dtacc) == (0, 1, 1, 0.5)


@pytest.mark.parametrize("value", [0.0, -7.5, np.inf, -np.inf])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (30, 10)])
def test_constant_scores_say_nothing(value, n, m):
    found = detection(np.full(n, value), np.full(m, value))
    expected = Detection(0.5, n / (n + m), m / (n + m), 1, 1, 0.5)
    assert astuple(found) == pytest.approx(astuple(expected), abs=1e-15)


def test_infinities_lie_beyond_every_number_and_equal_each_other():
    found = detection(np.array([-np.inf, 1e308, np.inf]), np.array([np.inf, np.inf]))
    assert found.auroc == pytest.approx(5 / 6)
    assert found == detection(np.array([0, 1, 2]), np.array([2, 2]))


def test_zero_has_no_sign():
    assert detection(np.array([0.0]), np.array([-0.0])).auroc == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, bool])
def test_scores_of_every_numeric_type_are_taken(dtype):
    found = detection(np.array([0, 0, 1], dtype), np.array([1, 1], dtype))
    assert found.auroc == pytest.approx(5 / 6)


def test_the_scores_given_are_left_alone():
    inside, outside = np.array([3.0, 1.0]), np.array([2.0, 5.0])
    detection(inside, outside)
    threshold(inside, keep=0.5)
    assert inside.tolist() == [3, 1]
    assert outside.tolist() == [2, 5]


@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([], [1.0], "no in-distribution scores; give at least one"),
        ([1.0], [], "no out-of-distribution scores"),
        ([1.0, np.nan, np.nan], [1.0], "2 of 3 in-distribution scores are NaN"),
        ([1.0], [np.nan], "1 of 1 out-of-distribution scores are NaN"),
        ([[1.0]], [1.0], r"of shape \(1, 1\)"),
        (["a"], [1.0], "give one number per input"),
        ([1j], [1.0], "type complex128"),
    ],
)
def test_what_is_no_set_of_scores_is_refused(inside, outside, message):
    with pytest.raises(MeasureError, match=message):
        detection(np.array(inside), np.array(outside))


@pytest.mark.parametrize("keep", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_the_threshold_keeps_new_inputs_as_often_as_promised(keep):
    n, rounds = 120, 10_000
    scores = np.random.default_rng(5).normal(size=(rounds, n + 1))
    beyond = np.mean([row[n] > threshold(row[:n], keep=keep) for row in scores])
    # never more than promised, and less by no more than one input in n + 1; 4 standard errors
    error = 4 * np.sqrt(keep * (1 - keep) / rounds)
    assert 1 - keep - 1 / (n + 1) - error < beyond < 1 - keep + error


def test_the_threshold_is_the_smallest_calibration_score_that_keeps_the_promise():
    # exchangeable: the new input is each of the n + 1 with equal probability, the rest calibrate
    generator = np.random.default_rng(6)
    for n in (19, 20, 38, 39, 99):
        pool = generator.permutation(n + 1).astype(float)
        limits = [threshold(np.delete(pool, i)) for i in range(n + 1)]
        beyond = sum(score > limit for score, limit in zip(pool, limits, strict=True))
        assert beyond <= 0.05 * (n + 1) < beyond + 1


@pytest.mark.parametrize(
    ("n", "keep", "rank"),
    [(19, 0.95, 19), (20, 0.95, 20), (39, 0.95, 38), (9, 0.9, 9), (99, 0.99, 99), (1, 0.5, 1)],
)
def test_the_rank_is_that_of_the_decimal_number_that_was_typed(n, keep, rank):
    assert threshold(np.arange(1, n + 1)[::-1], keep=keep) == rank


def test_shares_that_binary_numbers_miss_are_meant_as_written():
    # 100 * .07 is 7.000000000000001 in binary
    assert threshold(np.arange(1, 100), keep=0.07) == 7
    assert threshold(np.arange(1, 100), keep=0.29) == 29


def test_equal_and_infinite_calibration_scores_have_an_answer():
    assert threshold(np.zeros(19)) == 0
    assert threshold(np.r_[np.zeros(18), np.inf]) == np.inf
    assert threshold(np.r_[np.full(30, -np.inf), 1.0], keep=0.5) == -np.inf


@pytest.mark.parametrize(("keep", "needed"), [(0.95, 19), (0.9, 9), (0.99, 99), (0.999, 999)])
def test_too_few_calibration_scores_say_how_many_are_needed(keep, needed):
    assert threshold(np.arange(needed), keep=keep) == needed - 1
    with pytest.raises(MeasureError, match=f"give at least {needed},"):
        threshold(np.arange(needed - 1), keep=keep)


def test_a_threshold_needs_a_share_and_scores():
    for keep in (0, 1, 95, -0.1, np.nan):
        with pytest.raises(MeasureError, match="between 0 and 1"):
            threshold(np.arange(100), keep=keep)
    with pytest.raises(MeasureError, match="no calibration scores"):
        threshold(np.array([]))
    with pytest.raises(MeasureError, match="1 of 2 calibration scores are NaN"):
        threshold(np.array([1, np.nan]))
