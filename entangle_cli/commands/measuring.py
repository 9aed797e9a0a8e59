"""What ``entangle measure`` does, without its options and its table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entangle_cli.commands.console import Terminal
from entangle_cli.commands.folders import working_folder
from entangle_cli.commands.measured import MeasuredLayers
from entangle_cli.commands.options import RunOptions
from entangle_cli.commands.preparing import (
    INPUT,
    Prepared,
    activations,
    family_preprocessing,
    open_checkpoint,
    open_data,
    prepare,
    resolve_device,
)
from entangle_cli.commands.provenance import described, model_row, provenance, sanity
from entangle_cli.commands.sources import is_stored, split_sources
from entangle_cli.errors import (
    EntangleError,
    MeasureError,
    StoppedEarly,
    StoreError,
    UsageError,
)
from entangle_cli.measures.protocol import Protocol, measure
from entangle_cli.models.series import distinct_names, order_checkpoints
from entangle_cli.project import Project
from entangle_cli.results import Result, Row

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.measures.temperature import Entanglement

    # a layer's name, what determines its points (n, d), and how to get them
    Layers = Iterable[tuple[str, Mapping[str, Any], Callable[[], np.ndarray]]]


class Measuring:
    """One call of ``entangle measure``: collects rows, models, notes and what failed."""

    def __init__(self, run: RunOptions, protocol: Protocol, terminal: Terminal) -> None:
        self.run, self.protocol, self.terminal = run, protocol, terminal
        self.result = Result(command="measure")
        self.failed: list[str] = []
        self._held: list[tuple[str, EntangleError]] = []
        # files in it are unlinked as soon as they are open, so nothing is left behind
        self.scratch = run.output
        self._noted: dict[str, list[str]] = {}

    def add_rows(
        self, layers: "Layers", labels: "np.ndarray", model: str, step: int | None = None
    ) -> None:
        """Measure each layer and append its row.

        A layer that the measure is not defined for is reported; the others are measured.
        """
        kept = MeasuredLayers(
            self.run.output / "measured",
            self.protocol,
            labels,
            device=self.run.device,
            fresh=self.run.overwrite,
        )
        for name, identity, read in layers:
            found = kept.read(identity, name)
            try:
                if found is None:
                    found = self._measure(read(), labels)
                    kept.write(identity, name, found)
            except MeasureError as error:
                self.fail(f"{model}, layer {name}", error)
                continue
            self._say_held()
            self.result.rows.append({"model": model, "step": step, "layer": name} | _row(found))
            for note in found.notes:
                self._noted.setdefault(note, []).append(name if step is None else f"{name}@{step}")
            self.terminal.advance()

    def _measure(self, points: "np.ndarray", labels: "np.ndarray") -> "Entanglement":
        return measure(points, labels, self.protocol, device=self.run.device, scratch=self.scratch)

    def fail(self, what: str, error: EntangleError) -> None:
        """Report something that could not be measured and go on.

        Failures are held back until something is measured: where nothing is, they often have one
        reason, which is then the answer.
        """
        self._held.append((what, error))
        self.failed.append(what)
        if self.result.rows:
            self._say_held()

    def _say_held(self) -> None:
        for what, error in self._held:
            self.terminal.error(_about(what, error))
        self._held.clear()

    def finish(self) -> Result:
        """The result, with equal notes of several layers said once.

        Raises:
            EntangleError: nothing at all was measured.
        """
        if self._held and len({str(error) for _, error in self._held}) == 1:
            what, error = self._held[0]
            others = len(self._held) - 1
            raise type(error)(_about(what + f" and {others} more" * (others > 0), error))
        self._say_held()
        if not self.result.rows:
            raise UsageError(f"none of {len(self.failed)} was measured; each is named above")
        for note, places in self._noted.items():
            shown = ", ".join(places[:6]) + f" and {len(places) - 6} more" * (len(places) > 6)
            self.result.notes.append(f"{shown}: {note}")
        return self.result


def _about(what: str, error: EntangleError) -> str:
    return str(error) if what in str(error) else f"{what}: {error}"


def measure_sources(
    sources: Sequence[str],
    project: Project,
    run: RunOptions,
    protocol: Protocol,
    terminal: Terminal,
) -> tuple[Result, list[str]]:
    """Measure what the command line names; returns the result and what failed.

    Raises:
        EntangleError: nothing could be measured.
    """
    run = replace(run, device=resolve_device(run.device))
    models, data = split_sources(sources, project)
    measuring = Measuring(run, protocol, terminal)
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
    measuring.terminal.start(f"measuring {path.name}", len(stored.layers))
    layers = _stored_layers(stored, [layer.name for layer in stored.layers])
    measuring.add_rows(layers, every_label(stored.labels, path.name), path.name)
    measuring.terminal.finish()


def _measure_data(measuring: Measuring, dataset: "Dataset") -> None:
    labels = every_label(dataset.labels, dataset.name)
    measuring.terminal.start(f"measuring {dataset.name}", 1)
    measuring.add_rows(_input_layer(measuring, dataset), labels, dataset.name)
    measuring.terminal.finish()


def _input_layer(measuring: Measuring, dataset: "Dataset") -> "Layers":
    from entangle_cli.datasets.points import raw_points

    identity = {"data_fingerprint": dataset.fingerprint}
    return [(INPUT, identity, partial(raw_points, dataset, scratch=measuring.scratch))]


def _stored_layers(stored: "ActivationFile", names: Iterable[str]) -> "Layers":
    return [(name, stored.identity, partial(stored.points, name)) for name in names]


def every_label(labels: "np.ndarray | None", name: str) -> "np.ndarray":
    """The labels of a set in which every sample has one.

    Raises:
        MeasureError: some or all samples have none; -1 is no class.
    """
    missing = 0 if labels is None else int((labels < 0).sum())
    if labels is None or missing == len(labels):
        raise MeasureError(
            f"{name}: has no labels, which entanglement is about; give class folders, or an "
            "archive with labels"
        )
    if missing:
        raise MeasureError(
            f"{name}: {missing} of {len(labels)} samples have no label; leave them out"
        )
    return labels


def _measure_checkpoints(
    measuring: Measuring, paths: Sequence[Path], dataset: "Dataset", project: Project
) -> None:
    every_label(dataset.labels, dataset.name)
    checkpoints = order_checkpoints(paths)
    names = distinct_names([checkpoint.path for checkpoint in checkpoints])
    preprocessing = family_preprocessing(checkpoints, dataset, project, measuring.run)
    for checkpoint, name in zip(checkpoints, names, strict=True):
        try:
            model = open_checkpoint(checkpoint, measuring.run)
            known = preprocessing.get(checkpoint.family)
            prepared = prepare(model, dataset, project, measuring.run, known)
            _measure_checkpoint(measuring, name, checkpoint.step, prepared)
        except StoppedEarly:
            raise
        except EntangleError as error:
            measuring.fail(name, error)


def _measure_checkpoint(
    measuring: Measuring, name: str, step: int | None, prepared: Prepared
) -> None:
    dataset = prepared.feed.dataset
    for note in prepared.notes:
        measuring.terminal.note(f"{name}: {note}")
    layers: Layers = []
    if INPUT in measuring.run.layers:
        layers = _input_layer(measuring, dataset)
    accuracy = None
    if prepared.layers:
        stored = activations(prepared, measuring.run, measuring.terminal)
        accuracy = sanity(stored, prepared, measuring.terminal)
        layers = chain(layers, _stored_layers(stored, prepared.layers))
    measuring.result.models.append(model_row(prepared, accuracy, step) | {"model": name})
    layers_to_do = len(prepared.layers) + (INPUT in measuring.run.layers)
    measuring.terminal.start(f"measuring {name}", layers_to_do)
    measuring.add_rows(layers, dataset.labels, name, step)
    measuring.terminal.finish()


def _row(found: Any) -> Row:
    keys = (
        "dim", "n", "classes", "snnl", "temperature", "ceiling", "entanglement", "boundary",
        "knn_accuracy",
    )  # fmt: skip
    return {key: getattr(found, key) for key in keys}
