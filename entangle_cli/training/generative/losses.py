"""What generators and their discriminators descend; all losses are means over a batch.

With scores D (higher = more real), x real and g generated:

===============  ==================================================  ====================
kind             discriminator                                       generator
===============  ==================================================  ====================
``nonsaturating``  softplus(-D(x)) + softplus(D(g))                    softplus(-D(g))
``hinge``          relu(1 - D(x)) + relu(1 + D(g))                     -D(g)
``wgan-gp``        D(g) - D(x) + penalty (|grad D(m)| - 1)^2           -D(g)
===============  ==================================================  ====================

m lies at a random place between x and g. `real_and_generated` is the two-class soft nearest
neighbor loss, higher = harder to tell apart; the generator descends its negative.

References: arXiv 1406.2661, 1705.02894, 1704.00028, 1902.01889.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.training.soft_nearest_neighbors import SoftNearestNeighborLoss

# a root has no gradient at 0: a penalty where the gradient of the critic vanishes
_TINY = 1e-12


def discriminator_loss(kind: str, real: Tensor, generated: Tensor) -> Tensor:
    """Loss of scores ``(n,)`` of real and ``(m,)`` of generated images, without the penalty."""
    if kind == "nonsaturating":
        return F.softplus(-real).mean() + F.softplus(generated).mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + generated).mean()
    return generated.mean() - real.mean()


def generator_loss(kind: str, generated: Tensor) -> Tensor:
    """Loss of the generator whose images got the scores ``(m,)``."""
    if kind == "nonsaturating":
        return F.softplus(-generated).mean()
    return -generated.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, generated: Tensor, place: Tensor
) -> Tensor:
    """``mean (|gradient| - 1)^2`` between the images; ``place`` ``(n,)`` in [0, 1], 0 = real."""
    share = place.reshape(-1, *[1] * (real.ndim - 1))
    between = torch.lerp(real, generated, share).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    length = (gradient.flatten(1).square().sum(1) + _TINY).sqrt()
    return (length - 1).square().mean()


def real_and_generated(
    criterion: SoftNearestNeighborLoss, real: Tensor, generated: Tensor
) -> tuple[Tensor, float | Tensor]:
    """Soft nearest neighbor loss of points ``(n, ...)`` and ``(m, ...)`` as two classes.

    The loss and its temperature, as ``SoftNearestNeighborLoss.with_temperature`` has them.

    Raises:
        MeasureError: points of different dimension.
    """
    real, generated = real.flatten(1), generated.flatten(1)
    if real.shape[1] != generated.shape[1]:
        raise MeasureError(
            f"real points of {real.shape[1]} numbers, generated ones of {generated.shape[1]}; "
            "both need one size"
        )
    labels = torch.zeros(len(real) + len(generated), dtype=torch.long, device=real.device)
    labels[len(real) :] = 1
    return criterion.with_temperature(torch.cat([real, generated]), labels)
