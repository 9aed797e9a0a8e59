"""Columns that are made while they are written equal those made at once."""

import numpy as np
import pytest

from entangle_cli.results import columns_to_csv
from entangle_cli.runs.shared.columns import Joined, label_column, repeated

PARTS = (range(3), np.array([0.5, np.nan]), [], ["a", "b", "c"])
WHOLE = [0, 1, 2, 0.5, np.nan, "a", "b", "c"]


def same(found, expected):
    return [str(value) for value in found] == [str(value) for value in expected]


@pytest.mark.parametrize("part", [slice(None), slice(2, 6), slice(-2, None), slice(0, 8, 3)])
def test_joined_sequences_are_sliced_like_one_list(part):
    assert same(Joined(PARTS)[part], WHOLE[part])


def test_joined_sequences_are_indexed_and_counted_like_one_list():
    joined = Joined(PARTS)
    assert len(joined) == 8
    assert same([joined[i] for i in range(-8, 8)], [WHOLE[i] for i in range(-8, 8)])
    with pytest.raises(IndexError):
        joined[8]
    assert len(Joined([])) == 0


def test_labels_that_are_not_known_are_empty_cells():
    columns = {
        "set": Joined([repeated("in", 3), repeated("out", 2)]),
        "label": Joined([label_column(np.array([4, -1, 0]), 3), label_column(None, 2)]),
    }
    assert "".join(columns_to_csv(columns)) == "set,label\nin,4\nin,\nin,0\nout,\nout,\n"
