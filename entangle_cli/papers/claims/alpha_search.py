"""Figure 7: accuracy against alpha, over a search of alpha, learning rate and first temperature.

64 runs of a Gaussian-process search, alpha of both signs (see ``training.search``); accuracy on
images of the training set that are not trained on. The search asks most where it expects most, so
that the counts of trials say as much as their accuracies. The network is the paper's shape for
digits, ``cnn``; which data and which ends of alpha the paper took is not known to us.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from entangle_cli.datasets import limit
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.papers.alone import alone
from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.verdicts import Comparison, above, below
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.data import load_images
from entangle_cli.training.proposals import SearchSettings, Trial, need_optuna
from entangle_cli.training.search import Journal, best, evaluation, hold_out, search
from entangle_cli.training.settings import TrainingSettings

DATA, NETWORK = "mnist", "cnn"
# share of the images that a trial is judged by
HELD_OUT = 0.2


@dataclass(frozen=True)
class Sizes:
    """Searches with seeds of their own, their trials, and the training of each."""

    searches: int
    trials: int
    steps: int
    images: int
    batch: int = 128
    at_once: int = 4
    first: int = 8


def run(settings: Settings) -> ClaimResult:
    """Search, as often as the sizes say, each time with other seeds.

    Raises:
        MeasureError: Optuna is not installed.
    """
    try:
        need_optuna()
    except UsageError as error:
        # other claims need no Optuna: this one fails, they go on
        raise MeasureError(str(error)) from error
    sizes: Sizes = settings.sizes
    dataset = limit(settings.shelf.open(DATA, "train"), sizes.images, seed=0)
    searches = [_search(settings, dataset, settings.seed + i) for i in range(sizes.searches)]
    rows = [{"search": i} | trial for i, trials in enumerate(searches) for trial in trials]
    failed = sum(row["failed"] is not None for row in rows)
    return ClaimResult(
        rows,
        _compare(searches),
        _figure(searches, len(rows)),
        notes=[
            f"{failed} of {len(rows)} trials ended early and count as accuracy 0",
            _noise(searches, round(HELD_OUT * len(dataset))),
            _at_the_end(searches, SearchSettings().space.alpha[1]),
        ],
    )


def _search(settings: Settings, dataset: Dataset, seed: int) -> list[Trial]:
    sizes: Sizes = settings.sizes
    train, validation = hold_out(load_images(dataset), HELD_OUT, seed)
    training = TrainingSettings(
        steps=sizes.steps,
        batch_size=sizes.batch,
        temperature="learned",
        record_every=sizes.steps,
        seed=seed,
    )
    asked = SearchSettings(trials=sizes.trials, batch=sizes.at_once, first=sizes.first, seed=seed)
    identity = {"network": NETWORK, "data": dataset.fingerprint, "device": settings.device}
    key = hashlib.sha256(repr((identity, sizes, seed)).encode()).hexdigest()[:12]
    path = settings.networks / f"search-{key}.journal"
    evaluate = evaluation(NETWORK, train, validation, settings.device)
    with alone(path):
        return search(
            asked, training, evaluate, Journal(path, identity), progress=settings.progress
        )


def _compare(searches: list[list[Trial]]) -> list[Comparison]:
    return [
        below(
            "figure 7: alpha of the best trial",
            [best(trials)["alpha"] for trials in searches],
            0.0,
            printed="below 0",
        ),
        above(
            "figure 7: best accuracy with alpha below 0 less best with alpha above 0",
            [_top(trials, -1) - _top(trials, 1) for trials in searches],
            0.0,
            printed="better",
        ),
    ]


def _noise(searches: list[list[Trial]], count: int) -> str:
    accuracy = float(np.mean([best(trials)["validation_accuracy"] for trials in searches]))
    error = (accuracy * (1 - accuracy) / count) ** 0.5
    return (
        f"accuracies are measured on {count} images: {accuracy:.3f} has a standard error of "
        f"{error:.3f}, and the best of many trials is too high"
    )


def _at_the_end(searches: list[list[Trial]], largest: float) -> str:
    ends = sum(abs(best(trials)["alpha"]) > 0.99 * largest for trials in searches)
    return f"in {ends} of {len(searches)} searches the best alpha is at the end of the space"


def _top(trials: list[Trial], sign: int) -> float:
    found = [t["validation_accuracy"] for t in trials if np.sign(t["alpha"]) == sign]
    # a search that never asks for a sign has seen nothing better there
    return max(found, default=0.0)


def _figure(searches: list[list[Trial]], count: int) -> FigureDescription:
    trials = [trial for found in searches for trial in found if trial["failed"] is None]
    low = min((t["validation_accuracy"] for t in trials), default=0.0)
    high = max((t["validation_accuracy"] for t in trials), default=1.0)
    # the better half of the axis, where trials can be told apart, beside all of them
    cut = high - 0.1 * (high - low)
    panels = (
        _panel("every trial", trials),
        _panel("the best", [t for t in trials if t["validation_accuracy"] >= cut]),
    )
    caption = (
        f"{count} trials of a Gaussian-process search over alpha, learning rate and initial "
        "temperature; a point is a trained network."
    )
    return FigureDescription(panels, columns=2, caption=caption)


def _panel(title: str, trials: list[Row]) -> Panel:
    series = tuple(
        Series(
            f"alpha {words} 0",
            [t["alpha"] for t in trials if (t["alpha"] < 0) == below_zero],
            [t["validation_accuracy"] for t in trials if (t["alpha"] < 0) == below_zero],
            kind="points",
            color=color,
        )
        for color, (words, below_zero) in enumerate((("below", True), ("above", False)))
    )
    return Panel(title, series, x_label="alpha", y_label="validation accuracy")


CLAIMS = (
    Claim(
        name="figure-7",
        title="accuracy against alpha: a search over alpha, learning rate and temperature",
        run=run,
        sizes={
            "quick": Sizes(searches=1, trials=24, steps=150, images=5000),
            "paper": Sizes(searches=5, trials=64, steps=14000, images=60000, batch=256),
        },
        minutes={"quick": 4, "paper": 9000},
        needs=("mnist@train",),
        quick_cannot="the best alpha: one search of 24 short trainings on a part of the data",
    ),
)
