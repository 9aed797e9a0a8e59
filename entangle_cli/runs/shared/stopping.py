"""The first signal that asks the process to end: raised where it comes, or a little later.

Raised inside of Python's own locks and pools, it would leave a lock taken that another thread waits
for, and the process would never end. The same inside of a destructor, where it would be lost.
"""

import concurrent.futures.thread
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

# whose locks must not be left taken; importing has locks, too
_CAREFUL = {
    threading.__file__,
    queue.__file__,
    concurrent.futures._base.__file__,
    concurrent.futures.thread.__file__,
}
_IMPORTING = "<frozen importlib"
# seconds after which a signal that came in a bad moment is answered
_LATER = 0.01


class Stopped(BaseException):
    """A signal asked the process to end.

    Attributes:
        last: the number of the last signal, 0 before.
        too_late: the process ends as it is; set where nothing may be raised any more.
    """

    last = 0
    too_late = False

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def stop_at(numbers: Sequence[int]) -> None:
    """From now on these signals raise `Stopped` in the main thread."""
    sys.unraisablehook = _not_raised
    signal.signal(signal.SIGALRM, _again)
    for number in numbers:
        signal.signal(number, _stop)


def stop_no_more(numbers: Sequence[int]) -> None:
    """From now on they end the process at once."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (*numbers, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    if Stopped.too_late:
        return
    Stopped.last = number
    if _holds_a_lock(frame):
        _send_again()
    else:
        raise Stopped(number)


def _again(_number: int, frame: FrameType | None) -> None:
    if Stopped.last:
        _stop(Stopped.last, frame)


def _send_again() -> None:
    # not by a thread of Python's: to start one takes a lock
    signal.setitimer(signal.ITIMER_REAL, _LATER)


def _holds_a_lock(frame: FrameType | None) -> bool:
    if frame is None:
        return False
    if frame.f_code is threading.Condition.wait.__code__:
        # it waits, which may last, and is made to be interrupted
        return frame.f_locals.get("gotit") is not False
    file = frame.f_code.co_filename
    return file in _CAREFUL or file.startswith(_IMPORTING)


def _not_raised(ignored: "sys.UnraisableHookArgs") -> None:
    """Python would print what a destructor cannot raise, and go on as if nothing had been."""
    if isinstance(ignored.exc_value, Stopped):
        _send_again()
    else:
        sys.__unraisablehook__(ignored)
