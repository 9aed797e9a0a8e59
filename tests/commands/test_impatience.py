"""Two signals end a process that is stuck in native code; one, or several at once, do not."""

import signal
import subprocess
import sys
import time

import pytest

# a mutex that is locked twice never comes back, and no signal interrupts it
STUCK = """
import ctypes, signal
from entangle_cli.runs.shared.impatience import end_at_second_signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *a: None)
end_at_second_signal([signal.SIGINT, signal.SIGTERM])
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
libc.pthread_mutex_lock(mutex)
print("ready", flush=True)
libc.pthread_mutex_lock(mutex)
"""


@pytest.fixture
def stuck():
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_it(stuck, number):
    stuck.send_signal(number)
    time.sleep(1)
    assert stuck.poll() is None
    stuck.send_signal(number)
    assert stuck.wait(timeout=60) == 128 + number
    assert stuck.stderr.read().startswith(b"stopped at once; what was committed is kept")


def test_signals_of_one_moment_are_one(stuck):
    for _ in range(3):
        stuck.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        stuck.wait(timeout=7)
