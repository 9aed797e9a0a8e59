"""Measuring by an engine: the layers of all checkpoints at once, kept where the command looks.

A layer is a unit; the last large ones, which are fewer than workers, are cut (``visiting``).

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
from entangle_cli.measures import visits
from entangle_cli.measures.protocol import measure
from entangle_cli.models.series import Checkpoint
from entangle_cli.runs.measure.layer_points import every_label
from entangle_cli.runs.measure.measured import MeasuredLayers
from entangle_cli.runs.shared.preparing import default_path, open_checkpoint, prepare
from entangle_cli.runs.spread.dumping import DumpJob, fill, plan_dump
from entangle_cli.runs.spread.tasks import LayerTask, measure_layer
from entangle_cli.runs.spread.visiting import Visiting, visits_folder
from entangle_cli.scratch import give_back

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.datasets.probing import Resolved
    from entangle_cli.project import Project
    from entangle_cli.runs.measure.measuring import Measuring


# an activation file and the name of a layer in it
Layer = tuple[ActivationFile, str]


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
    missing = [
        (stored, name)
        for stored, names in files
        for name in names
        if not _is_measured(measuring, stored, name)
    ]
    together = _together(measuring, missing)
    alone = [layer for layer in missing if layer not in together]
    given_up = _whole_layers(measuring, [_unit(measuring, *layer) for layer in alone])
    given_up |= _layers_together(measuring, together)
    measuring.run = replace(measuring.run, engine=None, overwrite=False)
    return given_up


def _whole_layers(
    measuring: "Measuring", units: Sequence[Unit]
) -> dict[tuple[str, str], EntangleError]:
    """Layers each of which is measured by one worker."""
    given_up: dict[tuple[str, str], EntangleError] = {}
    measuring.terminal.start("measuring", len(units))
    try:
        for outcome in measuring.run.engine.run(measure_layer, units, measuring.terminal):
            task = outcome.unit.task
            if isinstance(outcome.error, GivenUp):
                given_up[task.file, task.layer] = outcome.error
            elif outcome.error is not None and not isinstance(outcome.error, EntangleError):
                raise outcome.error
    finally:
        measuring.terminal.finish()
    return given_up


def _together(measuring: "Measuring", missing: Sequence[Layer]) -> list[Layer]:
    """The layers that all workers measure together, one after another.

    Whole layers need nothing of the command and come first; together are those that would leave
    workers without one. The bytes are the same.
    """
    protocol = measuring.protocol
    if measuring.run.device != "cpu" or protocol.batch_size is not None or measuring.pairs:
        return []
    large = [layer for layer in missing if layer[0].rows >= visits.GROUPED]
    left = len(large) % measuring.run.engine.describe()["workers"]
    return large[len(large) - left :]


def _layers_together(
    measuring: "Measuring", layers: Sequence[Layer]
) -> dict[tuple[str, str], EntangleError]:
    given_up: dict[tuple[str, str], EntangleError] = {}
    if not layers:
        return given_up
    with visits_folder(measuring.run.output) as folder:
        for stored, layer in layers:
            try:
                _measure_together(measuring, stored, layer, folder)
            except GivenUp as error:
                given_up[str(stored.path), layer] = error
            except StoppedEarly:
                raise
            except EntangleError:
                # said when the layer's turn comes
                continue
            finally:
                measuring.terminal.finish()
    return given_up


def _measure_together(
    measuring: "Measuring", stored: ActivationFile, layer: str, folder: Path
) -> None:
    run, protocol, scratch = measuring.run, measuring.protocol, measuring.scratch
    labels = every_label(stored.labels, stored.path.name)
    elsewhere = Visiting(
        run.engine,
        measuring.terminal,
        stored,
        layer,
        metric=protocol.metric,
        scratch=scratch,
        folder=folder,
    )
    found = measure(stored.points(layer), labels, protocol, scratch=scratch, elsewhere=elsewhere)
    kept = MeasuredLayers(
        run.output / "measured", protocol, labels, device=run.device, fresh=run.overwrite
    )
    kept.write(stored.identity, layer, found)
    give_back()


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
