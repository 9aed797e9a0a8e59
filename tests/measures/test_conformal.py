import numpy as np
import pytest
from scipy.stats import kstest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.conformal import Calibration
from entangle_cli.measures.dknn import label_counts, nonconformity, true_label_nonconformity
from entangle_cli.measures.labels import numbers, require_known
from tests.reference import dknn as reference

SCORES = np.array([0, 0, 1, 3])
LABELS = np.array([0, 1, 0, 1])
ALPHA = np.array([[0, 2, 5]])
LEVELS = (0.01, 0.05, 0.1, 0.2)


@pytest.mark.parametrize(
    ("zeros", "kind", "expected"),
    [
        ("keep", "paper", [1.0, 0.25, 0.0]),
        ("trim", "paper", [1.0, 0.5, 0.0]),
        ("keep", "conformal", [1.0, 0.4, 0.2]),
    ],
)
def test_the_published_arithmetic_is_met(zeros, kind, expected):
    fitted = Calibration.fit(SCORES, LABELS, zeros=zeros)
    assert fitted.p_values(ALPHA, kind=kind).tolist() == [expected]


def test_a_smoothed_p_value_lies_between_the_strict_and_the_conformal_one():
    fitted = Calibration.fit(SCORES, LABELS)
    smoothed = fitted.p_values(np.repeat(ALPHA, 500, axis=0), kind="smoothed", seed=1)
    assert (smoothed <= [1.0, 0.4, 0.2]).all()
    assert (smoothed >= [0.4, 0.2, 0.0]).all()
    assert smoothed.mean(0) == pytest.approx([0.7, 0.3, 0.1], abs=0.03)


def test_smoothing_follows_the_seed_and_the_order_of_rows_alone():
    fitted = Calibration.fit(SCORES, LABELS)
    alpha = np.array([[0, 2], [1, 1], [3, 0]])
    whole = fitted.p_values(alpha, kind="smoothed", seed=5)
    assert np.array_equal(fitted.p_values(alpha[:2], kind="smoothed", seed=5), whole[:2])
    assert not np.array_equal(fitted.p_values(alpha, kind="smoothed", seed=6), whole)
    assert whole[1, 0] == whole[1, 1]


def test_the_order_of_calibration_points_does_not_matter():
    order = np.array([2, 0, 3, 1])
    fitted = Calibration.fit(SCORES[order], LABELS[order])
    assert np.array_equal(fitted.p_values(ALPHA), Calibration.fit(SCORES, LABELS).p_values(ALPHA))


def test_a_class_is_judged_by_its_own_points_where_calibration_is_per_class():
    fitted = Calibration.fit(SCORES, LABELS, per_class=True)  # class 0: 0, 1; class 1: 0, 3
    assert fitted.p_values(np.array([[1, 1], [2, 2]])).tolist() == [[0.5, 0.5], [0.0, 0.5]]


@pytest.mark.parametrize("kind", ["paper", "conformal", "smoothed"])
def test_a_class_absent_from_a_calibration_per_class_is_never_supported(kind):
    fitted = Calibration.fit(SCORES, LABELS, per_class=True, classes=3)
    assert fitted.p_values(np.array([[0, 0, 0]]), kind=kind)[0, 2] == 0.0
    assert "no calibration point of class 2: the p-value of that class is 0" in fitted.notes


def test_a_class_absent_from_a_joint_calibration_is_noted_and_judged_like_the_others():
    fitted = Calibration.fit(SCORES, LABELS, classes=3)
    assert fitted.p_values(np.array([[0, 0, 0]])).tolist() == [[1.0, 1.0, 1.0]]
    assert "no calibration point of class 2" in fitted.notes


def test_trimming_nothing_but_zeros_keeps_them_and_says_so():
    fitted = Calibration.fit(np.zeros(5, dtype=int), np.zeros(5, dtype=int), zeros="trim")
    assert fitted.p_values(np.array([[0, 1]])).tolist() == [[1.0, 0.0]]
    assert "all 5 calibration scores are 0, so none is trimmed" in fitted.notes
    assert fitted.trimmed == (0,)


def test_trimming_is_counted():
    fitted = Calibration.fit(SCORES, LABELS, zeros="trim")
    assert fitted.trimmed == (2,)
    assert fitted.sizes.tolist() == [2]
    assert fitted.describe() == "4 calibration points, 2 zeros trimmed, p-values in steps of 0.5"


def test_unlabeled_calibration_points_are_left_out_and_counted():
    fitted = Calibration.fit(np.append(SCORES, 9), np.append(LABELS, -1))
    assert fitted.points == 4
    assert fitted.p_values(ALPHA).tolist() == [[1.0, 0.25, 0.0]]
    assert "1 of 5 calibration points have no label and are left out" in fitted.notes


def test_few_points_are_noted_with_the_step_of_p_values():
    assert Calibration.fit(SCORES, LABELS).notes == (
        "only 4 calibration points: p-values come in steps of 0.25",
    )
    many = Calibration.fit(np.arange(200), np.zeros(200, dtype=int))
    assert many.notes == ()


def test_leave_one_out_takes_the_own_score_out_for_every_label():
    fitted = Calibration.fit(SCORES, LABELS)
    alpha = np.array([[0, 9], [9, 0], [1, 9], [9, 3]])
    left_out = fitted.p_values(alpha, own_labels=LABELS)
    assert left_out[:, 0].tolist() == [1.0, 0.0, 1 / 3, 0.0]
    assert left_out[:, 1].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_leave_one_out_refuses_points_that_were_not_calibrated_on():
    fitted = Calibration.fit(SCORES, LABELS)
    with pytest.raises(MeasureError, match="calibration does not hold"):
        fitted.p_values(np.array([[2, 9]]), own_labels=np.array([0]))
    with pytest.raises(MeasureError, match="calibration does not hold"):
        fitted.p_values(np.array([[1, 9], [1, 9]]), own_labels=np.array([0, 0]))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([], []), {}, "the calibration set is empty"),
        (([0, 1], [-1, -1]), {}, "none of the 2 calibration points has a label"),
        (([0, 1, 2], [0, 7, 7]), {"classes": 3}, r"calibration label 7 \(2 points\) is not among"),
        (([0, 1], [0, -2]), {}, r"calibration label -2 \(1 point\)"),
        (([0, 1], [0]), {}, r"labels of shape \(1,\) for 2 points"),
        (([0.0, np.nan], [0, 1]), {}, "not finite"),
        (([[0]], [0]), {}, r"scores of shape \(1, 1\)"),
        (([0, 1], [0.0, 1.0]), {}, "labels of type float64"),
        (([0, 1], [0, 1]), {"zeros": "drop"}, "zeros 'drop' is unknown; use keep, trim"),
    ],
)
def test_what_cannot_calibrate_is_refused_in_one_line(arguments, options, message):
    with pytest.raises(MeasureError, match=message) as caught:
        Calibration.fit(*(np.array(values) for values in arguments), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("alpha", "options", "message"),
    [
        ([[0, 1]], {"kind": "exact"}, "p-value 'exact' is unknown"),
        ([0, 1], {}, r"nonconformity of shape \(2,\)"),
        ([[0, 1, 2]], {}, "for 3 classes but a calibration of 2"),
        ([[0, np.inf]], {}, "finite"),
    ],
)
def test_what_has_no_p_value_is_refused(alpha, options, message):
    fitted = Calibration.fit(SCORES, LABELS, per_class=True)
    with pytest.raises(MeasureError, match=message):
        fitted.p_values(np.array(alpha), **options)


def test_labels_that_no_training_point_has_are_refused_by_name():
    require_known(np.array([0, -1, 2]), np.array([0, 2, 2]), role="test")
    with pytest.raises(MeasureError, match=r"calibration label 1 \(2 points\) is not the label of"):
        require_known(np.array([0, 1, 1]), np.array([0, 2]), role="calibration")


def test_long_lists_in_messages_are_cut():
    assert numbers(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


# Validity: what the smoothed p-value of the true label promises, over calibrations drawn anew


def draw(rng, shape):
    """Points of three overlapping classes at two layers, and their labels."""
    labels = rng.integers(0, 3, shape)
    angles = 2 * np.pi * labels / 3
    centers = np.stack([np.cos(angles), np.sin(angles)], -1)
    points = centers + rng.normal(0, 0.8, (*shape, 2))
    return [points, np.tanh(points) @ np.array([[1.0, 0.4], [0.0, 1.0]])], labels


def nearest_labels(train, train_labels, queries, k=5):
    """Labels of the k nearest training points, trial by trial: ``(t, q, 2)`` to ``(t, q, k)``."""
    distances = np.square(queries[:, :, None] - train[:, None]).sum(-1)
    nearest = np.argpartition(distances, k, axis=-1)[..., :k]
    return np.take_along_axis(train_labels[:, None], nearest, axis=-1)


def true_label_p_values(trials, *, overlap=False, kind="smoothed", per_class=False, seed=0):
    """The p-value of one fresh point per trial, each with its own training and calibration set."""
    rng = np.random.default_rng(seed)
    layers, labels = draw(rng, (trials, 60 + 40 + 1))
    train, fresh = slice(0, 60), slice(60, None)
    rest = np.concatenate([np.arange(0, 40), [100]]) if overlap else np.arange(101)[fresh]
    counts = [
        label_counts(
            nearest_labels(points[:, train], labels[:, train], points[:, rest]).reshape(-1, 5), 3
        )
        for points in layers
    ]
    alpha = nonconformity(counts, 5)
    scores = true_label_nonconformity(alpha, labels[:, rest].ravel()).reshape(trials, 41)
    alpha, labels = alpha.reshape(trials, 41, 3), labels[:, rest]
    found = np.empty(trials)
    for trial in range(trials):
        fitted = Calibration.fit(
            scores[trial, :40], labels[trial, :40], classes=3, per_class=per_class
        )
        values = fitted.p_values(alpha[trial, 40:], kind=kind, seed=seed + trial)
        found[trial] = values[0, labels[trial, 40]]
    return found


def deviations(p_values):
    """How many standard deviations P(p <= level) lies above the level."""
    return np.array(
        [
            ((p_values <= level).mean() - level) / np.sqrt(level * (1 - level) / len(p_values))
            for level in LEVELS
        ]
    )


@pytest.fixture(scope="module")
def held_out():
    return true_label_p_values(10_000)


def test_the_smoothed_p_value_of_the_true_label_is_uniform(held_out):
    assert (np.abs(deviations(held_out)) < 3).all()
    assert kstest(held_out, "uniform").pvalue > 0.001


def test_a_calibration_inside_the_training_set_is_found_out():
    overlapping = true_label_p_values(3_000, overlap=True)
    assert (deviations(overlapping) > 3).all()
    assert kstest(overlapping, "uniform").pvalue < 1e-6


def test_the_smoothed_p_value_is_uniform_within_each_class_too():
    p_values = true_label_p_values(3_000, per_class=True, seed=7)
    assert (np.abs(deviations(p_values)) < 3).all()
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_the_conformal_p_value_errs_on_the_safe_side():
    assert (deviations(true_label_p_values(3_000, kind="conformal", seed=3)) < 3).all()


def test_p_values_of_each_kind_equal_loops_over_the_scores():
    rng = np.random.default_rng(0)
    for seed in range(100):
        scores = rng.integers(0, 6, rng.integers(1, 30))
        alpha = rng.integers(0, 8, (4, 3))
        fitted = Calibration.fit(scores, np.zeros(len(scores), dtype=int))
        uniform = np.random.default_rng(seed).random(4)
        for kind in ("paper", "conformal", "smoothed"):
            expected = [
                [reference.p_value(a, scores.tolist(), kind, uniform[row]) for a in alpha[row]]
                for row in range(4)
            ]
            assert fitted.p_values(alpha, kind=kind, seed=seed).tolist() == expected
