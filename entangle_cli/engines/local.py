"""The engine that needs nothing: one unit after another, in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from entangle_cli.engines.interface import Outcome, Unit
from entangle_cli.errors import EntangleError
from entangle_cli.progress import Progress


class LocalEngine:
    """Units in this process, in their order."""

    def run(
        self, work: Callable[[Any], Any], units: Sequence[Unit], progress: Progress
    ) -> Iterator[Outcome]:
        """Outcomes in the order of the units; what is no `EntangleError` is raised at once."""
        for unit in units:
            try:
                outcome = Outcome(unit, work(unit.task))
                progress.advance(unit.size)
            except EntangleError as error:
                outcome = Outcome(unit, error=error)
            yield outcome

    def describe(self) -> dict[str, Any]:
        """One worker, here."""
        return {"engine": "local", "workers": 1, "cpus": 1, "nodes": 1}

    def close(self) -> None:
        """Nothing to end."""
