"""A signal at any moment: raised where no lock is left taken, a little later otherwise."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entangle_cli.runs.shared import stopping
from entangle_cli.runs.shared.stopping import Stopped, stop_at, stop_no_more

RUNS, LONGEST = 200, 20
CHECKOUT = Path(__file__).resolve().parents[2]


def busy(sink: int) -> None:
    """Be a process that hands work to a thread without a pause, and finishes it when stopped."""
    stop_at([signal.SIGTERM])
    pool = ThreadPoolExecutor(1)
    turn = threading.Condition()

    def work():
        with turn:
            turn.notify()

    try:
        os.write(sink, b".")
        while True:
            pool.submit(work)
            with turn:
                turn.wait(0.0001)
    except Stopped as stop:
        finished = threading.Event()
        pool.submit(finished.set)
        finished.wait()
        pool.shutdown()
        stop_no_more([signal.SIGTERM])
        os._exit(stop.exit_code)


def ended(pid: int) -> int | None:
    """The exit code of a child, None where it does not end."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def stop_many() -> None:
    chance = random.Random(0)
    for _ in range(RUNS):
        source, sink = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                busy(sink)
            finally:
                os._exit(1)
        os.read(source, 1)
        time.sleep(chance.uniform(0.001, 0.01))
        os.kill(pid, signal.SIGTERM)
        assert ended(pid) == 143
        os.close(source)
        os.close(sink)


def test_no_thread_is_left_waiting_for_a_lock():
    # in a process without threads, which may fork
    script = "from tests.commands.test_stopping import stop_many; stop_many(); print('all ended')"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "all ended\n", done.stderr


@pytest.fixture
def later(monkeypatch):
    """How often a signal was put off."""
    found = []
    monkeypatch.setattr(stopping, "_send_again", lambda: found.append(1))
    monkeypatch.setattr(Stopped, "last", 0)
    return found


def test_within_a_lock_it_is_put_off(later):
    frames = []

    class Lock:
        def __enter__(self):
            frames.append(sys._getframe(1))

        def __exit__(self, *exception):
            frames.append(sys._getframe(1))

        def acquire(self, *words):
            return True

        release = acquire

    with threading.Condition(Lock()):
        pass
    for frame in frames:
        assert "threading" in frame.f_code.co_filename
        stopping._stop(signal.SIGTERM, frame)
    assert later == [1, 1]


def test_at_the_very_end_nothing_is_raised(later, monkeypatch):
    monkeypatch.setattr(Stopped, "too_late", True)
    stopping._stop(signal.SIGTERM, None)
    assert (later, Stopped.last) == ([], 0)


def test_waiting_is_interrupted(later):
    turn = threading.Condition()

    def wait():
        with turn:
            turn.wait(60)

    thread = threading.Thread(target=wait)
    thread.start()
    end = time.monotonic() + 30
    waits = threading.Condition.wait.__code__
    while (frame := sys._current_frames()[thread.ident]).f_code is not waits:
        assert time.monotonic() < end
        time.sleep(0.01)
    with pytest.raises(Stopped):
        stopping._stop(signal.SIGTERM, frame)
    with turn:
        turn.notify()
    thread.join()
    assert later == []


@pytest.fixture
def handlers():
    """What the signals do is afterwards what it was."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    hook = sys.unraisablehook
    yield
    Stopped.last = 0
    stop_no_more([])
    sys.unraisablehook = hook
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_signal_that_was_put_off_comes_again(handlers):
    stop_at([signal.SIGTERM])
    Stopped.last = signal.SIGTERM
    stopping._send_again()
    with pytest.raises(Stopped):
        time.sleep(30)
