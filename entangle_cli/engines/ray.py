"""The engine on Ray Core: actors that keep what they have opened, retries when they die.

Every unit is handed to one idle worker at a time, and handed out again when that ends in the
middle of it, on whichever node is left. What a unit made before is either whole, and then found
again, or left aside (the stores see to that), so a death changes nothing in the results.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from entangle_cli.engines.cluster import connect, disconnect, stdout_aside
from entangle_cli.engines.interface import GivenUp, Outcome, Unit
from entangle_cli.engines.worker import Worker, releases
from entangle_cli.errors import StoppedEarly, UsageError
from entangle_cli.progress import Progress

# units begun ahead of the oldest that is not done: what they made waits on the disk
_AHEAD = 4
_WAIT_SECONDS = 1.0
_START_SECONDS = 120.0


@dataclass(frozen=True)
class RayOptions:
    """How a cluster is used.

    Attributes:
        address: ``local``, ``auto`` or HOST:PORT.
        workers: how many; None: as many as fit.
        cpus: processors for a worker, and so its threads.
        gpus: GPUs for a worker; fractions share one.
        retries: how often a unit is handed out again after its worker ended.
    """

    address: str = "local"
    workers: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    retries: int = 3


@dataclass(eq=False)
class _Slot:
    """A worker and what it is doing; ``index`` is None while it starts or is idle."""

    actor: Any
    ref: Any
    index: int | None = None
    ready: bool = False


@dataclass
class _Run:
    """The units of one call and how far each is."""

    units: Sequence[Unit]
    waiting: deque[int]
    done: dict[int, Outcome] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    next: int = 0


class RayEngine:
    """Workers on a Ray cluster; use as a context manager, or `close` it."""

    def __init__(
        self, options: RayOptions, note: Callable[[str], None] = lambda text: None
    ) -> None:
        """Reach the cluster; ``note`` is told when a worker is lost.

        Raises:
            UsageError: no Ray, no cluster, or no room for a worker.
        """
        self._options, self._note = options, note
        self._aside = contextlib.ExitStack()
        self._aside.enter_context(stdout_aside())
        self._slots: list[_Slot] = []
        self._ray = None
        try:
            self._ray, self._folder = connect(
                options.address, workers=options.workers, threads=options.cpus
            )
            self.workers = options.workers or self._room()
            self._dead = self._endings()
            self._slots = [self._start() for _ in range(self.workers)]
        except BaseException:
            self.close()
            raise

    def run(
        self, work: Callable[[Any], Any], units: Sequence[Unit], progress: Progress
    ) -> Iterator[Outcome]:
        """Outcomes in the order of the units, as `Engine.run` says.

        Raises:
            StoppedEarly: no worker is left, and none comes.
            UsageError: workers cannot do the work: another release, or other folders.
        """
        run = _Run(units, deque(range(len(units))))
        self._alive_at = time.monotonic()
        try:
            while run.next < len(units):
                self._hand_out(run, work)
                self._gather(run, progress)
                while run.next in run.done:
                    outcome = run.done.pop(run.next)
                    run.next += 1
                    yield outcome
        finally:
            for slot in [slot for slot in self._slots if slot.index is not None]:
                self._replace(slot)

    def describe(self) -> dict[str, Any]:
        """The workers, the threads of each, and the nodes that are alive."""
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        cpus = self._options.cpus
        return {"engine": "ray", "workers": self.workers, "cpus": cpus, "nodes": len(nodes)}

    def close(self) -> None:
        """End the workers and leave the cluster; stdout is what it was."""
        try:
            if self._ray is not None:
                for slot in self._slots:
                    self._ray.kill(slot.actor)
                disconnect(self._ray, self._folder)
        finally:
            self._ray, self._slots = None, []
            self._aside.close()

    def __enter__(self) -> "RayEngine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _room(self) -> int:
        """How many workers the cluster has room for."""
        options, has = self._options, self._ray.cluster_resources()
        room = int(has.get("CPU", 0) // options.cpus)
        if options.gpus:
            room = min(room, int(has.get("GPU", 0) / options.gpus))
        if room < 1:
            raise UsageError(
                f"--engine ray: no room for a worker of {options.cpus} CPUs and {options.gpus:g} "
                f"GPUs; the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
            )
        return room

    def _endings(self) -> tuple[type[BaseException], ...]:
        """What Ray raises when a worker or its node is gone."""
        errors = self._ray.exceptions
        return errors.RayActorError, errors.WorkerCrashedError, errors.ObjectLostError

    def _start(self) -> _Slot:
        resources = {"num_cpus": self._options.cpus, "num_gpus": self._options.gpus}
        remote = self._ray.remote(**resources, max_restarts=0, max_task_retries=0)(Worker)
        actor = remote.remote(os.getcwd())
        return _Slot(actor, actor.hello.remote())

    def _replace(self, slot: _Slot) -> None:
        self._ray.kill(slot.actor)
        self._slots[self._slots.index(slot)] = self._start()

    def _hand_out(self, run: _Run, work: Callable[[Any], Any]) -> None:
        for slot in self._slots:
            if slot.ref is not None or not run.waiting:
                continue
            if run.waiting[0] >= run.next + _AHEAD * self.workers:
                return
            slot.index = run.waiting.popleft()
            slot.ref = slot.actor.work.remote(work, run.units[slot.index].task)

    def _gather(self, run: _Run, progress: Progress) -> None:
        """Wait for the next thing to happen, and take it in."""
        slots = {slot.ref: slot for slot in self._slots if slot.ref is not None}
        happened, _ = self._ray.wait(list(slots), num_returns=1, timeout=_WAIT_SECONDS)
        if any(slot.ready for slot in self._slots):
            self._alive_at = time.monotonic()
        elif time.monotonic() - self._alive_at > _START_SECONDS:
            raise StoppedEarly(
                f"no worker started within {_START_SECONDS:.0f} s; what is done is kept, the same "
                "command goes on"
            )
        for ref in happened:
            self._take_in(slots[ref], run, progress)

    def _take_in(self, slot: _Slot, run: _Run, progress: Progress) -> None:
        try:
            value, error = self._ray.get(slot.ref), None
        except self._dead as ending:
            self._lose(slot, run, progress, type(ending).__name__)
            return
        except self._ray.exceptions.RayTaskError as raised:
            value, error = None, raised.cause or raised
        if not slot.ready:
            self._welcome(slot, value, error)
            return
        index, slot.index, slot.ref = slot.index, None, None
        self._finish(run, index, Outcome(run.units[index], value, error), progress)

    def _welcome(self, slot: _Slot, hello: dict[str, str] | None, error: Any) -> None:
        if error is not None:
            raise error
        for name, release in releases().items():
            if hello[name] != release:
                raise UsageError(
                    f"--engine ray: a worker runs {name} {hello[name]}, this command "
                    f"{release}; install the same on all nodes"
                )
        slot.ready, slot.ref = True, None

    def _lose(self, slot: _Slot, run: _Run, progress: Progress, reason: str) -> None:
        index = slot.index
        self._replace(slot)
        if index is None:
            return
        unit = run.units[index]
        lost = run.lost[index] = run.lost.get(index, 0) + 1
        if lost <= self._options.retries:
            self._note(f"{unit.name}: its worker died ({reason}); trying again")
            run.waiting.appendleft(index)
            return
        error = GivenUp(f"{unit.name}: {lost} workers died over it; given up ({reason})")
        self._finish(run, index, Outcome(unit, error=error), progress)

    def _finish(self, run: _Run, index: int, outcome: Outcome, progress: Progress) -> None:
        lost = run.lost.get(index, 0)
        run.done[index] = Outcome(outcome.unit, outcome.value, outcome.error, lost)
        if outcome.error is None:
            progress.advance(outcome.unit.size)
