"""Passes over all pairs: their number, their threads, and what the first one sees."""

import math

import numpy as np
import pytest
import torch

from entangle_cli.measures import streamed
from entangle_cli.measures.limits import anchor_rows, ceiling, lowest_temperature
from entangle_cli.measures.points import prepare
from entangle_cli.measures.snnl import soft_nearest_neighbor_loss
from entangle_cli.measures.streamed import StreamedCurve
from entangle_cli.measures.temperature import entanglement
from entangle_cli.measures.workers import in_order
from tests.measures.layers import mixture
from tests.reference import snnl as reference


@pytest.fixture
def threads():
    """Sets the number of threads of torch, until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def streamed_curve(points, labels, **options):
    prepared = prepare(points, labels)
    return StreamedCurve(prepared, anchor_rows(prepared), "auto", **options)


@pytest.mark.parametrize("dimension", [16, 70, 300])
@pytest.mark.parametrize("count", [2600, 3100])
def test_bytes_are_the_same_with_one_thread_and_with_two(threads, dimension, count):
    points, labels = mixture(count, dimension, classes=7, spread=0.5, dtype=np.float32)
    found = []
    for number in (1, 2):
        threads(number)
        loss = soft_nearest_neighbor_loss(points, labels, temperature=0.3 * dimension)
        found.append((loss, entanglement(points, labels)))
    assert found[0] == found[1]


def test_parts_come_in_order_and_are_worked_on_alone(threads):
    threads(2)
    made = []

    def work(state, part):
        return part, torch.get_num_threads(), state

    def prepare_state():
        made.append(len(made))
        return made[-1]

    found = list(in_order(prepare_state, work, range(50), torch.device("cpu")))
    assert [part for part, _, _ in found] == list(range(50))
    assert {number for _, number, _ in found} == {1}
    assert {state for _, _, state in found} <= {0, 1}
    assert len(made) == 2
    assert torch.get_num_threads() == 2


def test_an_error_in_a_thread_is_raised(threads):
    threads(2)

    def work(state, part):
        raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part 0"):
        list(in_order(int, work, range(9), torch.device("cpu")))
    assert torch.get_num_threads() == 2


def test_the_minimum_takes_three_passes():
    points, labels = mixture(3000, 60, classes=10, spread=0.35, dtype=np.float32)
    assert entanglement(points, labels).passes <= 3


def test_a_given_temperature_far_below_the_distances_takes_two_passes():
    points, labels = mixture(2600, 200, classes=5, spread=0.3, dtype=np.float32)
    lowest = entanglement(points, labels)
    given = entanglement(points, labels, temperature=lowest.temperature / 4)
    assert given.passes == 2
    assert given.snnl == pytest.approx(
        soft_nearest_neighbor_loss(points, labels, temperature=lowest.temperature / 4), rel=1e-7
    )


def test_a_loss_whose_weights_underflow_is_not_summed_row_by_row(monkeypatch):
    points, labels = mixture(2600, 200, classes=5, spread=0.3, dtype=np.float32)
    temperature = entanglement(points, labels).temperature / 4
    restored = []

    def counted(curve, rows, chosen, of):
        restored.append(len(chosen))
        return original(curve, rows, chosen, of)

    original = StreamedCurve._restore
    monkeypatch.setattr(StreamedCurve, "_restore", counted)
    soft_nearest_neighbor_loss(points, labels, temperature=temperature)
    assert sum(restored) <= streamed.MOST_AGAIN * len(points)


def test_kept_distances_change_nothing(monkeypatch):
    points, labels = mixture(2700, 64, classes=10, spread=0.35, dtype=np.float32)
    kept = entanglement(points, labels)
    monkeypatch.setattr(streamed, "KEEP_BYTES", 0)
    assert entanglement(points, labels) == kept


def test_distances_are_kept_only_where_they_take_little_memory():
    few, many = (mixture(count, 64, dtype=np.float32) for count in (2600, 12_000))
    assert streamed_curve(*few, keep=True)._kept is not None
    assert streamed_curve(*many, keep=True)._kept is None
    assert streamed_curve(*few)._kept is None


def test_scanned_curve_is_the_curve():
    points, labels = mixture(240, 8, classes=4, spread=0.8)
    distances = reference.all_distances(points)
    curve = streamed_curve(points, labels)
    temperatures = [0.7 * 2.0 ** (k / 2) for k in range(-6, 9)]
    for point in curve.scan(temperatures):
        exact = curve.at(point.temperature)
        assert point.loss == pytest.approx(exact.loss, rel=1e-4)
        assert point.slope == pytest.approx(exact.slope, rel=1e-3, abs=1e-4 * exact.loss)
        wanted = reference.snnl_of_distances(
            distances, labels, point.temperature * curve.points.unit
        )
        assert exact.loss == pytest.approx(wanted, rel=1e-6)


def test_rows_that_rounding_blurs_are_visited_again(monkeypatch):
    # far classes: few points carry all of the loss
    points, labels = mixture(2600, 300, classes=5, spread=0.35, dtype=np.float32)
    exact = soft_nearest_neighbor_loss(points, labels, temperature=12.0, precision="float64")
    curve = streamed_curve(points, labels)
    internal = 12.0 / curve.points.unit
    plain = curve.at(internal)
    tolerated = plain.noise / plain.loss / 2
    monkeypatch.setattr(streamed, "TOLERATED", tolerated)
    chosen = []
    restore = StreamedCurve._restore

    def restoring(self, rows, again, temperature):
        chosen.append(len(again))
        restore(self, rows, again, temperature)

    monkeypatch.setattr(StreamedCurve, "_restore", restoring)
    found = curve.at(internal)
    assert 0 < sum(chosen) < 0.3 * 2600
    assert found.noise <= 1.01 * tolerated * found.loss
    assert abs(found.loss / exact - 1) <= 4 * tolerated


@pytest.mark.parametrize("seed", range(4))
def test_what_the_first_pass_saw_excludes_no_temperature_that_is_low_enough(seed):
    points, labels = mixture(120, 2 + 3 * seed, classes=3, spread=0.8, seed=seed)
    distances = reference.all_distances(points)
    curve = streamed_curve(points, labels)
    top = ceiling(curve.points)

    def exact(temperature):
        return reference.snnl_of_distances(distances, labels, temperature * curve.points.unit)

    narrowed = 0
    for start in (0.05, 0.3, 2.0):
        seen = curve.glance(start)
        assert seen.loss == pytest.approx(exact(start), rel=1e-4) or math.isinf(seen.loss)
        for share in (0.3, 0.9):
            arguments = curve.points, curve.nearest, curve.anchors, share * top
            low, plain = lowest_temperature(*arguments, seen), lowest_temperature(*arguments)
            narrowed += low > 1.1 * plain
            for part in (0.99, 0.7, 0.3):
                assert exact(part * low) >= share * top
    assert narrowed
