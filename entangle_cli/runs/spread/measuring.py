"""Measuring by an engine: the layers of all checkpoints at once, kept where the command looks.

The command then goes its usual way and finds every layer measured. What workers could not measure
for a reason of its own it finds out again itself; only what ended workers is not tried here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.activations.file import ActivationFile
from entangle_cli.engines.interface import GivenUp, Unit
from entangle_cli.errors import EntangleError, StoppedEarly
from entangle_cli.models.series import Checkpoint
from entangle_cli.runs.measure.measured import MeasuredLayers
from entangle_cli.runs.shared.preparing import default_path, open_checkpoint, prepare
from entangle_cli.runs.spread.dumping import DumpJob, fill, plan_dump
from entangle_cli.runs.spread.tasks import LayerTask, measure_layer

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.datasets.probing import Resolved
    from entangle_cli.project import Project
    from entangle_cli.runs.measure.measuring import Measuring


@dataclass
class GivenUps:
    """What is not tried again: checkpoints by path, layers by activation file and name."""

    checkpoints: dict[Path, EntangleError] = field(default_factory=dict)
    layers: dict[tuple[str, str], EntangleError] = field(default_factory=dict)


def spread_checkpoints(
    measuring: "Measuring",
    checkpoints: Sequence[Checkpoint],
    dataset: "Dataset",
    project: "Project",
    preprocessing: "dict[str, Resolved]",
) -> GivenUps:
    """Dump and measure all checkpoints by the workers of the engine.

    Raises:
        StoppedEarly: the disk is full, or no worker is left.
    """
    run, found = measuring.run, GivenUps()
    wanted: dict[Path, tuple[Checkpoint, tuple[str, ...]]] = {}
    jobs: list[DumpJob] = []
    measuring.terminal.start("opening", len(checkpoints))
    for checkpoint in checkpoints:
        try:
            known = preprocessing.get(checkpoint.family)
            opened = open_checkpoint(checkpoint, run)
            prepared = prepare(opened, dataset, project, run, known)
            if prepared.layers:
                path = default_path(prepared, run)
                job = plan_dump(prepared, run, path)
                wanted[path] = checkpoint, prepared.layers
                jobs += [] if job is None else [job]
        except StoppedEarly:
            raise
        except EntangleError:
            # said when the checkpoint's turn comes
            continue
        finally:
            measuring.terminal.advance()
    measuring.terminal.finish()
    for path, error in fill(jobs, run.engine, measuring.terminal).items():
        if not isinstance(error, GivenUp):
            raise error
        found.checkpoints[wanted[path][0].path] = error
    layers = [
        (ActivationFile.open(path), names)
        for path, (checkpoint, names) in wanted.items()
        if checkpoint.path not in found.checkpoints
    ]
    found.layers = spread_layers(measuring, layers)
    return found


def spread_layers(
    measuring: "Measuring", files: Sequence[tuple[ActivationFile, Sequence[str]]]
) -> dict[tuple[str, str], EntangleError]:
    """Measure these layers by the workers of the engine; returns what ended them.

    Raises:
        StoppedEarly: the disk is full, or no worker is left.
    """
    run = measuring.run
    units = [
        _unit(measuring, stored, name)
        for stored, names in files
        for name in names
        if not _is_measured(measuring, stored, name)
    ]
    given_up: dict[tuple[str, str], EntangleError] = {}
    measuring.terminal.start("measuring", len(units))
    try:
        for outcome in run.engine.run(measure_layer, units, measuring.terminal):
            task = outcome.unit.task
            if isinstance(outcome.error, GivenUp):
                given_up[task.file, task.layer] = outcome.error
            elif outcome.error is not None and not isinstance(outcome.error, EntangleError):
                raise outcome.error
    finally:
        measuring.terminal.finish()
    measuring.run = replace(run, engine=None, overwrite=False)
    return given_up


def _unit(measuring: "Measuring", stored: ActivationFile, layer: str) -> Unit:
    run = measuring.run
    task = LayerTask(
        file=str(stored.path),
        layer=layer,
        protocol=measuring.protocol,
        folder=str(run.output / "measured"),
        scratch=str(measuring.scratch),
        device=run.device.partition(":")[0],
        pairs=measuring.pairs,
    )
    return Unit(f"{stored.path.name}, layer {layer}", task)


def _is_measured(measuring: "Measuring", stored: ActivationFile, layer: str) -> bool:
    run = measuring.run
    if stored.labels is None:
        # refused later, in words
        return True
    kept = MeasuredLayers(
        run.output / "measured",
        measuring.protocol,
        stored.labels,
        device=run.device,
        fresh=run.overwrite,
    )
    if kept.read(stored.identity, layer) is None:
        return False
    return not measuring.pairs or kept.read_pairs(stored.identity, layer) is not None
