"""A training run from its first step to its last, with checkpoints, resumed where it stopped."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from entangle_cli.errors import UsageError
from entangle_cli.measures.temperature import entanglement
from entangle_cli.progress import Progress, silent
from entangle_cli.training.checkpoints import export
from entangle_cli.training.loop import Row, Training, as_inputs
from entangle_cli.training.state import read_state, write_state
from entangle_cli.training.taps import run_tapped

SAVE_EVERY = 200
# samples on which the hidden layers are measured at a checkpoint
MEASURED = 256
_BATCH = 512


@dataclass(frozen=True)
class Run:
    """Where a run keeps its files, what it is (``identity``), and what it is tested on.

    ``stem`` begins the names of its checkpoints. ``test``: images and labels, as for `Training`.
    Without ``export_checkpoints`` the network is measured at its checkpoints, but not exported.
    """

    folder: Path
    stem: str
    identity: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    checkpoints: tuple[int, ...]
    test: tuple[Tensor, Tensor] | None = None
    save_every: int = SAVE_EVERY
    export_checkpoints: bool = True

    @property
    def state(self) -> Path:
        """The file that the same run goes on from."""
        return self.folder / "train.state"


def run_training(
    training: Training,
    run: Run,
    *,
    overwrite: bool = False,
    on_checkpoint: Callable[[Row], None] = lambda row: None,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> list[Row] | None:
    """Train to the last step; returns a row per checkpoint, None where it was told to stop.

    A row has ``step, accuracy, cross_entropy`` on the test data (empty without) and, on up to 256
    samples of it (of the training data without), ``entanglement <layer>`` and ``snnl <layer>`` at
    its exact minimum, all in evaluation mode. Begun before, the run goes on from its last saved
    state; stopped, it saves one.

    Raises:
        UsageError: the folder holds the state of another run.
    """
    begun = None if overwrite else read_state(run.state, run.identity)
    rows: list[Row] = []
    if begun is not None:
        rows = begun.pop("rows")
        training.restore(begun)
    for row in rows:
        on_checkpoint(row)
    progress.start("training", training.settings.steps)
    progress.advance(training.step)
    while True:
        done = {row["step"] for row in rows}
        if training.step in run.checkpoints and training.step not in done:
            rows.append(checkpoint(training, run))
            on_checkpoint(rows[-1])
        last = training.step >= training.settings.steps
        stop = not last and stopping()
        if last or stop or training.step % run.save_every == 0:
            write_state(run.state, run.identity, {**training.state(), "rows": rows})
        if last or stop:
            progress.finish()
            return rows if last else None
        training.advance()
        progress.advance()


def checkpoint(training: Training, run: Run) -> Row:
    """Save the network as it is and measure it; see `run_training` for the row."""
    if not run.export_checkpoints:
        return {"step": training.step} | measured(training, run.test)
    digits = len(str(training.settings.steps))
    stem = run.folder / "checkpoints" / f"{run.stem}-step{training.step:0{digits}d}"
    # the files must not remember the device
    network = copy.deepcopy(training.network).cpu()
    export(network, as_inputs(training.images[:2]), stem, run.preprocessing)
    return {"step": training.step} | measured(training, run.test)


def measured(training: Training, test: tuple[Tensor, Tensor] | None) -> Row:
    """Accuracy and entanglement of the network as it is; see `run_training` for the row."""
    training.network.eval()
    with torch.no_grad():
        row = _tested(training, test) | _entangled(training, test)
    training.network.train()
    return row


def checkpoint_steps(text: str, steps: int) -> tuple[int, ...]:
    """``N``: N checkpoints from step 0 to the last, evenly; ``0,100,1000``: these.

    Raises:
        UsageError: neither, or a step beyond the last.
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--checkpoints {text}: give a number, or steps such as 0,100,1000")
    numbers = [int(word) for word in words]
    if len(numbers) == 1:
        count = numbers[0]
        if count < 2:
            return (steps,) * count
        return tuple(sorted({round(i * steps / (count - 1)) for i in range(count)}))
    if max(numbers) > steps:
        raise UsageError(f"--checkpoints {text}: step {max(numbers)} is beyond the {steps} steps")
    return tuple(sorted(set(numbers)))


def _tested(training: Training, test: tuple[Tensor, Tensor] | None) -> Row:
    if test is None:
        return {"accuracy": None, "cross_entropy": None}
    images, labels = test
    right, loss = 0, 0.0
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        logits = training.network(as_inputs(images[part], training.device)).cpu()
        right += int((logits.argmax(1) == labels[part]).sum())
        loss += float(F.cross_entropy(logits, labels[part], reduction="sum"))
    return {"accuracy": right / len(images), "cross_entropy": loss / len(images)}


def _entangled(training: Training, test: tuple[Tensor, Tensor] | None) -> Row:
    images, labels = test or (training.images, training.labels)
    rows = _spread(len(images), MEASURED)
    inputs = as_inputs(images[rows], training.device)
    _, layers = run_tapped(training.network, training.objective.taps, inputs)
    row: Row = {}
    for name, points in layers.items():
        found = entanglement(points.flatten(1).cpu(), labels[rows], metric=training.settings.metric)
        row |= {f"entanglement {name}": found.entanglement, f"snnl {name}": found.snnl}
    return row


def _spread(total: int, most: int) -> Sequence[int]:
    """Up to ``most`` rows, evenly over all."""
    count = min(total, most)
    return [i * total // count for i in range(count)]
