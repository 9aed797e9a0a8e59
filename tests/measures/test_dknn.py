import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.dknn import (
    LabelCounts,
    distinct_labels,
    label_counts,
    neighbor_labels,
    nonconformity,
    predict,
    true_label_nonconformity,
)
from entangle_cli.measures.evaluation import evaluate, leave_one_out
from entangle_cli.measures.layered_calibration import calibrate
from tests.measures.votes import random_case
from tests.reference import dknn as reference


def counted(votes, classes):
    return {layer: label_counts(labels, classes) for layer, labels in votes.items()}


def by_loops(case, layers, own=False):
    """Per input (prediction, credibility, confidence, nonconformity) from the reference."""
    fitting = [case.calibration[layer].tolist() for layer in layers]
    judged = fitting if own else [case.test[layer].tolist() for layer in layers]
    count = len(judged[0])
    uniform = np.random.default_rng(case.seed).random(count)
    sets = [
        reference.calibration(
            fitting, case.labels.tolist(), case.zeros, label if case.per_class else None
        )
        for label in range(case.classes)
    ]
    rows = []
    for row in range(count):
        alphas = [reference.nonconformity(judged, row, label) for label in range(case.classes)]
        left_out = row if own else None
        values = reference.p_values(
            judged, row, case.classes, sets.__getitem__, case.kind, uniform[row], left_out
        )
        model = None if own else int(case.model[row])
        decided = reference.decide(values, alphas, model)
        rows.append((*decided, alphas[decided[0]]))
    return rows


def as_rows(found):
    columns = (found.prediction, found.credibility, found.confidence, found.nonconformity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("block", range(10))
def test_everything_equals_loops_exactly_on_a_thousand_cases(block, monkeypatch):
    if block % 2:  # in blocks of a few rows
        monkeypatch.setattr("entangle_cli.measures.evaluation.BLOCK_CELLS", 5)
    for seed in range(100 * block, 100 * block + 100):
        case = random_case(seed)
        fitted = calibrate(
            counted(case.calibration, case.classes),
            case.labels,
            k=case.k,
            zeros=case.zeros,
            per_class=case.per_class,
        )
        found = evaluate(
            counted(case.test, case.classes),
            fitted,
            model_prediction=case.model,
            kind=case.kind,
            seed=case.seed,
        )
        assert as_rows(found.joint) == by_loops(case, list(case.test)), seed
        for layer in case.test:
            assert as_rows(found.layers[layer]) == by_loops(case, [layer]), seed


@pytest.mark.parametrize("block", range(4))
def test_leave_one_out_equals_a_calibration_without_the_point(block):
    for seed in range(60 * block, 60 * block + 60):
        case = random_case(seed)
        if (case.labels >= 0).sum() < 2:
            continue
        counts = counted(case.calibration, case.classes)
        fitted = calibrate(
            counts, case.labels, k=case.k, zeros=case.zeros, per_class=case.per_class
        )
        found = leave_one_out(counts, fitted, case.labels, kind=case.kind, seed=case.seed)
        assert as_rows(found.joint) == by_loops(case, list(counts), own=True), seed


def test_the_random_cases_reach_every_corner():
    cases = [random_case(seed) for seed in range(1000)]
    unsupported = ties = 0
    for case in cases:
        fitted = calibrate(
            counted(case.calibration, case.classes), case.labels, k=case.k, zeros=case.zeros
        )
        found = evaluate(counted(case.test, case.classes), fitted)
        unsupported += int((found.joint.credibility == 0).sum())
        ties += int((found.joint.tied > 1).sum())
    assert unsupported > 100
    assert ties > 100
    assert any((case.labels < 0).any() for case in cases)
    assert any(len(np.unique(case.labels[case.labels >= 0])) < case.classes for case in cases)


def test_counts_leave_missing_neighbors_out():
    counts = label_counts(np.array([[0, 0, 2], [-1, 1, -1], [-1, -1, -1]]), 3)
    assert counts.tolist() == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_counts_are_the_same_in_blocks(monkeypatch):
    labels = np.random.default_rng(0).integers(-1, 7, (100, 9))
    whole = label_counts(labels, 7)
    monkeypatch.setattr("entangle_cli.measures.dknn.BLOCK_CELLS", 64)
    assert np.array_equal(label_counts(labels, 7), whole)


def test_counts_on_demand_are_those_of_the_neighbors_labels():
    generator = np.random.default_rng(1)
    indices, train = generator.integers(-1, 30, (40, 6)), generator.integers(-1, 4, 30)
    counts = LabelCounts(indices, train, 4)
    whole = label_counts(neighbor_labels(indices, train), 4)
    assert counts.shape == whole.shape
    assert np.array_equal(counts[7:19], whole[7:19])
    assert np.array_equal(np.asarray(counts), whole)
    assert np.asarray(counts, dtype=np.float64).dtype == np.float64


def test_a_missing_neighbor_speaks_for_no_label():
    counts = label_counts(np.array([[0, -1, -1]]), 2)
    assert nonconformity([counts], 3).tolist() == [[2, 3]]


def test_nonconformity_is_summed_over_layers():
    counts = [np.array([[3, 0]]), np.array([[1, 2]])]
    assert nonconformity(counts, 3).tolist() == [[2, 4]]


def test_neighbor_labels_are_read_by_row_and_missing_stays_missing():
    labels = neighbor_labels(np.array([[2, 0], [-1, 1]]), np.array([5, -1, 7]))
    assert labels.tolist() == [[7, 5], [-1, -1]]


def test_distinct_labels_are_counted():
    assert distinct_labels(np.array([[3, 0, 0], [1, 1, 1], [0, 0, 0]])).tolist() == [1, 3, 0]


def test_credibility_is_one_when_every_neighbor_agrees():
    agree = {"a": np.array([[4, 0], [0, 4], [1, 3]])}
    fitted = calibrate(agree, np.array([0, 1, 1]), k=4)
    found = evaluate({"a": np.array([[4, 0]])}, fitted)
    assert found.joint.credibility.tolist() == [1.0]
    assert found.joint.prediction.tolist() == [0]


@pytest.mark.parametrize(
    ("alpha", "model", "expected"),
    [
        pytest.param([3, 2, 4], 0, 1, id="smaller nonconformity before the model"),
        pytest.param([3, 2, 2], 2, 2, id="then the model"),
        pytest.param([3, 2, 2], 0, 1, id="then the lowest, the model being none of them"),
        pytest.param([3, 2, 2], None, 1, id="then the lowest, without a model"),
        pytest.param([3, 2, 2], -1, 1, id="a model without an answer"),
        pytest.param([3, 2, 2], 7, 1, id="a model with more classes"),
    ],
)
def test_an_unsupported_input_is_decided_in_order(alpha, model, expected):
    model = None if model is None else np.array([model])
    found = predict(np.zeros((1, 3)), np.array([alpha]), model)
    assert found.prediction.tolist() == [expected]
    assert found.credibility.tolist() == [0.0]
    assert found.confidence.tolist() == [1.0]
    assert found.tied.tolist() == [3]


def test_the_largest_p_value_decides_before_nonconformity():
    found = predict(np.array([[0.2, 0.5]]), np.array([[1, 9]]))
    assert found.prediction.tolist() == [1]
    assert found.nonconformity.tolist() == [9]


def test_two_equal_largest_p_values_leave_no_confidence_but_the_rest():
    found = predict(np.array([[0.75, 0.75, 0.5]]), np.array([[1, 1, 2]]))
    assert found.confidence.tolist() == [0.25]


def test_a_single_class_is_certain():
    found = predict(np.array([[0.25]]), np.array([[1]]))
    assert found.confidence.tolist() == [1.0]


def test_a_set_is_summed_up():
    counts = {"a": np.array([[4, 0], [0, 4], [1, 3], [2, 2]])}
    fitted = calibrate(counts, np.array([0, 1, 1, 0]), k=4)  # scores 0, 0, 1, 2
    found = evaluate(
        {"a": np.array([[4, 0], [1, 3], [0, 4]])},
        fitted,
        np.array([0, 0, -1]),
        model_prediction=np.array([0, 1, 1]),
    )
    assert found.summary() == {
        "n": 3,
        "model_accuracy": 0.5,
        "accuracy": 0.5,
        "credibility": pytest.approx((1 + 0.5 + 1) / 3),
        "confidence": pytest.approx(1.0),
    }
    assert found.correct[found.labeled].tolist() == [True, False]
    assert found.notes == ("1 of 3 inputs have no label and are left out of the accuracies",)


def test_without_labels_there_is_credibility_but_no_accuracy():
    fitted = calibrate({"a": np.array([[1, 0], [0, 1]])}, np.array([0, 1]), k=1)
    found = evaluate({"a": np.array([[1, 0]])}, fitted, model_prediction=np.array([0]))
    summary = found.summary()
    assert summary["accuracy"] is None
    assert summary["model_accuracy"] is None
    assert summary["credibility"] == 1.0
    assert found.correct is None


def test_an_empty_set_has_no_means():
    fitted = calibrate({"a": np.array([[1, 0], [0, 1]])}, np.array([0, 1]), k=1)
    found = evaluate({"a": np.empty((0, 2), dtype=int)}, fitted, np.empty(0, dtype=int))
    assert found.summary() == dict.fromkeys(found.summary(), None) | {"n": 0}


def test_a_label_outside_the_training_classes_counts_as_an_error_and_is_noted():
    fitted = calibrate({"a": np.array([[1, 0], [0, 1]])}, np.array([0, 1]), k=1)
    found = evaluate({"a": np.array([[1, 0], [1, 0]])}, fitted, np.array([0, 9]))
    assert found.accuracy == 0.5
    assert found.notes == (
        "1 of 2 inputs have a label that is not a training class (9): "
        "no prediction of theirs can be right",
    )


def test_trimming_a_layer_of_zeros_is_noted_with_its_name():
    counts = {"early": np.array([[1, 1], [0, 2]]), "late": np.array([[2, 0], [0, 2]])}
    fitted = calibrate(counts, np.array([0, 1]), k=2, zeros="trim")
    assert "layer late: all 2 calibration scores are 0, so none is trimmed" in fitted.notes


def test_a_lonely_class_left_out_is_noted():
    counts = {"a": np.array([[2, 0], [1, 1], [0, 2]])}
    labels = np.array([0, 0, 1])
    fitted = calibrate(counts, labels, k=2, per_class=True)
    found = leave_one_out(counts, fitted, labels)
    assert found.notes == (
        "a single calibration score of class 1: left out, it leaves the p-value 0",
    )


def test_refusals_are_one_line():
    counts = {"a": np.array([[1, 0], [0, 1]])}
    labels = np.array([0, 1])
    fitted = calibrate(counts, labels, k=1)
    one = calibrate({"a": np.array([[1, 0]])}, np.array([0]), k=1)
    refused = {
        r"k = 1; give the k": lambda: nonconformity([np.array([[1, 1]])], 1),
        r"give one \(n, C\) for at least one layer": lambda: nonconformity([], 3),
        r"shapes \[\(1, 2\), \(2, 2\)\]": lambda: nonconformity([counts["a"], np.eye(2)[:1]], 1),
        r"neighbor label 4 \(2 points\)": lambda: label_counts(np.array([[4, 4]]), 3),
        r"type float64; give integers": lambda: label_counts(np.array([[0.0]]), 3),
        r"rows 0 to 3 but 3 training": lambda: neighbor_labels(np.array([[0, 3]]), np.arange(3)),
        r"calibration label 2 \(1 point\)": lambda: calibrate(counts, np.array([0, 2]), k=1),
        r"labels of shape \(1,\) for 2": lambda: calibrate(counts, np.array([0]), k=1),
        r"the calibration set is empty": lambda: calibrate(
            {"a": np.empty((0, 2), int)}, np.empty(0, int), k=1
        ),
        r"none of the 2 calibration points": lambda: calibrate(counts, np.array([-1, -1]), k=1),
        r"layers b but a calibration of a": lambda: evaluate({"b": counts["a"]}, fitted),
        r"calibration of 2 classes": lambda: evaluate({"a": np.eye(3, dtype=int)}, fitted),
        r"label -3; give": lambda: evaluate(counts, fitted, np.array([0, -3])),
        r"model predictions of shape": lambda: evaluate(
            counts, fitted, model_prediction=np.array([0])
        ),
        r"needs at least 2": lambda: leave_one_out({"a": np.array([[1, 0]])}, one, np.array([0])),
        r"give \(n, C\) twice": lambda: predict(np.zeros((1, 2)), np.zeros((1, 3))),
        r"outside \[0, 1\]": lambda: predict(np.array([[np.nan, 0]]), np.zeros((1, 2))),
        r"calibration label 5": lambda: true_label_nonconformity(np.eye(2), np.array([0, 5])),
    }
    for message, call in refused.items():
        with pytest.raises(MeasureError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
