import errno
import os

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.temperature import entanglement
from entangle_cli.measures.two_sample import stacked, two_sample
from tests.reference import snnl as reference

RNG = np.random.default_rng(0)
A = RNG.normal(size=(40, 3))
B = RNG.normal(size=(30, 3)) + 0.8


def test_it_is_the_entanglement_of_two_labels():
    found = two_sample(A, B, Protocol())
    expected = entanglement(np.concatenate([A, B]), np.repeat([0, 1], [40, 30]))
    assert found.observed == expected
    assert found.permuted is None
    assert found.p_value is None


def test_the_loss_equals_the_reference():
    found = two_sample(A, B, Protocol(temperature=0.7)).observed
    expected = reference.snnl(np.concatenate([A, B]), np.repeat([0, 1], [40, 30]), 0.7)
    assert found.snnl == pytest.approx(expected, rel=1e-9)


def test_the_order_of_the_sets_does_not_matter():
    one, other = two_sample(A, B, Protocol()).observed, two_sample(B, A, Protocol()).observed
    assert one.entanglement == pytest.approx(other.entanglement, rel=1e-6)


def test_one_distribution_against_another():
    same = two_sample(A, RNG.normal(size=(40, 3)), Protocol(), permutations=19)
    apart = two_sample(A, B + 10, Protocol(), permutations=19)
    assert same.observed.entanglement > 0.97 * same.permuted
    assert same.p_value > 0.05
    assert apart.observed.entanglement < 0.01
    assert apart.p_value == 1 / 20


def test_permutations_by_hand():
    found = two_sample(A, B, Protocol(), permutations=5, seed=3)
    points, labels = np.concatenate([A, B]), np.repeat([0, 1], [40, 30])
    generator = np.random.default_rng(3)
    shuffled = [entanglement(points, generator.permutation(labels)).entanglement for _ in range(5)]
    assert found.permuted == pytest.approx(np.mean(shuffled), rel=1e-12)
    below = sum(value <= found.observed.entanglement for value in shuffled)
    assert found.p_value == (1 + below) / 6
    assert two_sample(A, B, Protocol(), permutations=5, seed=3) == found


def test_batches_are_those_of_the_protocol():
    found = two_sample(A, B, Protocol(batch_size=16, batches=3), permutations=2)
    assert 0 < found.observed.entanglement <= 1
    assert 0 < found.permuted <= 1


def test_stacked_rows_in_memory_and_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("entangle_cli.measures.two_sample._ROWS_AT_A_TIME", 7)
    expected = np.concatenate([A, B])
    for scratch in (None, tmp_path):
        found = stacked(A.astype(np.float32), B, scratch)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, np.concatenate([A.astype(np.float32), B]))
    found = two_sample(A, B, Protocol(), scratch=tmp_path)
    assert found.observed.snnl == pytest.approx(two_sample(A, B, Protocol()).observed.snnl)
    assert list(tmp_path.iterdir()) == []
    assert stacked(A, B, None).tolist() == expected.tolist()


def test_points_of_two_sizes_are_refused():
    with pytest.raises(MeasureError, match="points of 3 and of 2 numbers"):
        two_sample(A, B[:, :2], Protocol())


def test_equal_sets_have_the_ceiling():
    found = two_sample(A, A, Protocol()).observed
    assert found.entanglement == 1


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (A[:1], B[:1], "every point is alone in its class"),
        (A[:0], B, "sets of 0 and 30 points"),
        (A, B[:0], "sets of 40 and 0 points"),
        (np.full((3, 3), np.nan), B, "not finite"),
    ],
)
def test_sets_that_nothing_can_be_said_of(a, b, message):
    with pytest.raises(MeasureError, match=message):
        two_sample(a, b, Protocol())


def test_one_point_against_many_is_defined():
    found = two_sample(A[:1], B, Protocol()).observed
    assert 0 <= found.entanglement <= 1
    assert any("alone in their class" in note for note in found.notes)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        two_sample(A, B, Protocol(), scratch=tmp_path)
