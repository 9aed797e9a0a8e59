import fcntl

import numpy as np
import pytest

from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.store import NeighborStore

IDENTITY = {"train": "a", "query": "b", "layer": "fc1>relu", "k": 2}
NEIGHBORS = Neighbors(np.array([[3, 1], [0, -1]]), np.array([[0.5, 1.0], [0.25, np.inf]]))


def test_a_list_is_found_again_by_what_determines_it(tmp_path):
    store = NeighborStore(tmp_path / "neighbors")
    store.write(IDENTITY, NEIGHBORS, ["two points are alike"])
    found, notes = store.read(IDENTITY)
    assert notes == ("two points are alike",)
    assert np.array_equal(found.indices, NEIGHBORS.indices)
    assert np.array_equal(found.distances, NEIGHBORS.distances)
    assert [path.suffix for path in (tmp_path / "neighbors").iterdir()] == [".npz"]


def test_another_question_has_no_list(tmp_path):
    store = NeighborStore(tmp_path)
    store.write(IDENTITY, NEIGHBORS)
    assert store.read(IDENTITY | {"k": 3}) is None


def test_a_damaged_file_counts_as_absent(tmp_path):
    store = NeighborStore(tmp_path)
    store.write(IDENTITY, NEIGHBORS)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        assert store.read(IDENTITY) is None
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    path.write_bytes(bytes(flipped))
    found = store.read(IDENTITY)
    assert found is None or np.array_equal(found[0].indices, NEIGHBORS.indices)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    store = NeighborStore(tmp_path)
    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OSError, match="No space"):
        store.write(IDENTITY, NEIGHBORS)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_used_up(tmp_path):
    store = NeighborStore(tmp_path)
    store.write(IDENTITY, NEIGHBORS)
    (path,) = tmp_path.iterdir()
    path.rename(f"{path}.tmp")
    path.with_name(f"{path.name}.tmp").write_bytes(b"x" * 10_000)
    assert store.read(IDENTITY) is None
    store.write(IDENTITY, NEIGHBORS)
    assert list(tmp_path.iterdir()) == [path]
    assert store.read(IDENTITY) is not None


def test_a_list_that_another_process_writes_is_left_to_it(tmp_path):
    store = NeighborStore(tmp_path)
    store.write(IDENTITY, NEIGHBORS)
    (path,) = tmp_path.iterdir()
    path.unlink()
    with open(f"{path}.tmp", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        store.write(IDENTITY, NEIGHBORS)
        assert not path.exists()
    store.write(IDENTITY, NEIGHBORS)
    assert store.read(IDENTITY) is not None
