"""Gradients of the classification loss with respect to the input.

*Conventions*: inputs ``(n, ...)`` as the network takes them, class scores ``(n, C)``. Gradients of
several inputs are independent of each other: the loss is summed, not averaged.

A network that is sure gives cross-entropy gradients that round to zero, which looks like robustness
and is not. Inputs whose gradient is zero get that of the margin instead (the largest other score
less the label's own), which points the same way and does not vanish; they are counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class InputGradient:
    """Gradients ``(n, ...)`` of the loss, and how many inputs needed the margin or have none."""

    values: Tensor
    by_margin: int
    without: int


def input_gradient(network: Network, inputs: Tensor, labels: Tensor) -> InputGradient:
    """Where to move each input to raise its loss with ``labels`` ``(n,)``."""
    values = _gradient(lambda scores: F.cross_entropy(scores, labels, reduction="sum"))(
        network, inputs
    )
    flat = _vanished(values)
    by_margin = int(flat.sum())
    if by_margin:
        rows = torch.nonzero(flat)[:, 0]
        margin = _gradient(lambda scores: _margin(scores, labels[rows]))
        values[rows] = margin(network, inputs[rows])
    without = int(_vanished(values).sum())
    return InputGradient(values, by_margin, without)


def _gradient(loss: Callable[[Tensor], Tensor]) -> Callable[[Network, Tensor], Tensor]:
    def gradient(network: Network, inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = inputs.detach().clone().requires_grad_()
            # in float64 the softmax of a sure network rounds to one much later
            (values,) = torch.autograd.grad(loss(network(leaf).double()), leaf)
        return values.detach()

    return gradient


def _margin(scores: Tensor, labels: Tensor) -> Tensor:
    own = scores.gather(1, labels[:, None])[:, 0]
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(1)
    return (others - own).sum()


def _vanished(values: Tensor) -> Tensor:
    return ~values.flatten(1).any(1)
