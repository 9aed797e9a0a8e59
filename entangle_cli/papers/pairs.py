"""Baseline and entangled networks of the same seeds, the stock of most claims.

The two of a pair differ in ``alpha`` alone: same first weights, same batches. How strong the
entanglement is to be, and at which temperature, is decided on rows of the training data that no
network of the search sees, and never on the test data (`choose`).
"""

from dataclasses import dataclass
from typing import Literal

from entangle_cli.papers.claim import Scale, Settings
from entangle_cli.papers.networks import Trained, part, split, trained
from entangle_cli.results import Row
from entangle_cli.training.data import TrainingData
from entangle_cli.training.settings import Schedule, TrainingSettings

# of the search for alpha, apart from those of the runs
_SEARCH_SEED = 1000
# accuracy that a candidate may lose on held-out data: less than the 0.003 that the claim allows on
# test data, as the most mixed of several lies nearer to the margin than it seems
MARGIN = 0.002


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

    ``held_out`` rows of the training data judge the candidates after ``search_steps``; ``schedule``
    is that of the learning rate.
    """

    network: str = "cnn"
    runs: int = 4
    steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 2e-3
    schedule: Schedule = "linear"
    candidates: tuple[Candidate, ...] = tuple(map(Candidate, (-0.01, -0.02)))
    search_steps: int = 2000
    held_out: int = 10_000
    checkpoints: int = 6
    train_rows: int | None = None


# arXiv 1902.01889, section 4: Adam with 1e-4, batches of 256, 14,000 steps, four runs
_PAPER = PairSizes(
    steps=14_000,
    batch_size=256,
    learning_rate=1e-4,
    schedule="constant",
    candidates=(
        *(Candidate(-alpha) for alpha in (0.001, 0.003, 0.01, 0.03, 0.1)),
        PUBLISHED,
        Candidate(-1.0, "learned", 100.0),
    ),
    search_steps=14_000,
    checkpoints=29,
)
# By data set. In the paper's steps every image is seen 60 times, at a constant rate; in 2,000 of 64
# all images are seen twice, when nothing is overfitted yet and mixed layers only cost accuracy: a
# little on MNIST, on Fashion-MNIST more than `MARGIN` at every alpha (on held-out data). There the
# networks see 6,000 images 21 times each, at a constant rate as in the paper: with one that falls
# to 0 the baseline gains more than entangled networks do.
SIZES: dict[str, dict[Scale, PairSizes]] = {
    "mnist": {
        "quick": PairSizes(candidates=tuple(map(Candidate, (-0.01, -0.015, -0.02, -0.04)))),
        "paper": _PAPER,
    },
    "fashion": {"quick": PairSizes(schedule="constant", train_rows=6000), "paper": _PAPER},
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
    chosen, trials = choose(settings, train, sizes)
    train = limited(train, sizes)
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

    A candidate costs nothing where its accuracy on held-out training data is at most `MARGIN` below
    the baseline's. How mixed: mean entanglement of the hidden layers there, at its exact minimum.
    Where all cost something it is the most accurate.
    """
    rest, held = split(train, sizes.held_out, settings.seed + _SEARCH_SEED)
    rest = limited(rest, sizes)
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
    best = _best(rows)
    rows = [row | {"chosen": number == best} for number, row in enumerate(rows)]
    return sizes.candidates[best - 1], rows


def limited(data: TrainingData, sizes: PairSizes) -> TrainingData:
    """What networks are trained on: ``train_rows`` of the data at most, drawn at random."""
    if sizes.train_rows is None or sizes.train_rows >= len(data.images):
        return data
    return split(data, len(data.images) - sizes.train_rows, 0)[0]


def _best(rows: list[Row]) -> int:
    """The number of the row to choose; the baseline is row 0 and cannot be chosen."""
    accuracies = [row["validation_accuracy"] for row in rows]
    # rounding must not decide on the margin itself
    floor = accuracies[0] - MARGIN - 1e-9
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
        schedule=sizes.schedule,
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
