"""One writer per output; the lock of a dead one does not stay."""

import json
import os
import subprocess
import sys

import pytest
from fakes import contents, fill, make_spec

from entangle_cli.activations import lock as locking
from entangle_cli.activations.lock import OutputLock
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoreError


def held_by(path, **changes) -> None:
    lock = path.with_name("a.lock")
    lock.write_text(json.dumps(locking._signature() | changes))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


@pytest.fixture
def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def no_flock(*arguments):
    raise OSError("not offered here")


def test_a_second_writer_is_refused_and_harms_nothing(path):
    spec = make_spec()
    with ActivationWriter.open(path, spec) as writer:
        fill(writer, spec, until=16)
        with pytest.raises(StoreError, match=f"being written by process {os.getpid()} on"):
            ActivationWriter.open(path, spec)
        with pytest.raises(StoreError, match="being written"):
            ActivationWriter.open(path, spec, overwrite=True)
        fill(writer, spec)
        assert writer.finish().complete
    assert "a.lock" not in contents(path.parent)


def test_a_writer_in_another_process_is_seen(path):
    script = (
        "import sys; from pathlib import Path; from entangle_cli.activations.lock import *;"
        "OutputLock.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(path)]
    root = locking.__file__.partition("/entangle_cli/")[0]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {process.pid}"):
            OutputLock.acquire(path)
        process.kill()
        process.wait()
    assert path.with_name("a.lock").exists()
    OutputLock.acquire(path).release()
    assert not path.with_name("a.lock").exists()


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "no flock"])
def test_the_lock_of_a_dead_process_is_taken_over(path, dead, flock, monkeypatch):
    if not flock:
        monkeypatch.setattr(locking.fcntl, "flock", no_flock)
    held_by(path, pid=dead)
    lock = OutputLock.acquire(path)
    assert json.loads(lock.path.read_text())["pid"] == os.getpid()
    lock.release()


def test_without_flock_a_living_process_keeps_its_lock(path, monkeypatch):
    monkeypatch.setattr(locking.fcntl, "flock", no_flock)
    held_by(path, pid=os.getppid())
    with pytest.raises(StoreError, match=r"if that has died, delete .*a\.lock"):
        OutputLock.acquire(path)


def test_a_lock_from_before_the_last_boot_is_taken_over(path, monkeypatch):
    monkeypatch.setattr(locking.fcntl, "flock", no_flock)
    held_by(path, pid=os.getppid(), boot="an earlier one")
    OutputLock.acquire(path).release()


def test_a_lock_of_another_host_is_left_alone(path):
    held_by(path, host="elsewhere", boot="theirs")
    with pytest.raises(StoreError, match=r"on elsewhere; .* if that has died, delete"):
        OutputLock.acquire(path)
    assert path.with_name("a.lock").exists()


def test_an_empty_lock_is_taken_over(path):
    path.with_name("a.lock").write_text("")
    OutputLock.acquire(path).release()
