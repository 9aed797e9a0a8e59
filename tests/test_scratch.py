"""Arrays in files without a name, and in memory where there is no room for them."""

import os
from pathlib import Path

import numpy as np
import pytest

from entangle_cli import scratch
from entangle_cli.activations.duplicates import Duplicates
from entangle_cli.scratch import give_back, scratch_array, spilled_array


def mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


def test_an_array_in_a_folder_lies_in_a_file_without_a_name(tmp_path):
    array = scratch_array((3, 5), np.float32, tmp_path)
    array[:] = 7
    assert array.shape == (3, 5)
    assert mapped(array)
    assert list(tmp_path.iterdir()) == []


def test_only_large_arrays_are_spilled(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    few, many = spilled_array((10,), np.int64), spilled_array((100_000,), np.int64)
    assert not mapped(few)
    assert mapped(many)
    assert not few.any()
    assert not many.any()


def test_without_room_arrays_are_in_memory(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch, "scratch_array", full)
    array = spilled_array((100_000,), np.int64)
    assert not mapped(array)
    assert not array.any()


@pytest.mark.parametrize("spilled", [1, 1 << 30])
def test_copies_are_counted_alike_in_memory_and_in_a_file(monkeypatch, spilled):
    monkeypatch.setattr(scratch, "_SPILLED", spilled)
    monkeypatch.setattr("entangle_cli.activations.duplicates._BLOCK", 3)
    values = np.array([4, 1, 4, 4, 2, 1, 9, 8, 7, 9])
    counted = Duplicates(12)
    counted.see(np.arange(10), [values[:, None]])
    assert counted.read == 10
    assert counted.count == 10 - len(set(values.tolist()))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
@pytest.mark.skipif(os.confstr_names.get("CS_GNU_LIBC_VERSION") is None, reason="not the GNU libc")
def test_freed_memory_goes_back_to_the_system():
    def private():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    pieces = [np.ones(1000) for _ in range(8000)]
    last = np.ones(1000)
    filled = private()
    del pieces
    give_back()
    assert filled - private() > 40_000
    assert last.all()
