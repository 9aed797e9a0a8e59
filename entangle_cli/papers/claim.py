"""A claim of the paper: what it needs, how it is measured anew, and what came of it.

A claim is one experiment, small enough to run alone. Its ``run`` gets `Settings`, which hold the
sizes of the scale asked for, the data and the folders, and returns a `ClaimResult`. Everything
random follows from ``settings.seed``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from entangle_cli.papers.shelf import Shelf
from entangle_cli.papers.verdicts import Comparison
from entangle_cli.progress import Progress, silent
from entangle_cli.report.panels import FigureDescription
from entangle_cli.results import Row

Scale = Literal["quick", "paper"]
SCALES: tuple[Scale, ...] = ("quick", "paper")


@dataclass(frozen=True)
class Settings:
    """What a claim runs with.

    Attributes:
        scale: ``quick`` or ``paper``.
        sizes: the claim's own dataclass of steps, runs and sizes for that scale.
        seed: of everything drawn at random; run i of a claim uses ``seed + i``.
        shelf: the data sets that the claim needs, by name and split.
        networks: the folder of trained networks that claims share, see ``papers.networks``.
        device: where networks are trained and run.
        progress: who listens to how far the work is.
        note: says something worth knowing while the claim runs.
    """

    scale: Scale
    sizes: Any
    seed: int
    shelf: Shelf
    networks: Path
    device: str = "cpu"
    progress: Progress = silent
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class ClaimResult:
    """What a claim found: every plotted number, a figure, and the rows of the comparison.

    ``tables`` are further CSV files by stem. ``notes``: what was left out or decided on the way.
    """

    rows: list[Row]
    comparisons: list[Comparison]
    figure: FigureDescription
    notes: list[str] = field(default_factory=list)
    tables: Mapping[str, list[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One entry of the catalogue.

    Attributes:
        name: ``figure-1``, ``table-2``, ...; the name of its folder.
        title: one line.
        run: the experiment.
        sizes: steps, runs and sizes of each scale, frozen dataclasses.
        minutes: about how long each scale takes on two cores.
        needs: data sets below ``--data``, as ``name@split``.
        also: names of further figures that the same experiment answers; several claims may share
            one.
        quick_cannot: what the scale ``quick`` cannot show, one sentence.
        version: raised whenever a change makes earlier results obsolete.
    """

    name: str
    title: str
    run: Callable[[Settings], ClaimResult]
    sizes: Mapping[Scale, Any]
    minutes: Mapping[Scale, float]
    quick_cannot: str
    needs: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    version: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it answers to."""
        return (self.name, *self.also)
