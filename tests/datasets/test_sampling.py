import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entangle_cli.datasets import limit, open_dataset, sampling
from entangle_cli.datasets.formats.digits import split_rows
from entangle_cli.datasets.sampling import stratified_rows
from entangle_cli.errors import DataError


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=200), st.integers(1, 200), st.integers(0, 3)
)
def test_every_class_has_its_share_within_one(labels, n, seed):
    labels = np.array(labels)
    n = min(n, len(labels))
    rows = stratified_rows(labels, len(labels), n, seed)
    assert len(rows) == n
    assert (np.diff(rows) > 0).all()
    for label in np.unique(labels):
        exact = n * np.mean(labels == label)
        assert abs(np.sum(labels[rows] == label) - exact) < 1


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 60), st.integers(1, 9))
def test_labels_looked_at_in_blocks_choose_the_same_rows(labels, n, block):
    labels = np.array(labels)
    n = min(n, len(labels))
    whole = stratified_rows(labels, len(labels), n, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "_BLOCK", block)
        assert np.array_equal(stratified_rows(labels, len(labels), n, 0), whole)
        classes, sizes = sampling.class_sizes(labels)
    expected, counts = np.unique(labels, return_counts=True)
    assert classes.tolist() == expected.tolist()
    assert sizes.tolist() == counts.tolist()


def test_every_member_of_a_class_can_be_drawn():
    labels = np.array([0, 1, 0, 1, 0, 1])
    seen = {tuple(stratified_rows(labels, 6, 2, seed).tolist()) for seed in range(200)}
    assert seen == {tuple(sorted((zero, one))) for zero in (0, 2, 4) for one in (1, 3, 5)}


def test_ids_of_chosen_rows_are_looked_up():
    part = open_dataset("digits@test").take([5, 2, 9])
    again = part.take([2, 0])
    whole = open_dataset("digits@test").ids
    assert list(part.ids) == [whole[5], whole[2], whole[9]]
    assert part.ids[1:] == [whole[2], whole[9]]
    assert list(again.ids) == [whole[9], whole[5]]


def test_the_seed_decides():
    labels = np.arange(1000) % 10
    first, again, other = (stratified_rows(labels, 1000, 50, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_labels_rows_are_drawn_from_all():
    rows = stratified_rows(None, 100, 10, 0)
    assert len(set(rows.tolist())) == 10


def test_a_limit_above_the_size_changes_nothing():
    dataset = open_dataset("digits")
    assert limit(dataset, 5000) is dataset
    with pytest.raises(DataError, match="1 or more"):
        limit(dataset, 0)


def test_the_splits_of_digits_partition_it_and_never_change():
    parts = {split: open_dataset(f"digits@{split}") for split in ("train", "holdout", "test")}
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 1074,
        "holdout": 359,
        "test": 364,
    }
    rows = split_rows(open_dataset("digits").labels)
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1797))
    digest = hashlib.sha256(rows["test"].astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "515da73891854134"


def test_digits_have_pixels_from_0_to_255():
    dataset = open_dataset("digits")
    pixels = np.stack(dataset.images(range(len(dataset))))
    assert pixels.shape == (1797, 8, 8, 1)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert len(np.unique(pixels)) == 17
