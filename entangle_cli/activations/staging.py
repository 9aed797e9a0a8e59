"""Rows on their way to the disk: memory that is used again and again, and threads in a row.

The network goes on while one thread takes checksums and writes, and the next waits for the disk.
Everything passes them in the order in which it came, so that the bytes of a store do not depend
on their timing.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from entangle_cli.activations.journal import Entry


@dataclass
class Piece:
    """Numbers of one block for the place ``offset``; they hold ``held`` bytes of the ring."""

    block: int
    offset: int
    values: np.ndarray
    held: int


@dataclass
class Parcel:
    """Some pieces that go through the threads together.

    ``rows`` are those of the journal line that ends with them, if one does; ``commit`` asks for
    all lines so far to be made durable, which ``entries`` then are.
    """

    pieces: list[Piece] = field(default_factory=list)
    rows: tuple[int, int] | None = None
    commit: bool = False
    entries: list[Entry] = field(default_factory=list)


class Ring:
    """A fixed amount of memory, handed out and taken back in the same order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._memory = np.empty(size, np.uint8)
        self._next = self._used = 0
        self._closed = False
        self._changed = threading.Condition()

    def claim(self, count: int) -> tuple[np.ndarray, int] | None:
        """``count`` bytes in one piece, and how many to `free`; None after `close`.

        Waits until they are free. Starts divisible by 64 suit every number type.
        """
        room = -(-count // 64) * 64
        with self._changed:
            # what is left at the end may be too short, and is then held with the piece
            skipped = self.size - self._next if self._next + room > self.size else 0
            held = skipped + room
            self._changed.wait_for(lambda: self._closed or self._used + held <= self.size)
            if self._closed:
                return None
            self._used += held
            start = (self._next + skipped) % self.size
            self._next = start + room
        return self._memory[start : start + count], held

    def free(self, held: int) -> None:
        """Take the oldest piece back."""
        with self._changed:
            self._used -= held
            self._changed.notify()

    def close(self) -> None:
        """Let nobody wait any longer, and the memory go when its last piece is done with."""
        with self._changed:
            self._closed = True
            self._memory = self._memory[:0].copy()
            self._changed.notify_all()


class Line:
    """Threads, each with one job, that a parcel goes through; the first failure stops all work.

    Attributes:
        failure: what the job raised that failed first, None while all is well.
    """

    def __init__(
        self, jobs: Sequence[Callable[[Parcel], None]], failed: Callable[[], None]
    ) -> None:
        """``failed`` is called when work has stopped."""
        self.failure: BaseException | None = None
        self._jobs, self._failed = jobs, failed
        self._threads = [ThreadPoolExecutor(1, f"entangle-{job.__name__}") for job in jobs]
        for thread in self._threads:
            # a pool starts its thread with its first work: where that fails it shall fail here
            thread.submit(int)

    def put(self, parcel: Parcel) -> None:
        """Send a parcel through all threads; returns at once."""
        self._threads[0].submit(self._pass, 0, parcel)

    def drain(self) -> None:
        """Wait until everything that was put has gone through."""
        through = threading.Event()
        self._after(through.set)
        through.wait()

    def stop(self, failure: BaseException) -> None:
        """Let nothing more be done, for this reason unless there is an earlier one."""
        self.failure = self.failure or failure
        self._failed()

    def end(self, last: Callable[[], None]) -> None:
        """Call ``last`` behind everything that was put, even if waiting for it is interrupted."""
        ended = threading.Event()

        def finish() -> None:
            try:
                last()
            finally:
                for thread in self._threads:
                    thread.shutdown(wait=False)
                ended.set()

        self._after(finish)
        ended.wait()

    def _after(self, call: Callable[[], None], stage: int = 0) -> None:
        if stage == len(self._threads):
            call()
        else:
            self._threads[stage].submit(self._after, call, stage + 1)

    def _pass(self, stage: int, parcel: Parcel) -> None:
        if self.failure is not None:
            return
        try:
            self._jobs[stage](parcel)
        except BaseException as failure:
            # raised again where the rows came from
            self.stop(failure)
        else:
            if stage + 1 < len(self._threads):
                self._threads[stage + 1].submit(self._pass, stage + 1, parcel)
