"""Attacks on a data set part by part; what becomes of a part depends on no other.

*Conventions*: pixels ``(n, c, h, w)`` float32 in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entangle_cli.attacks.gradients import Network
from entangle_cli.attacks.methods import Plan, attack
from entangle_cli.attacks.pixels import PixelFeed
from entangle_cli.attacks.sign import Attacked
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import ModelError


@dataclass(frozen=True, eq=False)
class Attacker:
    """Attacks ranges of labeled images by the gradients of one network.

    Attributes:
        network: class scores ``(n, C)`` of what ``feed`` gives.
        feed: from pixels to the network's input.
        dataset: the images, every one with a label.
        target: the class to move towards; None: away from the labels.
        seed: of random starts.
        device: where the network is.
    """

    network: Network
    feed: PixelFeed
    dataset: Dataset
    target: int | None
    seed: int
    device: str

    def pixels(self, part: slice) -> Tensor:
        """The images of a part, on the CPU."""
        return self.feed.pixels(self.dataset.images(np.arange(part.start, part.stop)))

    def attack(self, part: slice, plan: Plan) -> Attacked:
        """The images of a part, changed as ``plan`` says.

        Raises:
            ModelError: the network has no gradients here.
        """
        pixels = self.pixels(part).to(self.device)
        labels = torch.from_numpy(self.dataset.labels[part]).to(pixels.device)
        if plan.targeted:
            labels = torch.full_like(labels, self.target)

        def scores(pixels: Tensor) -> Tensor:
            return self.network(self.feed(pixels))

        try:
            return attack(scores, pixels, labels, plan, seed=self.seed + part.start)
        except (RuntimeError, IndexError) as error:
            lines = str(error).strip().splitlines()
            raise ModelError(f"the network cannot be differentiated here: {lines[-1]}") from None
