"""Which alpha, learning rate and initial temperature to try next, by a Gaussian process.

*Space*: the learning rate and the initial temperature lie on a logarithmic scale. Alpha has both
signs and 0 between them: it is ``sign(x) smallest ((1 + largest / smallest)^|x| - 1)`` of a place x
in [-1, 1], logarithmic far from 0 and linear near it.

*Batches*: Optuna's `GPSampler` proposes some at once, each knowing where the others of its batch
lie. What it proposes follows from the seed, the number of the batch and the trials before it.

Needs the extra ``search``.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from entangle_cli.errors import UsageError

if TYPE_CHECKING:
    from optuna.distributions import FloatDistribution
    from optuna.study import Study

Trial = dict[str, Any]
Proposal = dict[str, float]


@dataclass(frozen=True)
class SearchSpace:
    """The ends of what is searched; ``alpha``: smallest and largest size, of both signs.

    Raises:
        UsageError: ends that are not positive and ascending.
    """

    alpha: tuple[float, float] = (1e-3, 1.0)
    learning_rate: tuple[float, float] = (1e-4, 1e-2)
    initial_temperature: tuple[float, float] = (1.0, 1e3)

    def __post_init__(self) -> None:
        for name, (low, high) in asdict(self).items():
            if not 0 < low < high < math.inf:
                raise UsageError(
                    f"{name.replace('_', ' ')} from {low:g} to {high:g}; give two positive sizes, "
                    "the smaller one first"
                )

    def alpha_of(self, place: float) -> float:
        """The alpha at a place in [-1, 1]."""
        smallest, largest = self.alpha
        size = smallest * math.expm1(abs(place) * math.log1p(largest / smallest))
        return math.copysign(size, place)

    def place_of(self, alpha: float) -> float:
        """The place in [-1, 1] of an alpha."""
        smallest, largest = self.alpha
        place = math.log1p(abs(alpha) / smallest) / math.log1p(largest / smallest)
        return math.copysign(min(place, 1.0), alpha)


@dataclass(frozen=True)
class SearchSettings:
    """How many trials, how many are proposed at a time, and where.

    The ``first`` trials are drawn at random. More trials of otherwise equal settings go on with a
    search; the batch that a search ended in is then filled first.

    Raises:
        UsageError: a number that makes no sense.
    """

    trials: int = 64
    batch: int = 4
    first: int = 8
    space: SearchSpace = SearchSpace()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("trials", "batch", "first"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}; give 1 or more")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed {self.seed}; give a number from 0 to 2147483647")


def need_optuna() -> None:
    """Say which extra is missing, where it is.

    Raises:
        UsageError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise UsageError("a search needs Optuna: pip install 'entangle-cli[search]'")


def propose(
    settings: SearchSettings, searched: Sequence[str], number: int, done: Sequence[Trial]
) -> list[Proposal]:
    """The proposals of batch ``number`` after ``done``, the trials of all batches before it.

    ``searched``: ``alpha``, and which of ``learning_rate`` and ``initial_temperature``. A trial has
    these and its ``validation_accuracy``.
    """
    distributions = _distributions(settings.space, searched)
    with warnings.catch_warnings():
        # the sampler announces what is experimental in it at each call
        warnings.simplefilter("ignore")
        study = _study(settings, distributions, number, done)
        asked = [study.ask(distributions).params for _ in range(settings.batch)]
    return [{**params, "alpha": settings.space.alpha_of(params["alpha"])} for params in asked]


def _study(
    settings: SearchSettings,
    distributions: "Mapping[str, FloatDistribution]",
    number: int,
    done: Sequence[Trial],
) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # a prime, so that other seeds do not meet other batches
    seed = (settings.seed * 1_000_003 + number) % 2**32
    sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=settings.first)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in done:
        params = {name: trial[name] for name in distributions}
        params["alpha"] = settings.space.place_of(trial["alpha"])
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=dict(distributions), value=trial["validation_accuracy"]
            )
        )
    return study


def _distributions(space: SearchSpace, searched: Sequence[str]) -> "dict[str, FloatDistribution]":
    from optuna.distributions import FloatDistribution

    scales = {
        name: FloatDistribution(*getattr(space, name), log=True)
        for name in searched
        if name != "alpha"
    }
    return {"alpha": FloatDistribution(-1.0, 1.0)} | scales
