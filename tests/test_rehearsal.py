import os
import signal
import time

import h5py
import numpy as np
import pytest

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.formats import hdf5
from entangle_cli.errors import DataError
from entangle_cli.rehearsal import rehearsed


def test_what_comes_to_an_end_is_no_trouble():
    assert rehearsed(lambda: 1, 60) is None


def test_an_exception_is_an_end():
    assert rehearsed(lambda: 1 // 0, 60) is None


def test_a_crash_is_told():
    assert rehearsed(lambda: os.kill(os.getpid(), signal.SIGKILL), 60) == "ended by signal 9"
    assert rehearsed(lambda: os._exit(3), 60) == "ended with exit code 3"


def test_a_hang_is_told_and_leaves_no_process(monkeypatch):
    children, fork = [], os.fork

    def noted():
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", noted)
    begun = time.monotonic()
    assert rehearsed(lambda: time.sleep(60), 0.2) == "no end within 0.2 s"
    assert time.monotonic() - begun < 30
    (child,) = children
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_data_set_that_crashes_the_library_is_refused(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.zeros((3, 2)), np.arange(3)
    assert len(open_dataset(str(tmp_path / "a.h5"))) == 3
    mine = os.getpid()

    def crash(*arguments):
        assert os.getpid() != mine
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(hdf5, "_labels", crash)
    with pytest.raises(DataError, match="ended by signal 9"):
        open_dataset(str(tmp_path / "a.h5"))
