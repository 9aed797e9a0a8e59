"""A full or failing disk stops a dump with one line, keeps what is committed, and resumes."""

import errno
import os

import pytest
from fakes import contents, fill, make_spec

from entangle_cli import scratch
from entangle_cli.activations import durable
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.verify import verify
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoppedEarly, StoreError

SPEC = make_spec(1000, 64)


def run(path):
    with ActivationWriter.open(path, SPEC) as writer:
        fill(writer, SPEC)
        return writer.finish()


class Failing:
    """An ``os`` function that fails from its ``k``-th call on, or at that call alone."""

    def __init__(self, real, code, k, *, once=False):
        self.real, self.code, self.k, self.once, self.calls = real, code, k, once, 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self.k or (self.calls > self.k and not self.once):
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments)


def test_a_full_disk_shows_before_the_first_row(tmp_path, monkeypatch):
    full = Failing(os.posix_fallocate, errno.ENOSPC, 1)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoppedEarly, match=r"disk is full: 56\.0 kB needed, .*B free") as caught:
        run(tmp_path / "a.h5")
    assert caught.value.exit_code == 3
    assert list(tmp_path.iterdir()) == []


def test_without_fallocate_the_free_space_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate")
    assert run(tmp_path / "a.h5").complete
    monkeypatch.setattr(scratch, "free_bytes", lambda volume: 1000)
    with pytest.raises(StoppedEarly, match=r"needed, 1\.0 kB free"):
        run(tmp_path / "b.h5")


def test_a_file_system_that_cannot_reserve_is_served(tmp_path, monkeypatch):
    refused = Failing(os.posix_fallocate, errno.EOPNOTSUPP, 1)
    monkeypatch.setattr(os, "posix_fallocate", refused)
    assert run(tmp_path / "a.h5").complete


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder / "a.h5")
    return contents(folder)


CALLS = {"pwrite": 70, "write": 5, "fsync": 8, "fdatasync": 3, "replace": 3, "ftruncate": 3}


@pytest.mark.parametrize("once", [False, True], ids=["from then on", "once"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])
@pytest.mark.parametrize("call", CALLS)
def test_a_failure_at_any_call_is_said_and_resumed(
    tmp_path_factory, monkeypatch, whole, call, code, once
):
    said = []
    for k in range(1, CALLS[call] + 1, 7 if call == "pwrite" else 1):
        path = tmp_path_factory.mktemp("k") / "a.h5"
        with monkeypatch.context() as patch:
            failing = Failing(getattr(os, call), code, k, once=once)
            patch.setattr(os, call, failing)
            if call == "fdatasync":
                for module in ("journal", "writer"):
                    patch.setattr(f"entangle_cli.activations.{module}.sync_data", failing)
            try:
                run(path)
            except StoppedEarly as error:
                said.append(str(error))
            else:
                assert failing.calls < k
        if path.exists():
            assert not any("rows" in line for line in verify(path))
        run(path)
        assert contents(path.parent) == whole
    assert said
    assert all("\n" not in line and "a.h5" in line for line in said)


def test_a_folder_that_may_not_be_written_is_a_wrong_place(tmp_path, monkeypatch):
    denied = Failing(os.open, errno.EACCES, 1)
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(StoreError, match="cannot be written: Permission denied"):
        run(tmp_path / "a.h5")


def test_nothing_is_committed_after_a_failed_sync(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    writer = ActivationWriter.open(path, SPEC)
    fill(writer, SPEC, until=256)
    writer.commit()
    fill(writer, SPEC, until=512)
    failing = Failing(os.fdatasync, errno.EIO, 1, once=True)
    monkeypatch.setattr("entangle_cli.activations.writer.sync_data", failing)
    with pytest.raises(StoppedEarly, match="Input/output error; what is committed is kept"):
        writer.commit()
    writer.close()
    assert ActivationFile.open(path).rows == 256


def test_a_file_that_the_disk_has_no_room_for_leaves_nothing(tmp_path, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    durable.write_atomic(tmp_path / "a.journal", b"before")
    monkeypatch.setattr(durable, "write_all", full)
    with pytest.raises(OSError, match="No space"):
        durable.write_atomic(tmp_path / "a.journal", b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["a.journal"]
    assert (tmp_path / "a.journal").read_bytes() == b"before"
