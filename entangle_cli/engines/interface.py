"""What every engine offers: units of work go in, outcomes come out in the same order.

A unit is small and travels well: paths, names and ranges, never arrays. The function that does a
unit's work must be importable by its name wherever it runs, and leaves its result in a file that
the next steps read, so that what is computed does not depend on where it was.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from entangle_cli.errors import StoppedEarly
from entangle_cli.progress import Progress


class GivenUp(StoppedEarly):
    """Worker after worker ended in the middle of a unit."""


@dataclass(frozen=True)
class Unit:
    """A piece of work.

    Attributes:
        name: what a message about it says.
        task: what the work is given; plain values, so that it can be sent anywhere.
        size: how much of the progress it is.
    """

    name: str
    task: Any
    size: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        unit: the unit.
        value: what its work returned.
        error: what its work raised, or why it was given up; None where all is well.
        lost: workers that ended in the middle of it.
    """

    unit: Unit
    value: Any = None
    error: BaseException | None = None
    lost: int = 0


class Engine(Protocol):
    """Where units run."""

    def run(
        self, work: Callable[[Any], Any], units: Sequence[Unit], progress: Progress
    ) -> Iterator[Outcome]:
        """Do ``work(unit.task)`` for every unit; outcomes come in the order of the units.

        ``progress`` is advanced when a unit has succeeded, in whichever order that happens. A
        unit that fails does not stop the others.
        """

    def describe(self) -> dict[str, Any]:
        """Where units run: the engine's name, its workers, the processors of each, and nodes."""

    def close(self) -> None:
        """End the workers."""
