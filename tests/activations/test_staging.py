"""The threads behind a writer: order, bounded memory, errors, and interrupts at any moment."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import contents, fill, make_spec

from entangle_cli.activations import committing
from entangle_cli.activations import writer as writing
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.precision import count_nonfinite
from entangle_cli.activations.schema import StoredLayer
from entangle_cli.activations.staging import Line, Parcel, Ring
from entangle_cli.activations.verify import verify
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoppedEarly

SPEC = make_spec(1000, 64)


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "a.h5"


def run(path, spec=SPEC):
    with ActivationWriter.open(path, spec) as writer:
        fill(writer, spec)
        return writer.finish()


def fill_slowly(writer):
    """Leave the threads time, so that a call before the last one hears of their failure."""
    for until in range(320, 960, 64):
        fill(writer, SPEC, until=until)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run(folder / "a.h5")
    return contents(folder)


def test_the_ring_hands_out_no_byte_twice():
    ring, chance = Ring(1 << 12), np.random.default_rng(0)
    waiting: list[tuple[np.ndarray, int, int]] = []
    for number in range(500):
        while len(waiting) > chance.integers(4):
            memory, held, mark = waiting.pop(0)
            assert (memory == mark).all()
            ring.free(held)
        memory, held = ring.claim(int(chance.integers(1, 600)))
        memory[:] = number % 251
        waiting.append((memory, held, number % 251))


def test_a_full_ring_makes_the_caller_wait_and_closing_lets_him_go():
    ring = Ring(1024)
    held = ring.claim(1000)[1]
    found = []
    waiting = threading.Thread(target=lambda: found.append(ring.claim(500)))
    waiting.start()
    time.sleep(0.02)
    assert not found
    ring.free(held)
    waiting.join()
    assert found[0][0].size == 500
    closing = threading.Thread(target=lambda: found.append(ring.claim(900)))
    closing.start()
    ring.close()
    closing.join()
    assert found[1] is None


def test_parcels_pass_in_order_and_stop_at_the_first_failure():
    seen: list[tuple[str, Parcel]] = []
    parcels = [Parcel(rows=(k, k + 1)) for k in range(20)]

    def first(parcel):
        seen.append(("first", parcel.rows[0]))

    def second(parcel):
        if parcel.rows[0] == 10:
            raise ValueError("ten")
        seen.append(("second", parcel.rows[0]))

    stopped = threading.Event()
    line = Line((first, second), stopped.set)
    for parcel in parcels:
        line.put(parcel)
    line.drain()
    assert [k for name, k in seen if name == "second"] == list(range(10))
    assert [k for name, k in seen if name == "first"] == sorted(k for n, k in seen if n == "first")
    assert str(line.failure) == "ten"
    assert stopped.is_set()
    ended = threading.Event()
    line.end(ended.set)
    assert ended.is_set()


@pytest.mark.parametrize("ring", [1 << 13, 1 << 16])
def test_a_batch_larger_than_the_memory_goes_through_it(path, monkeypatch, ring):
    monkeypatch.setattr(committing, "RING_BYTES", ring)
    monkeypatch.setattr(writing, "_PIECE_BYTES", 1 << 10)
    monkeypatch.setattr(writing, "_PARCEL_BYTES", 1 << 11)
    layers = [StoredLayer("a", (700,), (700,), "float64", "flatten")]
    spec = make_spec(64, 32, layers)
    file = run(path, spec)
    assert file.complete
    assert verify(path) == []
    assert np.array_equal(file.points("a")[63, :3], [63000, 63001, 63002])


def test_rows_may_change_after_they_were_handed_in(path):
    spec = make_spec(layers=[StoredLayer("a", (5,), (5,), "float32", "flatten")], classes=None)
    shared = np.empty((8, 5), np.float32)
    with ActivationWriter.open(path, spec) as writer:
        for start in range(0, 40, 8):
            shared[:] = start
            writer.put("a", shared)
            shared[:] = -1
            writer.end_batch()
        points = writer.finish().points("a")
    assert np.array_equal(points[:, 0], np.arange(40) // 8 * 8)


@pytest.mark.parametrize("turned", [lambda x: x.T.copy().T, lambda x: x[::-1], lambda x: x * 2 / 2])
def test_any_order_of_memory_is_stored_alike(path, turned):
    layer = StoredLayer("a", (5,), (5,), "float32", "flatten")
    values = turned(np.arange(40, dtype=np.float32).reshape(8, 5))
    with ActivationWriter.open(path, make_spec(8, 8, [layer], classes=None)) as writer:
        writer.put("a", values)
        writer.end_batch()
        assert np.array_equal(writer.finish().points("a"), values)


def test_a_commit_does_not_stop_the_rows_behind_it(path, monkeypatch, whole):
    """The caller goes on while the disk is busy; the journal waits for it."""
    monkeypatch.setattr(writing, "COMMIT_BYTES", 1)
    busy, real = threading.Event(), writing.sync_data

    def slow(fd):
        assert busy.wait(10)
        real(fd)

    monkeypatch.setattr(writing, "sync_data", slow)
    with ActivationWriter.open(path, SPEC) as writer:
        fill(writer, SPEC, until=512)
        assert writer.committed == 0
        assert ActivationFile.open(path).rows == 0
        busy.set()
        fill(writer, SPEC)
        writer.finish()
    assert contents(path.parent) == whole


def test_no_line_is_written_before_its_rows_are_on_the_disk(path, monkeypatch):
    calls = []
    for call in ("pwrite", "write", "fdatasync"):
        real = getattr(os, call)

        def recorded(fd, *arguments, real=real, call=call):
            calls.append((call, os.readlink(f"/proc/self/fd/{fd}").rpartition(".")[2]))
            return real(fd, *arguments)

        monkeypatch.setattr(os, call, recorded)
    monkeypatch.setattr(writing, "sync_data", lambda fd: os.fdatasync(fd))
    monkeypatch.setattr(writing, "COMMIT_BYTES", 1)
    with ActivationWriter.open(path, SPEC) as writer:
        calls.clear()
        for until in (256, 512, 768, 1000):
            fill(writer, SPEC, until=until)
            writer.commit()
    kinds = [kind for kind in calls if kind[0] != "pwrite"]
    assert kinds == [("fdatasync", "h5"), ("write", "journal")] * 4
    last = {k for k, kind in enumerate(calls) if kind == ("pwrite", "h5")}
    first_sync = calls.index(("fdatasync", "h5"))
    assert len([k for k in last if k < first_sync]) == 12


def test_a_failure_behind_the_scenes_is_raised_and_nothing_follows_it(path, monkeypatch, whole):
    def failing(*arguments):
        raise OSError(errno.EIO, "broken")

    writer = ActivationWriter.open(path, SPEC)
    fill(writer, SPEC, until=256)
    writer.commit()
    with monkeypatch.context() as patch:
        patch.setattr(committing, "pwrite_all", failing)
        with pytest.raises(StoppedEarly, match="Input/output error; what is committed is kept"):
            fill_slowly(writer)
    # one line was lost, so that no later one may be committed
    with pytest.raises(StoppedEarly):
        writer.commit()
    writer.close()
    assert ActivationFile.open(path).rows == 256
    run(path)
    assert contents(path.parent) == whole


def test_a_failure_that_nobody_has_heard_of_is_raised_by_close(path, monkeypatch):
    writer = ActivationWriter.open(path, SPEC)
    fill(writer, SPEC, until=256)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "sync_data", lambda fd: (_ for _ in ()).throw(OSError(5, "x")))
        with pytest.raises(StoppedEarly):
            writer.close()
    assert ActivationFile.open(path).rows == 0
    assert not path.with_name("a.lock").exists()
    writer.close()


def test_an_interrupted_wait_still_frees_the_lock_and_keeps_what_is_whole(path, monkeypatch, whole):
    """As Ctrl-C while closing: the threads end what they do, and only then the files close."""
    begun, slow, real = threading.Event(), threading.Event(), writing.sync_data
    monkeypatch.setattr(writing, "sync_data", lambda fd: (begun.set(), slow.wait(10), real(fd)))
    monkeypatch.setattr(writing, "COMMIT_BYTES", 1)
    writer = ActivationWriter.open(path, SPEC)
    fill(writer, SPEC, until=256)
    assert begun.wait(10)
    monkeypatch.setattr(Line, "drain", lambda line: (_ for _ in ()).throw(KeyboardInterrupt))
    threading.Timer(0.05, slow.set).start()
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    monkeypatch.undo()
    assert not path.with_name("a.lock").exists()
    assert ActivationFile.open(path).rows == 256
    run(path)
    assert contents(path.parent) == whole


def test_no_thread_outlives_its_writer(path):
    def ours():
        return [t for t in threading.enumerate() if t.name.startswith("entangle-")]

    with ActivationWriter.open(path, SPEC) as writer:
        fill(writer, SPEC, until=256)
        assert len(ours()) == 2
    deadline = time.monotonic() + 10
    while ours() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not ours()


def test_a_writer_that_nobody_closes_does_not_keep_the_process(path):
    script = (
        "import sys; from fakes import fill, make_spec; from pathlib import Path\n"
        "from entangle_cli.activations.writer import ActivationWriter\n"
        "spec = make_spec(1000, 64)\n"
        "writer = ActivationWriter.open(Path(sys.argv[1]), spec)\n"
        "fill(writer, spec, until=640)\n"
    )
    folders = [str(Path(__file__).parent), str(Path(writing.__file__).parents[2])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(folders))
    command = [sys.executable, "-c", script, str(path)]
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert run(path).complete


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "values",
    [[0.0], [1, np.nan], [np.inf], [-np.inf, np.inf], [60000] * 4, [np.nan] * 9 + [3], []],
)
def test_what_is_not_finite_is_counted(dtype, values):
    array = np.array(values, dtype)
    largest = np.full(3, np.finfo(dtype).max, dtype)
    for found in (array, np.concatenate([array, largest])):
        assert count_nonfinite(found) == int((~np.isfinite(found)).sum())
