"""What ``entangle between`` does, without its options and its table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.temperature import MIXED, SEPARATED
from entangle_cli.measures.two_sample import TwoSample, two_sample
from entangle_cli.project import Project
from entangle_cli.results import Result, Row
from entangle_cli.runs.between.data import Other, expanded, ordered
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.folders import working_folder
from entangle_cli.runs.shared.preparing import (
    INPUT,
    Prepared,
    activations,
    open_checkpoint,
    open_data,
    prepare,
    resolve_device,
)
from entangle_cli.runs.shared.provenance import described, model_row, provenance, sanity
from entangle_cli.runs.shared.resolving import resolve
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.set_names import told_apart
from entangle_cli.runs.shared.sources import choose_checkpoint
from entangle_cli.scratch import scratch_array

if TYPE_CHECKING:
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.datasets.dataset import Dataset

_ROWS_AT_A_TIME = 256
# what the measure says of classes, said of sets
_AS_SETS = {
    SEPARATED: "every point's nearest neighbor is of its own set: the loss falls to 0 with the "
    "temperature; --temperature 0.1xmedian still tells such layers apart",
    MIXED: "no temperature gives less than the ceiling: near points share a set no more than far "
    "ones",
}


@dataclass(frozen=True)
class BetweenOptions:
    """The options that only ``entangle between`` has."""

    protocol: Protocol
    model: str | None = None
    permutations: int = 0


def run_between(
    one: str,
    others: Sequence[str],
    project: Project,
    run: RunOptions,
    asked: BetweenOptions,
    terminal: Terminal,
) -> Result:
    """Compare one set with each of the others, in input space and in the layers of a model.

    Raises:
        EntangleError: something given does not fit, or nothing could be measured.
    """
    if asked.model is None and (set(run.layers) - {INPUT} or run.exclude_layers):
        raise UsageError("--layers without a model; give --model MODEL as well")
    run = replace(run, device=resolve_device(run.device))
    first = open_data(one, project, run, terminal)
    pairs = ordered(expanded(others, project))
    sets = [open_data(name, project, run, terminal) for name, _ in pairs]
    name, *names = told_apart([first, *sets])
    series = [Other(*of) for of in zip(sets, names, (step for _, step in pairs), strict=True)]
    work = _Work(first, name, project, run, asked, terminal)
    work.result.provenance = provenance(
        protocol=asked.protocol.to_json(),
        permutations=asked.permutations,
        seed=run.seed,
        a=described(first),
        b=[described(dataset) for dataset in sets],
    )
    with working_folder(run.output) as scratch:
        if asked.model is None:
            work.compare_inputs(series, scratch)
        else:
            work.compare_layers(series, scratch)
    return work.finish()


class _Work:
    """One set, compared with others; collects rows, notes and what failed."""

    def __init__(
        self,
        first: "Dataset",
        name: str,
        project: Project,
        run: RunOptions,
        asked: BetweenOptions,
        terminal: Terminal,
    ) -> None:
        self.first, self.name = first, name
        self.project, self.run, self.asked, self.terminal = project, run, asked, terminal
        self.result = Result(command="between")
        self._errors: list[tuple[str, MeasureError]] = []

    def compare_inputs(self, series: Sequence[Other], scratch: Path) -> None:
        """In input space alone: the pixels or numbers as they are stored."""
        from entangle_cli.datasets.points import raw_points

        points = raw_points(self.first, scratch=scratch)
        for one in series:
            other = raw_points(one.dataset, scratch=scratch)
            if other.shape[1] != points.shape[1]:
                raise UsageError(
                    f"{self.name} has {points.shape[1]} numbers a sample, {one.name} "
                    f"{other.shape[1]}; give --model MODEL, which brings both to one size"
                )
            self._add(points, other, one.cells(INPUT), scratch)

    def compare_layers(self, series: Sequence[Other], scratch: Path) -> None:
        """In the model's input, as it is fed, and in every layer."""
        checkpoint = choose_checkpoint(self.asked.model, self.project, self.terminal)
        model = open_checkpoint(checkpoint, self.run)
        resolved = resolve(model, self.first, self.project, self.run)

        def prepared(dataset: "Dataset") -> Prepared:
            return prepare(model, dataset, self.project, self.run, resolved)

        one = prepared(self.first)
        stored = self._stored(one)
        accuracy = None if stored is None else sanity(stored, one, self.terminal)
        self.result.models = [model_row(one, accuracy, checkpoint.step)]
        inputs = fed_points(one, scratch) if self._wants_input() else None
        for one_b in series:
            two = prepared(one_b.dataset)
            if inputs is not None:
                self._add(inputs, fed_points(two, scratch), one_b.cells(INPUT), scratch)
            other = self._stored(two)
            for layer in one.layers:
                pair = stored.points(layer), other.points(layer)
                self._add(*pair, one_b.cells(layer), scratch)

    def _wants_input(self) -> bool:
        return not self.run.layers or INPUT in self.run.layers

    def _stored(self, prepared: Prepared) -> "ActivationFile | None":
        if not prepared.layers:
            return None
        return activations(prepared, self.run, self.terminal, notes=self.result.notes)

    def _add(self, a: np.ndarray, b: np.ndarray, of: Row, scratch: Path) -> None:
        try:
            found = two_sample(
                a,
                b,
                self.asked.protocol,
                permutations=self.asked.permutations,
                seed=self.run.seed,
                device=self.run.device,
                scratch=scratch,
            )
        except MeasureError as error:
            self._errors.append((f"{of['b']}, layer {of['layer']}", error))
            return
        self.result.rows.append(self._row(found, of, (len(a), len(b))))
        for note in found.observed.notes:
            said = _AS_SETS.get(note, note)
            self.result.notes.append(f"{of['b']}, layer {of['layer']}: {said}")

    def _row(self, found: TwoSample, of: Row, sizes: tuple[int, int]) -> Row:
        observed = found.observed
        row: Row = {
            "a": self.name,
            "b": of["b"],
            "step": of["step"],
            "layer": of["layer"],
            "dim": observed.dim,
            "n_a": sizes[0],
            "n_b": sizes[1],
        }
        keys = ("snnl", "temperature", "ceiling", "entanglement", "boundary", "knn_accuracy")
        row |= {key: getattr(observed, key) for key in keys}
        if self.asked.permutations:
            row |= {"permuted": found.permuted, "p_value": found.p_value}
        return row

    def finish(self) -> Result:
        """The result; what could not be measured beside it is said.

        Raises:
            MeasureError: nothing at all could be measured.
        """
        if self._errors and not self.result.rows:
            where, error = self._errors[0]
            raise MeasureError(f"{where}: {error}")
        for where, error in self._errors:
            self.terminal.error(f"{where}: {error}")
        return self.result


def fed_points(prepared: Prepared, scratch: Path) -> np.ndarray:
    """What the network is given, flattened to points ``(n, d)``, in an unlinked file.

    Raises:
        UsageError: the network takes several inputs, or tokens.
    """
    feed = prepared.feed
    example = feed.batch(0, 1)
    if len(example) != 1 or isinstance(example[0], dict) or example[0].dtype.kind != "f":
        raise UsageError(
            "the network's input is no single array of real numbers; choose layers with --layers"
        )
    points = scratch_array((feed.rows, example[0].size), np.float32, scratch)
    for start in range(0, feed.rows, _ROWS_AT_A_TIME):
        part = slice(start, min(start + _ROWS_AT_A_TIME, feed.rows))
        points[part] = feed.batch(part.start, part.stop)[0].reshape(part.stop - start, -1)
    return points
