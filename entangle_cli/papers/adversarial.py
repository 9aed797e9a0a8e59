"""Training on adversarial inputs: every batch is attacked before the network learns from it.

The attack is PGD within a ball of the maximum norm around the pixels, against the network as it is
at that step. The ball grows linearly to ``epsilon`` over the first ``warm_up`` steps: from random
weights, small networks do not leave chance level in the full ball.

Reference: Madry et al., arXiv 1706.06083 (MNIST: epsilon 0.3, 40 steps of 0.01).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entangle_cli.attacks.sign import Ball, pgd
from entangle_cli.training.loop import Training
from entangle_cli.training.settings import TrainingSettings


@dataclass(frozen=True)
class InnerAttack:
    """PGD of ``steps`` steps of ``step_size`` within ``epsilon``, in pixels of [0, 1]."""

    epsilon: float = 0.3
    steps: int = 40
    step_size: float = 0.01
    warm_up: int = 0


class AdversarialTraining(Training):
    """`Training` on inputs that `InnerAttack` has moved; resumable like it.

    The random start of a step follows from the seed and the number of the step.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        settings: TrainingSettings,
        *,
        device: str = "cpu",
        attack: InnerAttack,
    ) -> None:
        super().__init__(network, images, labels, settings, device=device)
        self.attack = attack

    def seen(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch as the attack leaves it, and its labels."""
        inputs, labels = super().seen(rows)
        share = min(1.0, (self.step + 1) / self.attack.warm_up) if self.attack.warm_up else 1.0
        seed = (self.settings.seed << 32) + self.step
        return moved_within(self.network, inputs, labels, self.attack, share, seed), labels


def moved_within(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    attack: InnerAttack,
    share: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Inputs moved by PGD, within ``share`` of the ball, in evaluation mode."""
    was_training = network.training
    network.eval()
    zero = torch.zeros((), device=inputs.device)
    ball = Ball(zero + attack.epsilon * share, zero, zero + 1)
    found = pgd(
        network,
        inputs,
        labels,
        ball,
        step_size=attack.step_size * share,
        steps=attack.steps,
        seed=seed,
    )
    network.train(was_training)
    return found.inputs
