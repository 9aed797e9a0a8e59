"""Claims of the paper, one at a time: here, or each as a unit of an engine.

They ask nothing of each other but networks, and two that ask for the same one train it once
(``papers.alone``). What a claim finds is written where the command looks for it. Its numbers are
those of one process with as many threads: more threads add up in another order, and training
carries the difference on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.engines.interface import Unit
from entangle_cli.progress import Progress, silent

if TYPE_CHECKING:
    from entangle_cli.papers.claim import Claim, Scale, Settings
    from entangle_cli.papers.shelf import Shelf

_NETWORKS = "networks"


@dataclass(frozen=True)
class ClaimTask:
    """A claim by name, to be measured with the data sets below ``data`` into ``output``."""

    name: str
    scale: "Scale"
    seed: int
    data: str | None
    output: str
    device: str

    @property
    def folder(self) -> Path:
        """Where what it finds is written."""
        return Path(self.output) / self.name


def claim_unit(task: ClaimTask) -> Unit:
    """The work on a claim, for an engine."""
    return Unit(f"claim {task.name}", task)


def measure_there(task: ClaimTask) -> list[str]:
    """Measure a claim in a worker; returns what is to be said of it, in lines."""
    from entangle_cli.papers.catalogue import catalogue, chosen

    (claim,) = chosen([task.name], catalogue())
    said: list[str] = []
    settings = claim_settings(task, claim, _shelf(task.data), note=said.append)
    said.append(measure_claim(claim, settings, task.folder))
    return said


def measure_claim(claim: "Claim", settings: "Settings", folder: Path) -> str:
    """Measure a claim and write what it found; returns the verdicts in one line."""
    from entangle_cli.papers.keeping import identity_of, write_finished

    started = time.monotonic()
    result = claim.run(settings)
    seconds = time.monotonic() - started
    write_finished(folder, claim, identity_of(claim, settings), result, seconds=seconds)
    verdicts = [one.verdict.value for one in result.comparisons]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    return f"{claim.name}: {counts}; {seconds:.0f} s, {folder}"


def claim_settings(
    task: ClaimTask,
    claim: "Claim",
    shelf: "Shelf",
    *,
    note: Callable[[str], None],
    progress: Progress = silent,
) -> "Settings":
    """What a claim runs with."""
    from entangle_cli.papers.claim import Settings

    return Settings(
        scale=task.scale,
        sizes=claim.sizes[task.scale],
        seed=task.seed,
        shelf=shelf,
        networks=Path(task.output) / _NETWORKS,
        device=task.device,
        progress=progress,
        note=note,
    )


@lru_cache(maxsize=1)
def _shelf(data: str | None) -> "Shelf":
    from entangle_cli.papers.shelf import Shelf

    return Shelf(None if data is None else Path(data))
