import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entangle_cli.datasets.labels import labels_from_names, natural_key, read_labels
from entangle_cli.errors import DataError


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, 0, 7], np.uint8),
        np.array([3.0, 0.0, 7.0], np.float32),
        np.array([[3], [0], [7]]),
        np.array(["3", "0", "7"]),
        np.eye(8)[[3, 0, 7]],
        np.array([3, 0, 7], ">i4"),
        np.array([b"3", b"0", b"7"]),
    ],
    ids=["uint8", "floats", "column", "text", "one-hot", "big-endian", "bytes"],
)
def test_whole_numbers_of_any_kind_stay_what_they_are(values):
    labels, names = read_labels(values, 3, "x")
    assert labels.dtype == np.int64
    assert labels.tolist() == [3, 0, 7]
    assert names is None


def test_text_labels_become_classes_in_natural_order():
    labels, names = read_labels(np.array(["c10", "c9", "c10", "b"], dtype=object), 4, "x")
    assert names == ("b", "c9", "c10")
    assert labels.tolist() == [2, 1, 2, 0]


BAD = {
    "count": (np.array([0, 1]), "3 samples but 2 labels"),
    "negative": (np.array([0, 1, -1]), "label -1 of row 2 is negative"),
    "fraction": (np.array([0, 0.5, 1]), "label 0.5 of row 1 is not an integer"),
    "nan": (np.array([0, np.nan, np.nan]), "label nan of row 1 is not an integer"),
    "infinite": (np.array([0, 1, np.inf]), "label inf of row 2 is not an integer"),
    "huge": (np.array([0, 1, 2**63], np.uint64), "row 2 is too large"),
    "empty text": (np.array(["a", "", "b"]), "label of row 1 is empty"),
    "object": (np.array(["a", None, "b"], dtype=object), "row 1 is a NoneType"),
    "not one-hot": (np.array([[1, 0], [0, 1], [1, 1]]), "row 2 is not one-hot"),
    "complex": (np.array([1j, 1, 2]), "labels are complex128"),
    "3-d": (np.zeros((3, 2, 2)), "give one number per sample"),
    "single": (np.array(1), "a single value"),
}


@pytest.mark.parametrize(("values", "message"), BAD.values(), ids=BAD.keys())
def test_the_first_bad_row_is_named(values, message):
    with pytest.raises(DataError, match=message):
        read_labels(values, 3, "x")


def test_numbers_one_after_another_are_ordered_as_numbers():
    assert labels_from_names(["10", "9", "1"])[1] == ("1", "9", "10")


@given(st.lists(st.text(), min_size=1))
def test_any_names_can_be_ordered_and_are_kept_apart(names):
    labels, classes = labels_from_names(names)
    assert [classes[label] for label in labels] == names
    assert list(classes) == sorted(classes, key=lambda name: (natural_key(name), name))
