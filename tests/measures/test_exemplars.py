from types import SimpleNamespace

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.exemplars import exemplars

TRAIN_LABELS = np.array([0, 1, 1, 2, -1])
NEIGHBORS = {
    "conv1": SimpleNamespace(
        indices=np.array([[3, 1, 2, 4], [0, 1, 2, 3]]),
        distances=np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.6, 0.7]], dtype=np.float32),
    ),
    "fc": SimpleNamespace(
        indices=np.array([[1, 2, -1, -1], [0, 1, 2, 3]]),
        distances=np.array([[0.1, 0.2, np.inf, np.inf], [0.0, 0.5, 0.6, 0.7]]),
    ),
}


def test_nearest_training_points_come_first_at_each_layer():
    early, late = exemplars(NEIGHBORS, TRAIN_LABELS, 0, count=2)
    assert (early.layer, late.layer) == ("conv1", "fc")
    assert early.indices.tolist() == [3, 1]
    assert early.labels.tolist() == [2, 1]
    assert early.distances.tolist() == pytest.approx([0.1, 0.2])


def test_labels_are_counted_over_all_neighbors_the_most_frequent_first():
    early, late = exemplars(NEIGHBORS, TRAIN_LABELS, 0, count=1)
    assert early.label_counts == ((1, 2), (-1, 1), (2, 1))
    assert late.label_counts == ((1, 2),)


def test_missing_neighbors_are_counted_and_never_shown():
    _, late = exemplars(NEIGHBORS, TRAIN_LABELS, 0)
    assert late.missing == 2
    assert late.indices.tolist() == [1, 2]
    assert np.isfinite(late.distances).all()


def test_the_support_of_a_label_shows_that_label_alone():
    early, _ = exemplars(NEIGHBORS, TRAIN_LABELS, 0, label=1)
    assert early.indices.tolist() == [1, 2]
    assert early.label_counts == ((1, 2), (-1, 1), (2, 1))


@pytest.mark.parametrize(
    ("row", "count", "message"),
    [(2, 10, "input 2 of 2"), (-1, 10, "input -1 of 2"), (0, 0, "0 exemplars")],
)
def test_what_does_not_exist_is_refused(row, count, message):
    with pytest.raises(MeasureError, match=message):
        exemplars(NEIGHBORS, TRAIN_LABELS, row, count=count)


def test_neighbors_of_another_training_set_are_refused():
    with pytest.raises(MeasureError, match="training labels"):
        exemplars(NEIGHBORS, TRAIN_LABELS[:3], 0)
