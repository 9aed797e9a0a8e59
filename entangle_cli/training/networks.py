"""The small networks that this project trains itself."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """A LeNet-like network for 8 x 8 gray images: two convolutions, two linear layers.

    images (n, 1, 8, 8) in [0, 1] -> logits (n, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        maps = F.max_pool2d(F.relu(self.conv1(images)), 2)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(maps, 1))))
