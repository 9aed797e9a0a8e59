"""From what a person typed to a model with data that fits it; shared by all commands."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.errors import EntangleError, UsageError
from entangle_cli.models.series import Checkpoint
from entangle_cli.project import BUILT_IN, Project
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.resolving import remember, resolve
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.text import suggestion

if TYPE_CHECKING:
    from entangle_cli.activations.feed import Feed
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.datasets.probing import Resolved
    from entangle_cli.models import Model

INPUT = "input"
# the least that shows which axis is the batch
EXAMPLE_ROWS = 3


@dataclass
class Prepared:
    """A model, the batches it will be fed with, and the layers that were asked for."""

    model: "Model"
    feed: "Feed"
    resolved: "Resolved"
    layers: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What a person should know about this model on this data."""
        return [*self.model.notes, *self.feed.notes, *self.resolved.notes]


def resolve_device(name: str) -> str:
    """``auto`` becomes CUDA where there is one, else the CPU; CUDA that is missing is an error."""
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index.isdecimal() or ":" not in name):
        raise UsageError(f"--device {name}: unknown device; give auto, cpu or cuda[:i]")
    if not torch.cuda.is_available() or int(index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: found {torch.cuda.device_count()} CUDA devices; "
            "give --device cpu, or install a CUDA build of torch"
        )
    return name


def open_one_model(reference: str, project: Project, run: RunOptions) -> "Model":
    """The model file behind a path or a name.

    Raises:
        UsageError: the reference stands for several files.
    """
    from entangle_cli.models.opening import open_model

    paths = project.model_paths(reference)
    if len(paths) != 1:
        raise UsageError(f"{reference}: stands for {len(paths)} model files; give one")
    device = resolve_device(run.device)
    return open_model(paths[0], device=device, trust=run.trust, sandbox=run.sandbox)


def open_data(reference: str, project: Project, run: RunOptions, terminal: Terminal) -> "Dataset":
    """The data set behind a path or a name, cut to ``--limit``; its notes are said."""
    from entangle_cli.datasets import limit, open_dataset
    from entangle_cli.datasets.dataset import Origin

    located = project.data_reference(reference)
    named = located != reference
    if not named and project.data and not set("/\\.:@") & set(reference):
        _refuse_unknown_name(reference, project)
    dataset = open_dataset(located, name=reference if named else None)
    if run.limit is not None and run.limit < len(dataset):
        terminal.warn(f"LIMITED to {run.limit} of {len(dataset)} samples of {dataset.name}")
        dataset = limit(dataset, run.limit, run.seed)
    for note in dataset.notes:
        terminal.note(f"{dataset.name}: {note}")
    origin = Origin(located, reference if named else None, run.limit, run.seed)
    return replace(dataset, origin=origin)


def _refuse_unknown_name(reference: str, project: Project) -> None:
    """A bare word that is neither a path nor a built-in set was meant as a name."""
    if reference in BUILT_IN or Path(reference).exists():
        return
    known = ", ".join(project.data)
    raise UsageError(
        f"{reference}: no such path, and {project.path} names only {known}"
        f"{suggestion(reference, project.data)}"
    )


def open_checkpoint(checkpoint: Checkpoint, run: RunOptions) -> "Model":
    """The model behind one checkpoint, on the device that was asked for."""
    from entangle_cli.models.opening import open_model

    return open_model(checkpoint.path, device=run.device, trust=run.trust, sandbox=run.sandbox)


def prepare(
    model: "Model",
    dataset: "Dataset",
    project: Project,
    run: RunOptions,
    resolved: "Resolved | None" = None,
) -> Prepared:
    """Fit the data to the model's input and choose the layers.

    ``resolved``: the preprocessing, where it is known already.
    """
    from entangle_cli.activations.feed import Feed
    from entangle_cli.models.patterns import select_layers

    if resolved is None:
        resolved = resolve(model, dataset, project, run)
    feed = Feed(model.inputs, dataset, resolved.preprocessing)
    wanted = [pattern for pattern in run.layers if pattern != INPUT]
    layers: tuple[str, ...] = ()
    if wanted or INPUT not in run.layers:
        known = model.layers(feed.batch(0, min(EXAMPLE_ROWS, feed.rows)))
        layers = select_layers(known, wanted, run.exclude_layers)
    return Prepared(model, feed, resolved, layers)


def family_preprocessing(
    checkpoints: Sequence[Checkpoint], dataset: "Dataset", project: Project, run: RunOptions
) -> "dict[str, Resolved]":
    """The preprocessing of each series of checkpoints, found on its last step.

    Probing needs a trained network, and all steps of a series must see the same input.
    """
    found: dict[str, Resolved] = {}
    families = {checkpoint.family for checkpoint in checkpoints}
    if len(families) == len(checkpoints):
        return found
    for checkpoint in reversed(checkpoints):
        if checkpoint.family in found:
            continue
        try:
            model = open_checkpoint(checkpoint, run)
            found[checkpoint.family] = resolve(model, dataset, project, run)
        except EntangleError:
            # reported when the checkpoint's turn comes; the step before may serve
            continue
    return found


def activations(
    prepared: Prepared,
    run: RunOptions,
    terminal: Terminal,
    path: Path | None = None,
    *,
    notes: list[str] | None = None,
) -> "ActivationFile":
    """The stored activations of a prepared model: computed, resumed or found complete.

    What the checks found goes to ``notes``, or is said where there are none.
    """
    from entangle_cli.activations.dump import dump
    from entangle_cli.runs.merge.caches import adopt_store

    elsewhere, path = path is not None, path or default_path(prepared, run)
    if run.shard is not None and not run.overwrite:
        # what the folder of the whole run has is not made anew by every shard
        adopt_store(default_path(prepared, replace(run, output=run.shard.output(run.output))), path)
    if run.engine is not None:
        from entangle_cli.runs.spread.dumping import spread_dump

        spread_dump(prepared, run, terminal, path)
        run = replace(run, overwrite=False)
    stored = dump(
        prepared.model,
        prepared.feed,
        path,
        layers=prepared.layers,
        reduce=run.reduce,
        dtype=run.dtype,
        batch_size=run.batch_size,
        progress=terminal,
        overwrite=run.overwrite,
    )
    if notes is None:
        for note in _about(stored, prepared):
            terminal.warn(note)
    else:
        notes += [note for note in _about(stored, prepared) if note not in notes]
    if not elsewhere:
        remember(prepared.resolved, prepared.model, run)
    return stored


def _about(stored: "ActivationFile", prepared: Prepared) -> list[str]:
    """What the checks found, and that samples are copies of others."""
    from entangle_cli.runs.shared.copies import copies_note

    found = [f"{prepared.model.path.name}: {check}" for check in stored.checks]
    copies = copies_note(prepared.feed, stored.path.parent)
    return [*found, *([copies] if copies else [])]


def default_path(prepared: Prepared, run: RunOptions) -> Path:
    """``<output>/activations/<model>--<data>--<key>.h5``: other content is another file."""
    from entangle_cli.activations.identity import content_identity

    identity = content_identity(
        prepared.model, prepared.feed, prepared.layers, reduce=run.reduce, dtype=run.dtype
    )
    text = json.dumps([identity, run.batch_size], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:10]
    names = (prepared.model.path.stem, prepared.feed.dataset.name)
    model, data = ("".join(c if c.isalnum() or c in "-_." else "-" for c in n) for n in names)
    return run.output / "activations" / f"{model}--{data}--{key}.h5"
