"""Generator and discriminator for images of about 8 x 8 to 32 x 32, small enough for a CPU.

Pixels are in [-1, 1]. The generator makes maps a quarter as high and wide from noise and doubles
them twice by transposed convolutions, cutting what is over; the discriminator halves twice. Leaky
ReLU in both; batch normalization in the generator alone, as the gradient penalty is per image.

Reference: arXiv 1511.06434 for this shape of network.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 0.2
Shape = tuple[int, int, int]


class Generator(nn.Module):
    """Noise ``(n, latent)`` -> images ``(n, channels, height, width)`` in [-1, 1]."""

    def __init__(self, shape: Shape, latent: int, width: int) -> None:
        super().__init__()
        channels, self.height, self.width = shape
        self.start = (2 * width, math.ceil(self.height / 4), math.ceil(self.width / 4))
        self.fc = nn.Linear(latent, math.prod(self.start))
        self.norm1 = nn.BatchNorm2d(2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(width)
        self.up2 = nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1)

    def forward(self, noise: Tensor) -> Tensor:
        """Images of a batch of noise."""
        maps = F.leaky_relu(self.norm1(self.fc(noise).reshape(-1, *self.start)), _SLOPE)
        maps = F.leaky_relu(self.norm2(self.up1(maps)), _SLOPE)
        return torch.tanh(self.up2(maps)[:, :, : self.height, : self.width])


class Discriminator(nn.Module):
    """Images ``(n, channels, height, width)`` in [-1, 1] -> ``(n, outputs)``."""

    def __init__(self, shape: Shape, outputs: int, width: int) -> None:
        super().__init__()
        channels, height, wide = shape
        self.conv1 = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        size = 2 * width * (height // 2 // 2) * (wide // 2 // 2)
        self.fc = nn.Linear(size, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Scores, or places in the learned space."""
        maps = F.leaky_relu(self.conv1(images), _SLOPE)
        return self.fc(torch.flatten(F.leaky_relu(self.conv2(maps), _SLOPE), 1))
