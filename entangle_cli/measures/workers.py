"""Work on parts of a whole in several threads, with results that do not depend on their number.

torch shares out a single operation among its threads, rounds differently where the shares meet, and
leaves the threads idle between operations. Here each part is worked on by one thread from beginning
to end, and results come in the order of the parts.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

State, Part, Found = TypeVar("State"), TypeVar("Part"), TypeVar("Found")


def in_order(
    prepare: Callable[[], State],
    work: Callable[[State, Part], Found],
    parts: Iterable[Part],
    device: torch.device,
) -> Iterator[Found]:
    """``work(state, part)`` of every part, in order, by as many threads as torch has on the CPU.

    ``prepare`` makes the state that one thread uses again and again; it is called in this thread.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        state = prepare()
        yield from (work(state, part) for part in parts)
        return
    idle = deque(prepare() for _ in range(threads))

    def task(part: Part) -> Found:
        state = idle.popleft()
        try:
            return work(state, part)
        finally:
            idle.append(state)

    pool = _pool(threads)
    try:
        yield from _ahead(pool, task, parts, 2 * threads)
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which every operation of torch is by one thread; others keep their number."""
    ready = threading.Barrier(threads)

    def alone() -> None:
        # a thread's first call takes over the number of all threads; only then it keeps its own
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, initializer=alone)
    for started in [pool.submit(ready.wait) for _ in range(threads)]:
        started.result()
    torch.set_num_threads(threads)
    return pool


def _ahead(
    pool: ThreadPoolExecutor, task: Callable[[Part], Found], parts: Iterable[Part], most: int
) -> Iterator[Found]:
    """Results in order, at most ``most`` parts begun and not handed out."""
    pending: deque[Future[Found]] = deque()
    for part in parts:
        pending.append(pool.submit(task, part))
        if len(pending) >= most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
