"""Plain training with cross-entropy."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH_SIZE = 64
LEARNING_RATE = 2e-3


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    before_step: Callable[[int], None],
    seed: int = 0,
) -> None:
    """Train with Adam; ``before_step(i)`` is called for i in 0..steps, the last after training.

    images (n, ...) float32, labels (n,) int64. Batches are drawn with replacement from a
    generator seeded with ``seed``.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        before_step(step)
        batch = torch.randint(len(images), (BATCH_SIZE,), generator=generator)
        loss = F.cross_entropy(network(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before_step(steps)
