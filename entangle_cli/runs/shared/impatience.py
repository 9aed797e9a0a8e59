"""The second Ctrl-C: it ends a process whose network does not come back.

Python answers a signal between two of its own instructions. While a network runs it has none, so
that one without end could not be stopped but by ``kill -9``. Threads go on then, and the number of
every signal is written into a pipe at once.
"""

import os
import signal
import threading
import time
from collections.abc import Sequence

# children of the same group are sent the same signal at the same moment, and share the pipe
_APART = 0.5
# seconds that a process which does answer has to end by itself
_GRACE = 5.0
_SAID = b"stopped at once; what was committed is kept, the same command resumes\n"


def end_at_second_signal(numbers: Sequence[int]) -> None:
    """From now on, two of these signals end the process, whatever it is doing."""
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=[source, frozenset(numbers)], daemon=True).start()


def _watch(source: int, numbers: frozenset[int]) -> None:
    last = None
    while True:
        for number in os.read(source, 64):
            now = time.monotonic()
            if number not in numbers or (last is not None and now - last < _APART):
                continue
            if last is not None:
                time.sleep(_GRACE)
                os.write(2, _SAID)
                os._exit(128 + number)
            last = now
