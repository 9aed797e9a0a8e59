import numpy as np
import pytest

from entangle_cli.datasets import open_dataset, overlap
from entangle_cli.datasets.overlap import sample_digests, shared_samples


def test_parts_of_one_set_share_what_they_have_in_common():
    one, other = open_dataset("digits@test[0:30]"), open_dataset("digits@test[20:60]")
    assert shared_samples(one, other) == 10
    assert shared_samples(other, one) == 10


def test_digests_are_compared_in_blocks(monkeypatch):
    one, other = open_dataset("digits@test[0:30]"), open_dataset("digits@test[7:60]")
    monkeypatch.setattr(overlap, "_COMPARED", 4)
    assert shared_samples(one, other) == 23


def test_copies_count_as_often_as_they_come(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.float32([[1], [1], [2], [3]]), y=np.zeros(4, np.int64))
    np.savez(tmp_path / "b.npz", x=np.float32([[1], [4], [5]]), y=np.zeros(3, np.int64))
    one, other = (open_dataset(str(tmp_path / f"{name}.npz")) for name in "ab")
    assert shared_samples(one, other) == 2
    assert shared_samples(other, one) == 1


def test_the_splits_of_digits_share_nothing():
    splits = {name: open_dataset(f"digits@{name}") for name in ("train", "test", "holdout")}
    assert shared_samples(splits["test"], splits["train"]) == 0
    assert shared_samples(splits["holdout"], splits["train"]) == 0
    assert shared_samples(splits["holdout"], splits["test"]) == 0


def test_content_counts_and_not_the_file(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(6) % 2)
    np.savez(tmp_path / "b.npz", x=values[::-1] + np.float32([[0]]), y=np.zeros(6, np.int64))
    one, other = (open_dataset(str(tmp_path / f"{name}.npz")) for name in "ab")
    assert shared_samples(one, other) == 6


@pytest.mark.parametrize("other", [np.zeros((2, 3), np.float64), np.zeros((2, 1, 3), np.float32)])
def test_samples_of_another_type_or_shape_are_others(tmp_path, other):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "b.npz", x=other)
    digests = [set(sample_digests(open_dataset(str(tmp_path / f"{n}.npz")))) for n in "ab"]
    assert not digests[0] & digests[1]
