"""A call rehearsed in a child process: native libraries may crash or never return on damaged files.

The child is a fork, which shares all that is imported; it gives back nothing but its survival.
"""

import os
import select
import signal
import warnings
from collections.abc import Callable

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def rehearsed(call: Callable[[], object], seconds: float) -> str | None:
    """What keeps ``call`` from coming to an end, in a few words; None where nothing does.

    An exception is an end like any other.
    """
    source, sink = os.pipe()
    with warnings.catch_warnings():
        # newer Pythons warn of threads; the child touches nothing that they hold
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _play(call, sink)
    os.close(sink)
    answer = b""
    try:
        # one byte at the end of the call; none where the child ends before
        if select.select([source], [], [], seconds)[0]:
            answer = os.read(source, 1)
            late = False
        else:
            late = True
    finally:
        os.close(source)
        # not waited for yet, so the number is still its own
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if answer:
        return None
    return f"no end within {seconds:.3g} s" if late else _how(status)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _play(call: Callable[[], object], sink: int) -> None:
    """Be the child; never returns."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        call()
    finally:
        # whatever was raised is for the call itself to raise again; no destructor is waited for
        os.write(sink, b".")
        os._exit(0)
