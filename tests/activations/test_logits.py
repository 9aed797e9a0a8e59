from types import SimpleNamespace

import numpy as np
import pytest

from entangle_cli.activations.logits import accuracy, class_outputs

SCORES = np.array([[3, 1, 2], [0, 5, 1], [9, 1, 2], [1, 2, 3]], np.float32)


def stored(logits=SCORES, labels=(0, 1, 2, 2)):
    labels = None if labels is None else np.array(labels)
    return SimpleNamespace(logits=logits, labels=labels)


@pytest.mark.parametrize(
    ("outputs", "shape"),
    [
        ([SCORES], (4, 3)),
        ([SCORES.astype(np.float16)[:, :, None, None]], (4, 3)),
        ([np.zeros(4, np.int64), SCORES], (4, 3)),
        ([[{"a": 1.0}], SCORES], (4, 3)),
        ([np.zeros((4, 1), np.float32), SCORES], (4, 3)),
        ([np.zeros((4, 7, 16), np.float32)], None),
        ([np.zeros((4, 1), np.float32)], None),
        ([np.zeros((), np.float32)], None),
        ([], None),
    ],
)
def test_class_scores_are_the_first_float_matrix(outputs, shape):
    found = class_outputs(outputs)
    assert (None if found is None else found.shape) == shape
    assert found is None or found.dtype == np.float32


def test_accuracy_is_the_share_of_labels_with_the_largest_score():
    assert accuracy(stored()) == (0.75, "")


def test_unknown_labels_do_not_count():
    assert accuracy(stored(labels=(0, -1, 2, -1))) == (0.5, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"logits": None}, "no class-like output"),
        ({"labels": None}, "no labels"),
        ({"labels": (-1, -1, -1, -1)}, "no labels"),
        ({"labels": (0, 1, 2, 3)}, "labels go up to 3, the model has classes 0 to 2"),
        ({"logits": SCORES * np.nan}, "NaN or infinite"),
    ],
)
def test_without_an_accuracy_there_is_a_reason(changes, reason):
    found, why = accuracy(stored(**changes))
    assert found is None
    assert reason in why
