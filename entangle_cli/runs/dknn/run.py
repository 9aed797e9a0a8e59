"""What ``entangle dknn`` does, without its options and its tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.measures.dknn import LabelCounts
from entangle_cli.measures.evaluation import Evaluation, evaluate, leave_one_out
from entangle_cli.measures.labels import require_known
from entangle_cli.measures.layered_calibration import Counts, LayeredCalibration, calibrate
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.project import Project
from entangle_cli.results import Row
from entangle_cli.runs.dknn.data import (
    calibration_labels,
    check_overlap,
    data_names,
    known_labels,
    training_labels,
)
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import (
    activations,
    open_checkpoint,
    open_data,
    prepare,
    resolve_device,
)
from entangle_cli.runs.shared.provenance import described, model_row, provenance, sanity
from entangle_cli.runs.shared.resolving import resolve
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.searching import Searching, SearchOptions
from entangle_cli.runs.shared.set_names import told_apart
from entangle_cli.runs.shared.sources import choose_checkpoint

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.models import Model


# the table beside those that are called after sets
RELIABILITY = "reliability"


@dataclass(frozen=True)
class DkNNOptions:
    """The options that only ``entangle dknn`` has."""

    search: SearchOptions = field(default_factory=SearchOptions)
    p_value: str = "paper"
    zeros: str = "keep"
    per_class: bool = False
    force: bool = False


@dataclass(frozen=True)
class JudgedSet:
    """One set of inputs with everything that was found about it."""

    dataset: "Dataset"
    stored: ActivationFile
    neighbors: dict[str, Neighbors]
    evaluation: Evaluation


@dataclass(frozen=True)
class Found:
    """The whole outcome of ``entangle dknn``."""

    train: "Dataset"
    calibration: LayeredCalibration
    sets: tuple[JudgedSet, ...]
    model: Row
    provenance: Row
    notes: list[str]


def run_dknn(
    model: str | None,
    data: tuple[str, str, list[str]],
    project: Project,
    run: RunOptions,
    asked: DkNNOptions,
    terminal: Terminal,
) -> Found:
    """Judge the test sets by the training data; ``data`` are train, calibration and tests.

    Raises:
        EntangleError: something given does not fit, or calibration overlaps other data.
    """
    run = replace(run, device=resolve_device(run.device))
    # --limit is about what is judged; fewer training points would be another classifier
    whole = replace(run, limit=None)
    checkpoint = choose_checkpoint(model, project, terminal)
    names = data_names(data, project)
    train, calib = (open_data(name, project, whole, terminal) for name in names[:2])
    tests = [open_data(name, project, run, terminal) for name in names[2]]
    work = _Work(open_checkpoint(checkpoint, run), project, run, asked, terminal)
    work.notes += check_overlap(
        calib,
        [("training", train), *(("test", test) for test in tests)],
        force=asked.force,
    )
    return work.judge(train, calib, tests, checkpoint.step)


class _Work:
    """One model, and what is found about data sets with it."""

    def __init__(
        self,
        model: "Model",
        project: Project,
        run: RunOptions,
        asked: DkNNOptions,
        terminal: Terminal,
    ) -> None:
        self.model, self.project, self.run, self.asked = model, project, run, asked
        self.terminal = terminal
        self.notes: list[str] = []
        self._searching = Searching(run, asked.search, terminal, self.notes)

    def judge(
        self, train: "Dataset", calib: "Dataset", tests: Sequence["Dataset"], step: int | None
    ) -> Found:
        """Neighbors, calibration and evaluation of every set."""
        train_labels = training_labels(train)
        labels = [known_labels(dataset, train, self.notes) for dataset in (calib, *tests)]
        require_known(calibration_labels(calib, labels[0]), train_labels, role="calibration")
        # probing wants labels, and calibration data has them
        resolved = resolve(self.model, calib, self.project, self.run)
        prepared = [
            prepare(self.model, dataset, self.project, self.run, resolved)
            for dataset in (train, calib, *tests)
        ]
        stored = [activations(one, self.run, self.terminal, notes=self.notes) for one in prepared]
        accuracy = sanity(stored[1], prepared[1], self.terminal)
        neighbors = self._searching.neighbors(stored[0], stored[1:], prepared[0].layers)
        counts = [_counts(by_layer, train_labels) for by_layer in neighbors]
        calibration = self._calibrate(counts[0], labels[0])
        judged = self._evaluate(calibration, counts, labels, stored[1:])
        sets = zip((calib, *tests), stored[1:], neighbors, judged, strict=True)
        # the calibration set is judged only where there is nothing else
        sets = [JudgedSet(*one) for one in list(sets)[1 if tests else 0 :]]
        return Found(
            train=train,
            calibration=calibration,
            sets=_told_apart(sets),
            model=model_row(prepared[1], accuracy, step),
            provenance=self._provenance(calibration, train, calib, tests),
            notes=self.notes,
        )

    def _calibrate(self, counts: Counts, labels: np.ndarray) -> LayeredCalibration:
        calibration = calibrate(
            counts,
            labels,
            k=self.asked.search.k,
            zeros=self.asked.zeros,
            per_class=self.asked.per_class,
        )
        self.notes += calibration.notes
        return calibration

    def _evaluate(
        self,
        calibration: LayeredCalibration,
        counts: Sequence[Counts],
        labels: Sequence[np.ndarray | None],
        stored: Sequence[ActivationFile],
    ) -> list[Evaluation]:
        """The calibration set by leave-one-out, the others as they are."""
        judged = []
        for number, (one, known, file) in enumerate(zip(counts, labels, stored, strict=True)):
            judge = leave_one_out if number == 0 else evaluate
            evaluation = judge(
                one,
                calibration,
                known,
                model_prediction=_model_prediction(file),
                kind=self.asked.p_value,
                seed=self.run.seed,
            )
            self.notes += [note for note in evaluation.notes if number or len(counts) == 1]
            judged.append(evaluation)
        return judged

    def _provenance(
        self,
        calibration: LayeredCalibration,
        train: "Dataset",
        calib: "Dataset",
        tests: Sequence["Dataset"],
    ) -> Row:
        return provenance(
            **asdict(self.asked.search),
            p_value=self.asked.p_value,
            zeros=self.asked.zeros,
            per_class=self.asked.per_class,
            force=self.asked.force,
            seed=self.run.seed,
            layers=list(calibration.layers),
            calibration=calibration.joint.describe(),
            train=described(train),
            calib=described(calib),
            test=[described(test) for test in tests],
        )


def _told_apart(sets: Sequence[JudgedSet]) -> tuple[JudgedSet, ...]:
    # only now: stored activations go by the name that a set has in any company
    names = told_apart([judged.dataset for judged in sets], taken=(RELIABILITY,))
    return tuple(
        replace(judged, dataset=replace(judged.dataset, name=name))
        for judged, name in zip(sets, names, strict=True)
    )


def _counts(by_layer: dict[str, Neighbors], train_labels: np.ndarray) -> Counts:
    classes = int(train_labels.max()) + 1
    return {
        layer: LabelCounts(found.indices, train_labels, classes)
        for layer, found in by_layer.items()
    }


def _model_prediction(stored: ActivationFile) -> np.ndarray | None:
    return None if stored.logits is None else np.asarray(stored.logits).argmax(axis=1)
