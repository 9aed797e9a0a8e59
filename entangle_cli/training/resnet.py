"""A pre-activation ResNet with 15 convolutions, for images of 32 x 32 and around.

The paper trains a "ResNet v2" of 15 layers on CIFAR-10 without printing how they are arranged.
Ours: a convolution, then seven blocks of two (three of 16 maps, two of 32, two of 64, the first
block of the later stages with stride 2), normalization, the mean over space, a linear layer. Where
a block changes the shape its shortcut is a 1 x 1 convolution, which is not counted.

Reference: arXiv 1603.05027 for the order within a block; arXiv 1902.01889 for the depth.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (16, 16, 16, 32, 32, 64, 64)


class Block(nn.Module):
    """Normalize, ReLU, convolve, twice, added to the shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.shortcut = None
        if inside != outside or stride != 1:
            self.shortcut = nn.Conv2d(inside, outside, 1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, inside, h, w)`` -> ``(n, outside, h / stride, w / stride)``."""
        active = F.relu(self.norm1(maps))
        # where the shape changes the shortcut starts after the activation, as in the reference
        past = maps if self.shortcut is None else self.shortcut(active)
        return past + self.conv2(F.relu(self.norm2(self.conv1(active))))


class ResNet15(nn.Module):
    """Images ``(n, channels, height, width)`` -> logits ``(n, classes)``; see the module."""

    hidden_layers = tuple(f"block{number}" for number in range(1, len(_WIDTHS) + 1))

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(shape[0], _WIDTHS[0], 3, padding=1, bias=False)
        before = _WIDTHS[0]
        for number, width in enumerate(_WIDTHS, 1):
            stride = 1 if width == before else 2
            self.add_module(f"block{number}", Block(before, width, stride))
            before = width
        self.norm = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        maps = self.conv(images)
        for name in self.hidden_layers:
            maps = self.get_submodule(name)(maps)
        return self.fc(torch.mean(F.relu(self.norm(maps)), dim=(2, 3)))
