"""Searches for neighbors by an engine: a layer each, with all sets that are asked about it.

One worker does a layer in the order in which one process would, so the lists and what is noted
with them are the same; an approximate index is built once. Where an exact search takes long, the
queries of a layer are cut into ``ranges``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from entangle_cli.activations.file import ActivationFile
from entangle_cli.engines.interface import Unit
from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.opening import choose
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.spread.ranges import Part, RangeTask, cut, put_together, search_range

if TYPE_CHECKING:
    from entangle_cli.runs.shared.searching import Searching, SearchOptions


@dataclass(frozen=True)
class SearchTask:
    """The neighbors of all samples of ``others`` among those of ``train`` in one layer."""

    train: str
    others: tuple[str, ...]
    layer: str
    asked: "SearchOptions"
    output: str
    device: str
    seed: int


def search_layer(task: SearchTask) -> None:
    """Search, and keep the lists where the command looks for them."""
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.shared.searching import Searching

    run = RunOptions(output=Path(task.output), device=task.device, seed=task.seed)
    searching = Searching(run, task.asked, Terminal(quiet=True), [])
    train, *others = (ActivationFile.open(path) for path in (task.train, *task.others))
    searching.neighbors(train, others, [task.layer])


def search(task: "SearchTask | RangeTask") -> None:
    """Do either kind of unit."""
    if isinstance(task, RangeTask):
        search_range(task)
    else:
        search_layer(task)


def spread_search(
    searching: "Searching",
    train: ActivationFile,
    others: Sequence[ActivationFile],
    layers: Sequence[str],
) -> None:
    """Have the workers of the engine look for what is not on disk.

    Raises:
        EntangleError: a layer could not be searched; the others were, and are kept.
    """
    # a set that is asked about twice is searched once
    others = list({other.path: other for other in others}.values())
    missing = {
        layer: _ranges(searching, train, others, layer)
        for layer in layers
        if not all(searching.holds(train.identity, other.identity, layer) for other in others)
    }
    units = [
        unit
        for layer, ranges in missing.items()
        for unit in _units(searching, train, others, layer, ranges)
    ]
    failure = None
    searching.terminal.start("looking for neighbors", len(units))
    try:
        for outcome in searching.run.engine.run(search, units, searching.terminal):
            if isinstance(outcome.unit.task, SearchTask) or not _ordinary(outcome.error):
                failure = failure or outcome.error
    finally:
        searching.terminal.finish()
    for layer, ranges in missing.items():
        if len(ranges) > 1:
            put_together(searching, train, others, layer, ranges)
    if failure is not None:
        raise failure


def _ordinary(error: BaseException | None) -> bool:
    """What one process finds as well, and then says of the whole list and not of a range."""
    return error is None or isinstance(error, MeasureError)


def _ranges(
    searching: "Searching", train: ActivationFile, others: Sequence[ActivationFile], layer: str
) -> list[list[Part]]:
    """The ranges of a layer; one where the search may be approximate, whose graph is one thing."""
    run, queries = searching.run, sum(other.rows for other in others)
    ranges = cut(train, others, layer)
    if len(ranges) == 1 or run.device != "cpu":
        return ranges[:1]
    method = searching.asked.method
    if method == "auto":
        shape = train.points(layer).shape
        method = choose(shape, queries, device=torch.device(run.device), notes=[])
    return ranges if method == "exact" else ranges[:1]


def _units(
    searching: "Searching",
    train: ActivationFile,
    others: Sequence[ActivationFile],
    layer: str,
    ranges: Sequence[Sequence[Part]],
) -> list[Unit]:
    run = searching.run
    device = run.device.partition(":")[0]
    if len(ranges) == 1:
        paths = tuple(str(other.path) for other in others)
        task = SearchTask(
            str(train.path), paths, layer, searching.asked, str(run.output), device, run.seed
        )
        return [Unit(f"neighbors in layer {layer}", task)]
    identities = {
        str(other.path): searching.identity(train.identity, other.identity, layer)
        for other in others
    }
    units = []
    for number, parts in enumerate(ranges, 1):
        of = tuple(identities[part.file] for part in parts)
        task = RangeTask(str(train.path), layer, tuple(parts), of, str(run.output), device)
        name = f"neighbors in layer {layer}, range {number} of {len(ranges)}"
        units.append(Unit(name, task))
    return units
