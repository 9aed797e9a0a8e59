"""Baseline and entangled networks of the same seeds, the stock of most claims.

The two of a pair differ in ``alpha`` alone: same first weights, same batches. How strong the
entanglement is to be, and at which temperature, is decided on rows of the training data that no
network of the search sees, and never on the test data (`choose`).
"""

import math
from dataclasses import dataclass
from typing import Literal

from entangle_cli.papers.claim import Scale, Settings
from entangle_cli.papers.networks import Trained, part, split, trained
from entangle_cli.results import Row
from entangle_cli.training.data import TrainingData
from entangle_cli.training.settings import TrainingSettings

# of the search for alpha, apart from those of the runs
_SEARCH_SEED = 1000
# standard errors of a difference, one-sided at 5 %
_SIGNIFICANT = 1.645


@dataclass(frozen=True)
class Candidate:
    """An ``alpha``, and the temperature of its loss: see ``TrainingSettings``."""

    alpha: float
    temperature: float | Literal["minimum", "learned"] = "minimum"
    initial: float | None = None

    def __str__(self) -> str:
        start = "" if self.initial is None else f" from {self.initial:g}"
        return f"alpha {self.alpha:g}, temperature {self.temperature}{start}"


BASELINE = Candidate(0.0)
# the published code starts from a temperature of 100 and moves it by gradients
PUBLISHED = Candidate(-0.1, "learned", 100.0)


@dataclass(frozen=True)
class PairSizes:
    """Runs, steps and what is tried; ``train_rows`` None: all of the training data.

    ``held_out`` rows of the training data judge the candidates after ``search_steps``.
    """

    network: str = "cnn"
    runs: int = 4
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 2e-3
    candidates: tuple[Candidate, ...] = (
        Candidate(-0.01),
        Candidate(-0.03),
        Candidate(-0.1),
        PUBLISHED,
    )
    search_steps: int = 400
    held_out: int = 5000
    checkpoints: int = 6
    train_rows: int | None = None


SIZES: dict[Scale, PairSizes] = {
    "quick": PairSizes(),
    # arXiv 1902.01889, section 4: Adam with 1e-4, batches of 256, 14,000 steps, four runs
    "paper": PairSizes(
        steps=14_000,
        batch_size=256,
        learning_rate=1e-4,
        candidates=(
            *(Candidate(-alpha) for alpha in (0.001, 0.003, 0.01, 0.03, 0.1)),
            PUBLISHED,
            Candidate(-1.0, "learned", 100.0),
        ),
        search_steps=14_000,
        checkpoints=29,
    ),
}


@dataclass(frozen=True)
class Pairs:
    """Networks by run: ``baseline[i]`` and ``entangled[i]`` share their seed.

    ``trials``: a row per candidate ``alpha, temperature, validation_accuracy, chosen`` and the
    entanglement of its hidden layers.
    """

    baseline: list[Trained]
    entangled: list[Trained]
    chosen: Candidate
    trials: list[Row]

    @property
    def layers(self) -> tuple[str, ...]:
        """The hidden layers, from the input on."""
        return self.baseline[0].layers


def pairs(settings: Settings, name: str, sizes: PairSizes, *, runs: int | None = None) -> Pairs:
    """The networks of a data set, of the first ``runs`` seeds; those trained before are kept."""
    train, test = settings.shelf.load(name, "train"), settings.shelf.load(name, "test")
    if sizes.train_rows is not None:
        train = split(train, len(train.images) - sizes.train_rows, 0)[0]
    chosen, trials = choose(settings, train, sizes)
    settings.note(f"{name}: {chosen}, from {len(trials)} trials on held-out training data")
    made: dict[Candidate, list[Trained]] = {BASELINE: [], chosen: []}
    for number in range(sizes.runs if runs is None else runs):
        for candidate, networks in made.items():
            networks.append(
                trained(
                    settings,
                    sizes.network,
                    train,
                    (test.images, test.labels),
                    training_settings(sizes, candidate, settings.seed + number),
                    checkpoints=sizes.checkpoints,
                )
            )
    return Pairs(made[BASELINE], made[chosen], chosen, trials)


def choose(
    settings: Settings, train: TrainingData, sizes: PairSizes
) -> tuple[Candidate, list[Row]]:
    """The candidate that mixes the hidden layers most and costs no accuracy, and all trials.

    A candidate costs nothing where its accuracy on held-out training data is not significantly
    below the baseline's (one-sided, at 5 %, two binomials). How mixed: mean entanglement of the
    hidden layers there, at its exact minimum. Where all cost something it is the most accurate.
    """
    rest, held = split(train, sizes.held_out, settings.seed + _SEARCH_SEED)
    rows: list[Row] = []
    for candidate in (BASELINE, *sizes.candidates):
        plan = training_settings(sizes, candidate, settings.seed + _SEARCH_SEED, sizes.search_steps)
        found = trained(settings, sizes.network, rest, (held.images, held.labels), plan)
        mixed = {f"entanglement {name}": found.entanglement(name) for name in found.layers}
        rows.append(
            {
                "alpha": candidate.alpha,
                "temperature": str(candidate.temperature),
                "validation_accuracy": found.accuracy,
                "entanglement": sum(mixed.values()) / max(1, len(mixed)),
                **mixed,
            }
        )
    best = _best(rows, len(held.images))
    rows = [row | {"chosen": number == best} for number, row in enumerate(rows)]
    return sizes.candidates[best - 1], rows


def _best(rows: list[Row], count: int) -> int:
    """The number of the row to choose; the baseline is row 0 and cannot be chosen."""
    accuracies = [row["validation_accuracy"] for row in rows]
    floor = accuracies[0] - _SIGNIFICANT * math.sqrt(
        2 * accuracies[0] * (1 - accuracies[0]) / count
    )
    free = [i for i in range(1, len(rows)) if accuracies[i] >= floor]
    if free:
        return max(free, key=lambda i: rows[i]["entanglement"])
    return max(range(1, len(rows)), key=lambda i: accuracies[i])


def training_settings(
    sizes: PairSizes, candidate: Candidate, seed: int, steps: int | None = None
) -> TrainingSettings:
    """How a network of a pair is trained."""
    return TrainingSettings(
        steps=sizes.steps if steps is None else steps,
        batch_size=sizes.batch_size,
        learning_rate=sizes.learning_rate,
        alpha=candidate.alpha,
        temperature=candidate.temperature,
        initial_temperature=candidate.initial,
        record_every=max(10, sizes.steps // 100),
        seed=seed,
    )


def first_rows(data: TrainingData, count: int) -> TrainingData:
    """At most ``count`` samples, evenly over all."""
    total = len(data.images)
    if total <= count:
        return data
    import torch

    return part(data, torch.arange(count) * total // count)
