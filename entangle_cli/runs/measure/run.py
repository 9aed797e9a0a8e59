"""What ``entangle measure`` does, without its options and its table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.errors import EntangleError, StoppedEarly, StoreError
from entangle_cli.measures.protocol import Protocol
from entangle_cli.models.series import distinct_names, order_checkpoints
from entangle_cli.project import Project
from entangle_cli.results import Result
from entangle_cli.runs.measure.layer_points import every_label, input_layer, stored_layers
from entangle_cli.runs.measure.measuring import Measuring
from entangle_cli.runs.measure.pairs import check_protocol
from entangle_cli.runs.measure.raw import note_known_copies
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.folders import working_folder
from entangle_cli.runs.shared.preparing import (
    INPUT,
    Prepared,
    activations,
    family_preprocessing,
    open_checkpoint,
    open_data,
    prepare,
    resolve_device,
)
from entangle_cli.runs.shared.provenance import described, model_row, provenance, sanity
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.sources import is_stored, split_sources

if TYPE_CHECKING:
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.runs.measure.layer_points import Layers


def measure_sources(
    sources: Sequence[str],
    project: Project,
    run: RunOptions,
    protocol: Protocol,
    terminal: Terminal,
    *,
    pairs: bool = False,
) -> tuple[Result, list[str]]:
    """Measure what the command line names; returns the result and what failed.

    ``pairs``: every two classes as well, into the result's table ``measure-pairs``.

    Raises:
        EntangleError: nothing could be measured.
    """
    run = replace(run, device=resolve_device(run.device))
    models, data = split_sources(sources, project)
    if pairs:
        check_protocol(protocol)
    measuring = Measuring(run, protocol, terminal, pairs=pairs)
    measuring.result.provenance = provenance(protocol=protocol.to_json(), seed=run.seed)
    with working_folder(run.output):
        _measure(measuring, models, data, project)
        return measuring.finish(), measuring.failed


def _measure(measuring: Measuring, models: Sequence[Path], data: str, project: Project) -> None:
    if not models and is_stored(data):
        _measure_stored(measuring, Path(data))
        return
    dataset = open_data(data, project, measuring.run, measuring.terminal)
    measuring.result.provenance["data"] = described(dataset)
    measuring.class_names = dataset.class_names
    if models:
        _measure_checkpoints(measuring, models, dataset, project)
    else:
        _measure_data(measuring, dataset)


def _measure_stored(measuring: Measuring, path: Path) -> None:
    from entangle_cli.activations.file import ActivationFile

    stored = ActivationFile.open(path)
    if not stored.complete:
        raise StoreError(
            f"{path}: incomplete, {stored.rows} of {stored.total_rows} samples; run the command "
            "that writes it again, it goes on where it stopped"
        )
    names = [layer.name for layer in stored.layers]
    if measuring.run.engine is not None:
        from entangle_cli.runs.spread.measuring import spread_layers

        measuring.given_up = spread_layers(measuring, [(stored, names)])
    measuring.terminal.start(f"measuring {path.name}", len(stored.layers))
    names = _tried(measuring, path.name, stored, measuring.ours(names))
    measuring.class_names = stored.class_names
    labels = every_label(stored.labels, path.name)
    measuring.add_rows(stored_layers(stored, names), labels, path.name)
    measuring.terminal.finish()


def _measure_data(measuring: Measuring, dataset: "Dataset") -> None:
    labels = every_label(dataset.labels, dataset.name)
    if not measuring.ours([INPUT]):
        return
    measuring.terminal.start(f"measuring {dataset.name}", 1)
    measuring.add_rows(
        input_layer(dataset, scratch=measuring.scratch, notes=measuring.result.notes),
        labels,
        dataset.name,
    )
    note_known_copies(dataset, scratch=measuring.scratch, notes=measuring.result.notes)
    measuring.terminal.finish()


def _measure_checkpoints(
    measuring: Measuring, paths: Sequence[Path], dataset: "Dataset", project: Project
) -> None:
    every_label(dataset.labels, dataset.name)
    checkpoints = order_checkpoints(paths)
    names = distinct_names([checkpoint.path for checkpoint in checkpoints])
    preprocessing = family_preprocessing(checkpoints, dataset, project, measuring.run)
    given_up: Mapping[Path, EntangleError] = {}
    if measuring.run.engine is not None:
        from entangle_cli.runs.spread.measuring import spread_checkpoints

        found = spread_checkpoints(measuring, checkpoints, dataset, project, preprocessing)
        given_up, measuring.given_up = found.checkpoints, found.layers
    shard = measuring.run.shard
    for place, (checkpoint, name) in enumerate(zip(checkpoints, names, strict=True)):
        if shard is not None and not shard.touches(place, len(checkpoints)):
            continue
        if checkpoint.path in given_up:
            measuring.fail(name, given_up[checkpoint.path])
            continue
        try:
            model = open_checkpoint(checkpoint, measuring.run)
            known = preprocessing.get(checkpoint.family)
            prepared = prepare(model, dataset, project, measuring.run, known)
            where = place, len(checkpoints)
            measure_checkpoint(measuring, name, checkpoint.step, prepared, where=where)
        except StoppedEarly:
            raise
        except EntangleError as error:
            measuring.fail(name, error)


def measure_checkpoint(
    measuring: Measuring,
    name: str,
    step: int | None,
    prepared: Prepared,
    *,
    where: tuple[int, int] = (0, 1),
) -> None:
    """Add the rows and the entry of one checkpoint, number ``where[0]`` of ``where[1]``."""
    dataset = prepared.feed.dataset
    asked = [*([INPUT] if INPUT in measuring.run.layers else []), *prepared.layers]
    ours = measuring.ours(asked, *where)
    if not ours:
        return
    for note in prepared.notes:
        measuring.terminal.note(f"{name}: {note}")
    layers: Layers = []
    if INPUT in ours:
        layers = input_layer(dataset, scratch=measuring.scratch, notes=measuring.result.notes)
    accuracy = None
    stored_ones = [layer for layer in ours if layer != INPUT]
    if stored_ones:
        notes = measuring.result.notes
        stored = activations(prepared, measuring.run, measuring.terminal, notes=notes)
        accuracy = sanity(stored, prepared, measuring.terminal)
        names = _tried(measuring, name, stored, stored_ones)
        layers = chain(layers, stored_layers(stored, names))
    measuring.result.models.append(model_row(prepared, accuracy, step) | {"model": name})
    measuring.terminal.start(f"measuring {name}", len(ours))
    measuring.add_rows(layers, dataset.labels, name, step)
    if INPUT in ours:
        note_known_copies(dataset, scratch=measuring.scratch, notes=measuring.result.notes)
    measuring.terminal.finish()


def _tried(
    measuring: Measuring, name: str, stored: "ActivationFile", layers: Sequence[str]
) -> list[str]:
    """These layers without those that ended the workers, which are reported."""
    kept = []
    for layer in layers:
        error = measuring.given_up.get((str(stored.path), layer))
        if error is None:
            kept.append(layer)
        else:
            measuring.fail(f"{name}, layer {layer}", error)
    return kept
