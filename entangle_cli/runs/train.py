"""What ``entangle train`` does, without its options."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from entangle_cli.errors import UsageError
from entangle_cli.project import Project
from entangle_cli.results import Result, Row
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import open_data, resolve_device
from entangle_cli.runs.shared.provenance import described, provenance
from entangle_cli.runs.shared.run_options import RunOptions

if TYPE_CHECKING:
    from torch import Tensor

    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.training.data import TrainingData
    from entangle_cli.training.loop import Training
    from entangle_cli.training.run import Run
    from entangle_cli.training.settings import TrainingSettings

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse_temperature(text: str) -> Any:
    """``minimum``, ``learned``, ``median`` or a positive number.

    Raises:
        UsageError: something else.
    """
    if text in ("minimum", "learned", "median"):
        return text
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise UsageError(
            f"--temperature {text}: give minimum, learned, median or a positive number"
        )
    return number


def run_train(
    data: tuple[str, str | None],
    network: str,
    settings: "TrainingSettings",
    checkpoints: str,
    project: Project,
    run: RunOptions,
    terminal: Terminal,
) -> Result:
    """Train, or go on training; returns a row per checkpoint and the history as a table.

    Raises:
        EntangleError: data, settings or a folder that do not fit.
    """
    from entangle_cli.training.run import Run, checkpoint_steps, run_training

    run = replace(run, device=resolve_device(run.device))
    wanted = checkpoint_steps(checkpoints, settings.steps)
    sets = _opened(data, project, run, terminal)
    train, loaded = sets[0]
    training = _training(network, loaded, settings, run.device)
    identity = {
        "network": network,
        **settings.to_json(),
        "checkpoints": list(wanted),
        "data": train.fingerprint,
        "test_data": sets[1][0].fingerprint if len(sets) > 1 else None,
        "device": run.device.partition(":")[0],
    }
    place = Run(run.output, network, identity, loaded.preprocessing, wanted, _test(sets))
    _say_state(place, run, settings, training.objective.layers, terminal)
    with stopping_between_steps() as stop:
        rows = run_training(
            training,
            place,
            overwrite=run.overwrite,
            on_checkpoint=lambda row: terminal.note(_line(row)),
            stopping=lambda: stop.number is not None,
            progress=terminal,
        )
    if rows is None:
        stop.again()
    return _result(rows or [], training.history, identity, sets, place)


def _training(
    network: str, data: "TrainingData", settings: "TrainingSettings", device: str
) -> "Training":
    from entangle_cli.training.loop import Training
    from entangle_cli.training.networks import build_network

    built = build_network(network, data.shape, data.classes, settings.seed)
    return Training(built, data.images, data.labels, settings, device=device)


def _test(sets: "list[tuple[Dataset, TrainingData]]") -> "tuple[Tensor, Tensor] | None":
    """Images and labels to test on, where a second set is given."""
    return (sets[1][1].images, sets[1][1].labels) if len(sets) > 1 else None


def _opened(
    data: tuple[str, str | None], project: Project, run: RunOptions, terminal: Terminal
) -> "list[tuple[Dataset, TrainingData]]":
    from entangle_cli.training.data import check_alike, load_images

    sets = []
    for reference in data:
        if reference is not None:
            dataset = open_data(reference, project, run, terminal)
            sets.append((dataset, load_images(dataset)))
    if sets[0][1].classes < 2:
        raise UsageError(f"{sets[0][0].name}: one class only; training needs two or more")
    if len(sets) > 1:
        check_alike(sets[0][0], sets[1][0], sets[0][1], sets[1][1])
    return sets


def _say_state(
    place: "Run",
    run: RunOptions,
    settings: "TrainingSettings",
    layers: tuple[str, ...],
    terminal: Terminal,
) -> None:
    if place.state.exists() and not run.overwrite:
        terminal.note(f"going on from {place.state}")
    terminal.note(
        f"training {place.stem}, {settings.steps} steps, alpha {settings.alpha:g}, "
        f"hidden layers {', '.join(layers)}"
    )


def _line(row: Row) -> str:
    parts = [f"step {row['step']}"]
    if row["accuracy"] is not None:
        parts.append(f"test accuracy {100 * row['accuracy']:.2f} %")
    mixed = [
        f"{name.removeprefix('entanglement ')} {value:.3f}"
        for name, value in row.items()
        if name.startswith("entanglement ") and value is not None
    ]
    return ": ".join([", ".join(parts), "entanglement " + ", ".join(mixed)])


def _result(
    rows: list[Row],
    history: list[Row],
    identity: dict[str, Any],
    sets: "list[tuple[Dataset, TrainingData]]",
    place: "Run",
) -> Result:
    import torch

    accuracy = {row["step"]: row["accuracy"] for row in rows}
    steps = dict.fromkeys(sorted({row["step"] for row in history} | set(accuracy)))
    recorded = {row["step"]: row for row in history}
    notes = []
    if len(sets) > 1:
        notes.append(f"test data: {len(sets[1][0])} samples of {sets[1][0].name}")
    return Result(
        command="train",
        rows=rows,
        provenance=provenance(
            settings=identity,
            data=described(sets[0][0]),
            test=described(sets[1][0]) if len(sets) > 1 else None,
            threads=torch.get_num_threads(),
            checkpoints=str(place.folder / "checkpoints"),
        ),
        notes=notes,
        tables={
            "train-history": [
                recorded.get(step, {"step": step}) | {"test_accuracy": accuracy.get(step)}
                for step in steps
            ]
        },
    )


@dataclass
class Stop:
    """A signal that came while training, and who was to get it."""

    number: int | None = None
    handlers: dict[int, Any] = field(default_factory=dict)

    def again(self) -> None:
        """Hand the signal to whoever handled it before; comes back only where they let it."""
        handler = self.handlers.get(self.number)
        if callable(handler):
            handler(self.number, None)
        raise KeyboardInterrupt


@contextmanager
def stopping_between_steps() -> Iterator[Stop]:
    """Within it a signal waits until a step has ended and is saved; a second one acts at once."""
    stop = Stop()

    def remember(number: int, frame: FrameType | None) -> None:
        if stop.number is not None:
            stop.again()
        stop.number = number

    if threading.current_thread() is threading.main_thread():
        stop.handlers = {number: signal.signal(number, remember) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in stop.handlers.items():
            signal.signal(number, handler)
