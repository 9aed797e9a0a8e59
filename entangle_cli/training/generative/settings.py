"""What a generator is trained with; equal settings and images give equal bytes.

===============  ===================================================================
kind             what the generator ascends, and against what
===============  ===================================================================
``nonsaturating``  log of the discriminator's probability of "real" (arXiv 1406.2661)
``hinge``          the score of a discriminator with margin 1 (arXiv 1705.02894)
``wgan-gp``        the score of a critic with gradient penalty (arXiv 1704.00028)
``pixels``         SNNL of real and generated images in pixel space, no discriminator
``space``          the same in a space of 10 numbers in which a network descends it
===============  ===================================================================

The last two are those of arXiv 1902.01889 (section 4 and its appendix): the soft nearest neighbor
loss of a batch of real and a batch of generated images as two classes.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from entangle_cli.errors import UsageError
from entangle_cli.training.soft_nearest_neighbors import Metric, Policy

Kind = Literal["nonsaturating", "hinge", "wgan-gp", "pixels", "space"]
KINDS: tuple[Kind, ...] = ("nonsaturating", "hinge", "wgan-gp", "pixels", "space")
GANS: tuple[Kind, ...] = KINDS[:3]


@dataclass(frozen=True)
class GeneratorSettings:
    """One run of one kind; Adam with betas 0.5 and 0.9 for both networks.

    ``batch_size`` real and as many generated images a step. ``latent``: numbers of the standard
    normal noise. ``width``: feature maps next to the images; deeper layers have twice as many.
    ``critic_steps`` of the discriminator per step of the generator: 1, for ``wgan-gp`` 3 where
    None. ``temperature``, ``metric`` and ``space`` (how many numbers) matter to the two kinds that
    use the SNNL; see ``SoftNearestNeighborLoss``. Snapshots are taken at the steps ``snapshots`` of
    ``samples`` images each, all from the same noise. A row of history every ``record_every``.

    The lowest temperature of two sets that lie apart is 0 and has no gradient: ``minimum`` never
    starts in ``pixels``. ``space`` needs distances with a bound: ``cosine``, temperature 0.5.

    Raises:
        UsageError: a number that makes no sense, or an unknown kind.
    """

    kind: Kind = "nonsaturating"
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 5e-4
    latent: int = 64
    width: int = 16
    critic_steps: int | None = None
    penalty: float = 10.0
    temperature: Policy = "median"
    metric: Metric = "euclidean"
    space: int = 10
    snapshots: tuple[int, ...] = ()
    samples: int = 256
    record_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"generator {self.kind!r}; give {', '.join(KINDS)}")
        least = dict.fromkeys(("steps", "latent", "width", "space", "samples", "record_every"), 1)
        for name, number in (least | {"batch_size": 2, "critic_steps": 1}).items():
            value = getattr(self, name)
            if value is not None and value < number:
                raise UsageError(f"{_words(name)} {value}; give {number} or more")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.penalty < math.inf:
            raise UsageError(
                f"learning rate {self.learning_rate}, penalty {self.penalty}; give a positive "
                "number and one of 0 or more"
            )
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed {self.seed}; give a number from 0 to 2147483647")
        if any(not 0 <= step <= self.steps for step in self.snapshots):
            raise UsageError(f"snapshots {self.snapshots}; give steps from 0 to {self.steps}")

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps of the snapshots, ascending; six evenly where none are given."""
        even = (round(i * self.steps / 5) for i in range(6))
        return tuple(sorted(set(self.snapshots or even)))

    @property
    def discriminator_steps(self) -> int:
        """How often the discriminator moves per step of the generator."""
        if self.kind == "pixels":
            return 0
        if self.critic_steps is not None:
            return self.critic_steps
        return 3 if self.kind == "wgan-gp" else 1

    def to_json(self) -> dict[str, Any]:
        """The settings by name, as JSON has them."""
        return asdict(self) | {"snapshots": list(self.snapshots)}


def _words(name: str) -> str:
    return name.replace("_", " ")
