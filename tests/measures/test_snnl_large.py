"""Points larger than memory should be: memory-mapped input, scratch files, equal bytes."""

import numpy as np
import pytest
import torch

from entangle_cli.measures.points import prepare
from entangle_cli.measures.snnl import soft_nearest_neighbor_loss
from entangle_cli.measures.temperature import entanglement
from tests.measures.layers import mixture


@pytest.fixture
def mapped(tmp_path):
    points, labels = mixture(2700, dimension=24, classes=10, spread=0.6, dtype=np.float32)
    points.tofile(tmp_path / "points")
    return np.memmap(tmp_path / "points", np.float32, "r", shape=points.shape), points, labels


def test_memory_mapped_points_with_scratch_give_the_same_as_arrays(mapped, tmp_path):
    on_disk, in_memory, labels = mapped
    folder = tmp_path / "scratch"
    folder.mkdir()
    found = entanglement(on_disk, labels, scratch=folder)
    assert found == entanglement(in_memory, labels)
    assert not list(folder.iterdir())


def test_the_working_copy_lives_in_the_scratch_folder(mapped, tmp_path):
    on_disk, _, labels = mapped
    prepared = prepare(on_disk, labels, scratch=tmp_path)
    rows = prepared.rows(slice(0, 5), torch.float32)
    with open("/proc/self/maps") as file:
        assert any(str(tmp_path) in line and "deleted" in line for line in file)
    assert rows.shape == (5, 24)


def test_prepared_rows_are_the_points_in_class_order(mapped):
    _, points, labels = mapped
    prepared = prepare(points, labels)
    rows = prepared.exact(slice(0, 2700)).numpy() / prepared.scale
    assert (rows == points[np.argsort(labels, kind="stable")]).all()
    centered = prepared.rows(slice(0, 2700), torch.float64)
    assert float(centered.mean(0).abs().max()) < 1e-6
    assert prepared.bounds == tuple(range(0, 2701, 270))


def test_the_same_input_gives_the_same_bytes_again(mapped):
    _, points, labels = mapped
    assert entanglement(points, labels) == entanglement(points, labels)


def test_the_number_of_threads_does_not_change_the_bytes():
    layers = [
        mixture(2600, dimension=16, classes=5, spread=0.6),
        mixture(700, dimension=3, classes=4, spread=0.6),
    ]
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append([entanglement(*layer) for layer in layers])
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_float32_passes_are_close_to_float64_passes(mapped):
    _, points, labels = mapped
    single = soft_nearest_neighbor_loss(points, labels, temperature=3.0, precision="float32")
    double = soft_nearest_neighbor_loss(points, labels, temperature=3.0, precision="float64")
    assert single == pytest.approx(double, rel=1e-6)
    assert single != double
