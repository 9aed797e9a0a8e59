import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures import class_pairs as module
from entangle_cli.measures.class_pairs import ALONE, class_pairs, paired_classes
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.temperature import entanglement
from tests.reference.class_pairs import pair_entanglements

RNG = np.random.default_rng(3)
LABELS = RNG.permutation(np.repeat([0, 2, 5, 7], [30, 25, 20, 25]))
# neighbors on a line overlap, others hardly
POINTS = RNG.normal(size=(100, 4))
POINTS[:, 0] += 0.45 * LABELS


def by_classes(found):
    return {(pair.class_a, pair.class_b): pair for pair in found}


def test_every_pair_equals_the_reference():
    found = by_classes(class_pairs(POINTS, LABELS, Protocol()))
    expected = pair_entanglements(POINTS, LABELS)
    assert list(found) == list(expected)
    assert len(found) == 6
    for classes, pair in found.items():
        assert pair.entanglement == pytest.approx(expected[classes], rel=1e-6)
    assert found[5, 7].entanglement > found[0, 7].entanglement


def test_at_a_given_temperature():
    found = by_classes(class_pairs(POINTS, LABELS, Protocol(temperature=0.8)))
    for classes, expected in pair_entanglements(POINTS, LABELS, 0.8).items():
        assert found[classes].entanglement == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "protocol", [Protocol(), Protocol(metric="cosine"), Protocol(relative_temperature=0.1)]
)
def test_a_pair_is_what_its_points_alone_are(protocol):
    pair = by_classes(class_pairs(POINTS, LABELS, protocol))[2, 7]
    chosen = np.isin(LABELS, [2, 7])
    alone = entanglement(
        POINTS[chosen],
        LABELS[chosen],
        metric=protocol.metric,
        relative_temperature=protocol.relative_temperature,
    )
    assert (pair.snnl, pair.entanglement, pair.boundary) == (
        alone.snnl,
        alone.entanglement,
        alone.boundary,
    )
    assert (pair.n_a, pair.n_b) == (25, 25)


def test_two_classes_are_one_pair_with_the_value_of_the_whole():
    labels = LABELS // 5
    (pair,) = class_pairs(POINTS, labels, Protocol())
    assert pair.snnl == entanglement(POINTS, labels).snnl


def test_a_class_with_one_sample_has_no_numbers():
    labels = LABELS.copy()
    labels[0] = 9
    found = by_classes(class_pairs(POINTS, labels, Protocol()))
    alone = [pair for classes, pair in found.items() if 9 in classes]
    assert len(alone) == 4
    for pair in alone:
        assert (pair.snnl, pair.entanglement, pair.boundary, pair.n_b) == (None, None, None, 1)
        assert pair.reason == ALONE
    assert found[0, 2].entanglement is not None


def test_a_pair_that_is_not_defined_says_why_and_the_others_stand():
    points = POINTS.copy()
    points[np.isin(LABELS, [0, 2])] = 1.0
    points[np.flatnonzero(LABELS == 0)[0]] = 2.0
    found = by_classes(class_pairs(points, LABELS, Protocol(relative_temperature=0.1)))
    assert "median squared distance is 0" in found[0, 2].reason
    assert found[5, 7].reason is None
    assert found[5, 7].snnl > 0


def test_one_class_has_no_pairs():
    assert class_pairs(POINTS, np.zeros(100, dtype=int), Protocol()) == ()


def test_of_many_classes_the_largest_are_paired():
    labels = np.repeat(np.arange(40), np.where(np.arange(40) % 4 == 3, 3, 2))
    kept = paired_classes(labels)
    # ten classes of three, then the first twenty of two
    assert kept == sorted([*range(3, 40, 4), *[c for c in range(40) if c % 4 != 3][:20]])
    points = np.random.default_rng(0).random((len(labels), 2))
    assert len(class_pairs(points, labels, Protocol())) == 30 * 29 // 2


def test_many_points_go_through_a_file_with_the_same_numbers(tmp_path, monkeypatch):
    expected = class_pairs(POINTS, LABELS, Protocol())
    monkeypatch.setattr(module, "_IN_MEMORY", 0)
    monkeypatch.setattr(module, "_ROWS_AT_A_TIME", 7)
    assert class_pairs(POINTS, LABELS, Protocol(), scratch=tmp_path) == expected
    assert list(tmp_path.iterdir()) == []


def test_batches_are_refused():
    with pytest.raises(MeasureError, match="in batches"):
        class_pairs(POINTS, LABELS, Protocol(batch_size=20, batches=2))


def test_labels_of_another_number_are_refused():
    with pytest.raises(MeasureError, match=r"labels of shape \(99,\) for 100 points"):
        class_pairs(POINTS, LABELS[1:], Protocol())
