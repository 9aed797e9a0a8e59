"""Searches for neighbors by an engine: a layer each, with all sets that are asked about it.

One worker does a layer in the order in which one process would, so the lists and what is noted
with them are the same; an approximate index is built once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.activations.file import ActivationFile
from entangle_cli.engines.interface import Unit
from entangle_cli.runs.shared.run_options import RunOptions

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
    run = searching.run
    missing = [
        layer
        for layer in layers
        if not all(searching.holds(train.identity, other.identity, layer) for other in others)
    ]
    units = [
        Unit(
            f"neighbors in layer {layer}",
            SearchTask(
                train=str(train.path),
                others=tuple(str(other.path) for other in others),
                layer=layer,
                asked=searching.asked,
                output=str(run.output),
                device=run.device.partition(":")[0],
                seed=run.seed,
            ),
        )
        for layer in missing
    ]
    failure = None
    searching.terminal.start("looking for neighbors", len(units))
    try:
        for outcome in run.engine.run(search_layer, units, searching.terminal):
            failure = failure or outcome.error
    finally:
        searching.terminal.finish()
    if failure is not None:
        raise failure
