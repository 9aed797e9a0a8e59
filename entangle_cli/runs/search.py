"""What ``entangle search`` does, without its options."""

import shlex
from dataclasses import asdict, replace
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
    from entangle_cli.training.proposals import SearchSettings, SearchSpace
    from entangle_cli.training.settings import TrainingSettings

# of the data, where no other are given
HELD_OUT = 0.2
# the smallest alpha that is told from 0, in largest ones
_SMALLEST = 1e-3


def space_up_to(largest: float) -> "SearchSpace":
    """The search space with alphas up to this size.

    Raises:
        UsageError: a size that is not positive.
    """
    from entangle_cli.training.proposals import SearchSpace

    if not 0 < largest < float("inf"):
        raise UsageError(f"--largest-alpha {largest:g}: give a positive number")
    return SearchSpace(alpha=(_SMALLEST * largest, largest))


def run_search(
    data: tuple[str, str | None],
    network: str,
    settings: "SearchSettings",
    training: "TrainingSettings",
    project: Project,
    run: RunOptions,
    terminal: Terminal,
) -> Result:
    """Search, or go on searching; returns a row per trial.

    Raises:
        EntangleError: Optuna is missing, or data, settings or a folder that do not fit.
    """
    from entangle_cli.training.proposals import need_optuna
    from entangle_cli.training.search import Journal, best, evaluation, search

    need_optuna()
    run = replace(run, device=resolve_device(run.device))
    opened = [open_data(name, project, run, terminal) for name in data if name is not None]
    train, validation = _split(opened, settings.seed)
    identity = {
        "network": network,
        "data": opened[0].fingerprint,
        "validation": opened[1].fingerprint if len(opened) > 1 else f"share {HELD_OUT}",
        "device": run.device.partition(":")[0],
    }
    journal = Journal(run.output / "search.journal", identity, run.overwrite)
    if journal.path.exists() and not run.overwrite:
        terminal.note(f"going on from {journal.path}")
    trials = search(
        settings,
        training,
        evaluation(network, train, validation, run.device),
        journal,
        on_trial=lambda trial: terminal.note(_line(trial)),
        progress=terminal,
    )
    top = best(trials)
    notes = [
        f"{len(validation[0])} samples that are not trained on judge the trials",
        *_failure_notes(trials),
        f"trial {top['trial']} is best: {_command(data[0], network, top, training)}",
    ]
    return _result(trials, notes, opened, (identity, training, settings))


def _split(opened: "list[Dataset]", seed: int) -> "tuple[TrainingData, tuple[Tensor, Tensor]]":
    """What is trained on, and images with labels that judge: given, or held out of the former."""
    from entangle_cli.training.data import check_alike, load_images
    from entangle_cli.training.search import hold_out

    loaded = [load_images(dataset) for dataset in opened]
    if loaded[0].classes < 2:
        raise UsageError(f"{opened[0].name}: one class only; training needs two or more")
    if len(opened) == 1:
        return hold_out(loaded[0], HELD_OUT, seed)
    check_alike(*opened, *loaded)
    return loaded[0], (loaded[1].images, loaded[1].labels)


def _failure_notes(trials: list[Row]) -> list[str]:
    failed = sum(trial["failed"] is not None for trial in trials)
    if not failed:
        return []
    return [f"{failed} trials ended early and count as accuracy 0; column failed says why"]


def _result(
    trials: list[Row], notes: list[str], opened: "list[Dataset]", made: tuple[Any, ...]
) -> Result:
    import torch

    identity, training, settings = made
    return Result(
        command="search",
        rows=trials,
        provenance=provenance(
            settings={**identity, **training.to_json()},
            search=asdict(settings),
            data=described(opened[0]),
            validation=described(opened[1]) if len(opened) > 1 else None,
            threads=torch.get_num_threads(),
        ),
        notes=notes,
    )


def _line(trial: Row) -> str:
    searched = ", ".join(
        f"{name.replace('_', ' ')} {trial[name]:.3g}"
        for name in ("alpha", "learning_rate", "initial_temperature")
        if name in trial
    )
    ended = f"ended early ({trial['failed']})" if trial["failed"] else ""
    right = f"validation accuracy {100 * trial['validation_accuracy']:.2f} %"
    return f"trial {trial['trial']}: {searched}: {ended or right}"


def _command(data: str, network: str, trial: Row, training: "TrainingSettings") -> str:
    """What trains the network of a trial again, on all of the data."""
    words: list[Any] = ["entangle", "train", data, "--network", network]
    words += ["--alpha", f"{trial['alpha']:.4g}", "--learning-rate"]
    words += [f"{trial['learning_rate']:.4g}", "--steps", training.steps]
    words += ["--batch-size", training.batch_size, "--temperature", training.temperature]
    if "initial_temperature" in trial:
        words += ["--initial-temperature", f"{trial['initial_temperature']:.4g}"]
    words += ["--metric", training.metric]
    for layer in training.layers:
        words += ["--layers", layer]
    return shlex.join(map(str, words))
