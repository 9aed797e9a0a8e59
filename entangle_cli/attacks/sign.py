"""FGSM, BIM and PGD: steps along the sign of the gradient, inside a ball of the maximum norm.

*Conventions*: ``epsilon`` and ``step_size`` are in units of the input, a number or a tensor that
broadcasts against it (per channel, where channels are scaled differently). Results stay within
``epsilon`` of the input and within ``low`` to ``high``. ``targeted`` moves towards the labels given
instead of away from them.

References: Goodfellow et al., arXiv 1412.6572 (FGSM); Kurakin et al., arXiv 1607.02533 (BIM);
Madry et al., arXiv 1706.06083 (PGD, a BIM from a random start).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from entangle_cli.attacks.gradients import Network, input_gradient
from entangle_cli.errors import MeasureError

Method = Literal["fgsm", "bim", "pgd"]


@dataclass(frozen=True)
class Ball:
    """How far inputs may be moved: by ``epsilon`` at most, and not outside ``low`` to ``high``."""

    epsilon: Tensor
    low: Tensor
    high: Tensor

    def project(self, moved: Tensor, inputs: Tensor) -> Tensor:
        """The nearest allowed point of each of ``moved``, for ``inputs`` of the same shape."""
        near = torch.maximum(torch.minimum(moved, inputs + self.epsilon), inputs - self.epsilon)
        return torch.maximum(torch.minimum(near, self.high), self.low)


@dataclass(frozen=True)
class Attacked:
    """Adversarial inputs ``(n, ...)``, and how many gradients vanished at the first step.

    The counts are None where an attack does not count them.
    """

    inputs: Tensor
    by_margin: int | None = None
    without: int | None = None


def fgsm(
    network: Network, inputs: Tensor, labels: Tensor, ball: Ball, *, targeted: bool = False
) -> Attacked:
    """One step to the border of the ball: ``x + epsilon sign(grad loss)``."""
    return bim(network, inputs, labels, ball, step_size=ball.epsilon, steps=1, targeted=targeted)


def bim(  # noqa: PLR0913 - the options of one attack
    network: Network,
    inputs: Tensor,
    labels: Tensor,
    ball: Ball,
    *,
    step_size: Tensor | float,
    steps: int,
    targeted: bool = False,
    start: Tensor | None = None,
) -> Attacked:
    """Repeated steps of ``step_size``, each projected into the ball around ``inputs``.

    ``start``: where to begin, ``inputs`` if not given.

    Raises:
        MeasureError: no steps.
    """
    if steps < 1:
        raise MeasureError(f"{steps} steps; an attack needs at least one")
    moved = inputs if start is None else ball.project(start, inputs)
    direction = -1.0 if targeted else 1.0
    first = None
    for _ in range(steps):
        gradient = input_gradient(network, moved, labels)
        first = first or gradient
        moved = ball.project(moved + direction * step_size * gradient.values.sign(), inputs)
    return Attacked(moved, first.by_margin, first.without)


def pgd(  # noqa: PLR0913 - the options of one attack
    network: Network,
    inputs: Tensor,
    labels: Tensor,
    ball: Ball,
    *,
    step_size: Tensor | float,
    steps: int,
    seed: int = 0,
    targeted: bool = False,
) -> Attacked:
    """BIM from a random start, uniform in the ball, the same for the same ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(inputs.shape, generator=generator, dtype=inputs.dtype) * 2 - 1
    start = inputs + noise.to(inputs.device) * ball.epsilon
    return bim(
        network,
        inputs,
        labels,
        ball,
        step_size=step_size,
        steps=steps,
        targeted=targeted,
        start=start,
    )
