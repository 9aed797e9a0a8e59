"""What ``entangle score`` does, without its options and its output."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.errors import UsageError
from entangle_cli.library.evidence import evidence
from entangle_cli.measures.ood.catalogue import METHODS, choose_methods
from entangle_cli.measures.ood.evidence import Evidence
from entangle_cli.measures.ood.fitting import (
    FittedDetector,
    Key,
    column_name,
    score_inputs,
)
from entangle_cli.project import Project
from entangle_cli.runs.ood.fitted import FittedRun
from entangle_cli.runs.ood.neighbors import metrics_needed, near_training
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import (
    Prepared,
    activations,
    open_data,
    open_one_model,
    resolve_device,
)
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.searching import Searching, SearchOptions
from entangle_cli.text import suggestion

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.models import Model

# who gives the verdict where nobody is named: not chosen by looking at any outside set
JUDGES: tuple[Key, ...] = (("fisher_knn", "all layers"), ("energy", "logits"), ("msp", "logits"))
CREDIBILITY: Key = ("dknn_credibility", "all layers")


@dataclass(frozen=True)
class Judged:
    """New inputs with their scores, and the detector that decides."""

    dataset: "Dataset"
    prediction: np.ndarray | None
    credibility: np.ndarray | None
    scores: Mapping[Key, np.ndarray]
    judge: FittedDetector
    class_names: tuple[str, ...] | None

    def outlying(self) -> np.ndarray | None:
        """Which inputs lie above the threshold, ``(n,)`` bool; None where there is none."""
        if self.judge.threshold is None:
            return None
        return self.scores[self.judge.key] > self.judge.threshold


def run_score(
    model: str,
    inputs: str,
    fitted: FittedRun,
    project: Project,
    run: RunOptions,
    terminal: Terminal,
    *,
    detectors: tuple[str, ...] = (),
    by: str | None = None,
) -> Judged:
    """Score inputs with the detectors of a run; ``by`` names the one that decides.

    Raises:
        EntangleError: another model, unknown detectors, inputs that do not fit.
    """
    run = replace(run, device=resolve_device(run.device), reduce=fitted.reduce)
    opened = _same_model(model, fitted, project, run)
    judge = _judge(fitted, by)
    chosen = _chosen(fitted, detectors, judge)
    dataset = open_data(inputs, project, run, terminal)
    with _working_folder(run) as folder:
        work = replace(run, output=folder)
        prepared = _prepared(opened, dataset, fitted)
        stored = activations(prepared, work, terminal)
        evidence_of = _evidence(fitted, chosen, stored, work, terminal)
        scores, reasons = score_inputs(chosen, evidence_of)
        # views of a file that is about to be removed
        logits = None if evidence_of.logits is None else np.array(evidence_of.logits)
    for (name, place), reason in reasons.items():
        terminal.warn(f"{name}, {place}: {reason}")
    if judge.key not in scores:
        raise UsageError(f"{judge.name}, {judge.place}: {reasons[judge.key]}; choose with --by")
    credibility = scores.get(CREDIBILITY)
    return Judged(
        dataset=dataset,
        prediction=None if logits is None else logits.argmax(axis=1),
        credibility=None if credibility is None else 1.0 - credibility,
        scores=scores,
        judge=judge,
        class_names=fitted.class_names,
    )


def _same_model(model: str, fitted: FittedRun, project: Project, run: RunOptions) -> "Model":
    opened = open_one_model(model, project, run)
    if opened.sha256 != fitted.model_sha256:
        raise UsageError(
            f"{model}: another model than the one of {fitted.folder} (its sha256 differs); give "
            "that one, or run entangle ood with this one"
        )
    return opened


def _judge(fitted: FittedRun, by: str | None) -> FittedDetector:
    """The detector that decides: ``NAME`` or ``NAME@LAYER``; the first of `JUDGES` if not given."""
    known = {one.key: one for one in fitted.detectors}
    if by is None:
        default = next((known[key] for key in JUDGES if key in known), None)
        if default is None:
            names = ", ".join(column_name(key) for key in known)
            raise UsageError(
                f"{fitted.folder}: has none of the detectors that decide by default; name one with "
                f"--by: {names}"
            )
        return default
    name, _, place = by.partition("@")
    found = [one for key, one in known.items() if key[0] == name and place in ("", key[1])]
    if len(found) == 1:
        return found[0]
    if not found:
        names = dict.fromkeys(one.name for one in known.values())
        hint = suggestion(by, [*names, *map(column_name, known)])
        raise UsageError(
            f"--by {by}: not fitted in {fitted.folder}{hint}; there are {', '.join(names)}"
        )
    places = ", ".join(one.place for one in found)
    raise UsageError(f"--by {by}: fitted for {places}; give one as {name}@LAYER")


def _chosen(
    fitted: FittedRun, patterns: tuple[str, ...], judge: FittedDetector
) -> list[FittedDetector]:
    names = {method.name for method in choose_methods(patterns or ("all",))}
    return [one for one in fitted.detectors if one.name in names or one is judge]


@contextmanager
def _working_folder(run: RunOptions) -> Iterator[Path]:
    """Activations of new inputs are not kept."""
    with tempfile.TemporaryDirectory(prefix="entangle-score-") as folder:
        yield Path(folder)


def _prepared(model: "Model", dataset: "Dataset", fitted: FittedRun) -> Prepared:
    from entangle_cli.activations.feed import Feed
    from entangle_cli.datasets.preprocessing import Preprocessing
    from entangle_cli.datasets.probing import Resolved

    settings = fitted.preprocessing
    if (settings is None) != (dataset.kind == "arrays"):
        kind = "arrays" if settings is None else "images"
        raise UsageError(f"{dataset.name}: {fitted.folder} was fitted on {kind}; give such inputs")
    preprocessing = None if settings is None else Preprocessing.from_json(settings)
    feed = Feed(model.inputs, dataset, preprocessing)
    extra = () if fitted.penultimate.layer is None else (fitted.penultimate.layer,)
    layers = tuple(dict.fromkeys((*fitted.layers, *extra)))
    return Prepared(model, feed, Resolved(preprocessing, f"as in {fitted.folder}"), layers)


def _training_activations(fitted: FittedRun) -> ActivationFile:
    """Where neighbors are looked for.

    Raises:
        UsageError: they are gone, or others lie in their place.
    """
    path = fitted.folder / fitted.train
    remedy = "run entangle ood again, or give --by and --detectors that look at no neighbors"
    if not path.exists():
        raise UsageError(f"{path}: the training activations of the run are gone; {remedy}")
    train = ActivationFile.open(path)
    if train.identity != fitted.train_identity or not train.complete:
        raise UsageError(f"{path}: not the training activations of the run; {remedy}")
    return train


def _evidence(
    fitted: FittedRun,
    chosen: list[FittedDetector],
    stored: ActivationFile,
    run: RunOptions,
    terminal: Terminal,
) -> Evidence:
    names = {one.name for one in chosen}
    needs = [method.needs for method in METHODS if method.name in names]
    neighbors = {}
    metrics = metrics_needed(needs)
    if metrics and fitted.train is not None:
        train = _training_activations(fitted)
        search = SearchOptions(k=fitted.search["k"], method=fitted.search["method"])
        notes: list[str] = []
        searching = Searching(replace(run, seed=fitted.search["seed"]), search, terminal, notes)
        (neighbors,) = near_training(searching, metrics, train, [stored], fitted.layers)
        for note in notes:
            terminal.note(f"note: {note}")
    return evidence(
        stored,
        fitted.penultimate,
        fitted.layers,
        labels=None,
        neighbors=neighbors,
        averaged=any("channels" in need for need in needs),
    )
