"""Every attack by its name, on pixels.

*Conventions*: pixels ``(n, c, h, w)`` float32 in [0, 1], class scores ``(n, C)``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entangle_cli.attacks.gradients import Network
from entangle_cli.attacks.served import (
    AUTO_ATTACK,
    CARLINI_WAGNER,
    auto_attack,
    carlini_wagner,
    need_toolbox,
)
from entangle_cli.attacks.sign import Attacked, Ball, bim, fgsm, pgd
from entangle_cli.errors import UsageError

SERVED = (CARLINI_WAGNER, AUTO_ATTACK)


@dataclass(frozen=True)
class Plan:
    """An attack; ``epsilon`` and ``step_size`` in pixels, None as ``steps`` where it has none.

    ``targeted``: towards the labels given, not away from them.
    """

    method: str
    epsilon: float | None
    step_size: float | None
    steps: int | None
    targeted: bool = False

    @property
    def words(self) -> str:
        """The method and its limit, for people."""
        return self.method if self.epsilon is None else f"{self.method}, epsilon {self.epsilon:g}"


def make_plan(
    method: str,
    epsilon: float | None,
    *,
    steps: int,
    step_size: float | None = None,
    targeted: bool = False,
) -> Plan:
    """The plan of a method; ``step_size`` None: 2.5 epsilon / steps for bim and pgd."""
    if method == "fgsm":
        return Plan(method, epsilon, epsilon, 1, targeted)
    if method in SERVED:
        return Plan(method, epsilon, None, None if method == AUTO_ATTACK else steps, targeted)
    # the whole ball can be crossed in the steps there are
    default = 2.5 * epsilon / steps
    return Plan(method, epsilon, default if step_size is None else step_size, steps, targeted)


def check_plan(method: str, *, epsilon: bool, step_size: bool, target: bool) -> None:
    """That a method takes what was given: each is whether the option was.

    Raises:
        UsageError: an option that the method has no use for, or an extra that is missing.
    """
    if method == CARLINI_WAGNER and epsilon:
        raise UsageError(
            "--epsilon: carlini-wagner looks for the smallest change and has no limit; leave it out"
        )
    if method == AUTO_ATTACK and target:
        raise UsageError("--target: auto-attack moves away from the labels only; leave it out")
    if method in SERVED:
        if step_size:
            raise UsageError(f"--step-size: {method} finds its own; leave it out")
        need_toolbox(method)


def vanished(found: Sequence[Attacked]) -> dict[str, int]:
    """How many gradients vanished, over all batches; empty where the method does not count them."""
    if any(one.without is None for one in found):
        return {}
    return {
        "by_margin": sum(one.by_margin for one in found),
        "without_gradient": sum(one.without for one in found),
    }


def attack(network: Network, pixels: Tensor, labels: Tensor, plan: Plan, *, seed: int) -> Attacked:
    """Pixels changed as ``plan`` says, for labels ``(n,)``.

    Raises:
        UsageError: the method's extra is not installed.
    """
    if plan.method == CARLINI_WAGNER:
        return Attacked(
            carlini_wagner(network, pixels, labels, steps=plan.steps, targeted=plan.targeted)
        )
    if plan.method == AUTO_ATTACK:
        return Attacked(auto_attack(network, pixels, labels, epsilon=plan.epsilon, seed=seed))
    ball = Ball(*(torch.tensor(value, device=pixels.device) for value in (plan.epsilon, 0.0, 1.0)))
    if plan.method == "fgsm":
        return fgsm(network, pixels, labels, ball, targeted=plan.targeted)
    steps = {"step_size": plan.step_size, "steps": plan.steps, "targeted": plan.targeted}
    if plan.method == "bim":
        return bim(network, pixels, labels, ball, **steps)
    return pgd(network, pixels, labels, ball, **steps, seed=seed)
