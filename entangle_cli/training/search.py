"""A search for the best alpha, learning rate and initial temperature of a network.

Each trial that ``proposals`` proposes is trained from the same seed and judged by its accuracy on
held-out data, which is neither trained on nor reported as a test. The initial temperature is
searched where temperatures are learned, which is where it matters.

*Resuming*: finished trials are lines of a journal. A search that was cut goes on with the trial it
was in, and ends with the same trials.

Reference: arXiv 1902.01889, section 5 and figure 7 (64 runs of a Gaussian-process search of these
three).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.progress import Progress, silent
from entangle_cli.training.data import TrainingData
from entangle_cli.training.loop import Training
from entangle_cli.training.networks import build_network
from entangle_cli.training.proposals import (
    Proposal,
    SearchSettings,
    Trial,
    need_optuna,
    propose,
)
from entangle_cli.training.run import measured
from entangle_cli.training.settings import TrainingSettings, differences
from entangle_cli.training.state import replace_file

Evaluate = Callable[[TrainingSettings], Mapping[str, Any]]


@dataclass(frozen=True)
class Journal:
    """The file of finished trials; ``identity``: what decides an outcome beside the settings."""

    path: Path
    identity: Mapping[str, Any]
    overwrite: bool = False

    def read(self) -> list[Trial]:
        """The finished trials.

        Raises:
            UsageError: the file is damaged or belongs to another search.
        """
        if self.overwrite or not self.path.exists():
            return []
        try:
            before, *trials = map(json.loads, self.path.read_text(encoding="utf-8").splitlines())
        except ValueError as error:
            raise UsageError(
                f"{self.path}: cannot be read; remove it, or give --overwrite, to start again"
            ) from error
        changed = differences(before, json.loads(json.dumps(self.identity)))
        if changed:
            raise UsageError(
                f"{self.path}: belongs to another search ({changed}); give what it was begun with, "
                "another folder (-o), or --overwrite"
            )
        return trials

    def write(self, trials: Sequence[Trial]) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(self.identity, sort_keys=True), *map(json.dumps, trials)]
        replace_file(self.path, ("\n".join(lines) + "\n").encode())


def search(
    settings: SearchSettings,
    training: TrainingSettings,
    evaluate: Evaluate,
    journal: Journal,
    *,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    progress: Progress = silent,
) -> list[Trial]:
    """Propose, evaluate and journal trials until there are ``settings.trials``.

    ``evaluate`` trains with the settings of ``training`` and what was proposed, and returns at
    least ``validation_accuracy``. A trial has ``trial, batch, alpha, learning_rate``, where it is
    searched ``initial_temperature``, and what ``evaluate`` said.

    Raises:
        UsageError: Optuna is not installed, or the journal belongs to another search.
    """
    need_optuna()
    names = ("alpha", "learning_rate", "initial_temperature")
    searched = names if training.temperature == "learned" else names[:2]
    journal = replace(journal, identity=_identity(settings, training, searched, journal))
    done = journal.read()
    for trial in done[: settings.trials]:
        on_trial(trial)
    progress.start("searching", settings.trials)
    progress.advance(min(len(done), settings.trials))
    while len(done) < settings.trials:
        number, inside = divmod(len(done), settings.batch)
        before = done[: number * settings.batch]
        room = settings.trials - len(before)
        for proposal in propose(settings, searched, number, before)[inside:room]:
            done.append(_trial(len(done), number, proposal, evaluate, training))
            journal.write(done)
            on_trial(done[-1])
            progress.advance()
    progress.finish()
    return done[: settings.trials]


def best(trials: Sequence[Trial]) -> Trial:
    """The trial of the highest validation accuracy; the first of equals."""
    return max(trials, key=lambda trial: trial["validation_accuracy"])


def evaluation(
    network: str, train: TrainingData, validation: tuple[Tensor, Tensor], device: str = "cpu"
) -> Evaluate:
    """Trains a network by name and measures it: a function for `search`.

    It returns ``validation_accuracy``, ``cross_entropy``, the ``entanglement`` of each hidden layer
    on validation data, and ``failed``: None, or why the training ended early, which counts as
    accuracy 0.
    """

    def evaluate(settings: TrainingSettings) -> dict[str, Any]:
        built = build_network(network, train.shape, train.classes, settings.seed)
        work = Training(built, train.images, train.labels, settings, device=device)
        try:
            for _ in range(settings.steps):
                work.advance()
            row = measured(work, validation)
        except MeasureError as error:
            return {"validation_accuracy": 0.0, "failed": str(error)}
        row = {name: value for name, value in row.items() if not name.startswith("snnl ")}
        return {"validation_accuracy": row.pop("accuracy"), "failed": None} | row

    return evaluate


def hold_out(
    data: TrainingData, share: float, seed: int
) -> tuple[TrainingData, tuple[Tensor, Tensor]]:
    """Training data without a share of its rows, and the images and labels of these.

    Raises:
        UsageError: too few samples for both.
    """
    count = round(len(data.images) * share)
    if not 0 < count <= len(data.images) - 2:
        raise UsageError(
            f"{len(data.images)} samples, a share of {share:g} held out; give more samples"
        )
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(seed))
    kept, held = order[count:].sort().values, order[:count].sort().values
    rest = replace(data, images=data.images[kept], labels=data.labels[kept])
    return rest, (data.images[held], data.labels[held])


def _identity(
    settings: SearchSettings,
    training: TrainingSettings,
    searched: Sequence[str],
    journal: Journal,
) -> dict[str, Any]:
    fixed = {key: value for key, value in training.to_json().items() if key not in searched}
    own = {key: value for key, value in asdict(settings).items() if key != "trials"}
    space = own.pop("space")
    ranges = {f"{name}_range": list(space[name]) for name in searched}
    return {**journal.identity, **fixed, **ranges, **{f"search_{k}": v for k, v in own.items()}}


def _trial(
    place: int,
    batch: int,
    proposal: Proposal,
    evaluate: Evaluate,
    training: TrainingSettings,
) -> Trial:
    found = evaluate(replace(training, **proposal))
    return {"trial": place, "batch": batch, **proposal, **found}
