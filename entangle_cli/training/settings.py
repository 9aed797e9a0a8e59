"""What a training run is made of; two runs of equal settings and data are the same run."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from entangle_cli.errors import UsageError
from entangle_cli.training.soft_nearest_neighbors import Metric, Policy

Schedule = Literal["constant", "linear"]


@dataclass(frozen=True)
class TrainingSettings:
    """Adam on cross-entropy plus ``alpha`` times the soft nearest neighbor loss of hidden layers.

    ``layers``, ``temperature``, ``metric`` and ``initial_temperature`` are those of
    ``EntangledObjective``; ``temperature_rate`` is the learning rate of learned temperatures.
    ``schedule`` linear: the learning rate of the network falls in a straight line, to 0 after the
    last step. ``seed`` orders the batches. Every ``record_every`` steps a row of history is kept.

    Raises:
        UsageError: a number that makes no sense.
    """

    steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    alpha: float = 0.0
    layers: tuple[str, ...] = ()
    temperature: Policy = "minimum"
    metric: Metric = "euclidean"
    initial_temperature: float | None = None
    temperature_rate: float = 0.01
    record_every: int = 10
    seed: int = 0
    schedule: Schedule = "constant"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "record_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{_words(name)} {getattr(self, name)}; give 1 or more")
        for name in ("learning_rate", "temperature_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{_words(name)} {getattr(self, name)}; give a positive number")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed {self.seed}; give a number from 0 to 2147483647")
        if not math.isfinite(self.alpha):
            raise UsageError(f"alpha {self.alpha}; give a number")
        if self.schedule not in get_args(Schedule):
            raise UsageError(f"schedule {self.schedule!r}; give constant or linear")

    def rate(self, step: int) -> float:
        """The learning rate of the network at a step, counted from 0."""
        if self.schedule == "linear":
            return self.learning_rate * (1 - step / self.steps)
        return self.learning_rate

    def to_json(self) -> dict[str, Any]:
        """The settings by name, as JSON has them."""
        found = asdict(self) | {"layers": list(self.layers)}
        if self.schedule == "constant":
            # runs that began before there was a choice go on
            del found["schedule"]
        return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What two descriptions of a run disagree on, in words; empty where they agree."""
    names = dict.fromkeys([*before, *now])
    return ", ".join(
        f"{_words(name)} {before.get(name)!r} then, {now.get(name)!r} now"
        for name in names
        if before.get(name) != now.get(name)
    )


def _words(name: str) -> str:
    return name.replace("_", " ")
