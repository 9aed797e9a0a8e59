"""The networks that this project trains itself, for images of any size and number of classes.

All take images ``(n, channels, height, width)`` in [0, 1] and give logits ``(n, classes)``. The
activations are functions, so that saved networks call them by what they follow: ``conv1>relu``.
``hidden_layers`` names those that the entangled loss takes (see ``taps``).

The paper's network for the digits has two convolutions and three linear layers; its widths are not
printed. Ours: 32 maps (5x5, stride 2), 64 maps (3x3, stride 2), then 128 and 64 units.

Reference: arXiv 1902.01889, section 4.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.errors import UsageError
from entangle_cli.text import suggestion
from entangle_cli.training.resnet import ResNet15

Shape = tuple[int, int, int]


class DigitsNet(nn.Module):
    """A LeNet-like network: two convolutions with pooling, two linear layers.

    Meant for 8 x 8 gray images; any other of at least 4 x 4 will do.
    """

    hidden_layers = ("conv1>relu", "conv2>relu", "fc1>relu")

    def __init__(self, shape: Shape = (1, 8, 8), classes: int = 10) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 4:
            raise UsageError(f"images of {height}x{width}: digits takes 4x4 and more; use cnn")
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * (height // 4) * (width // 4), 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        maps = F.max_pool2d(F.relu(self.conv1(images)), 2)
        maps = F.max_pool2d(F.relu(self.conv2(maps)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(maps, 1))))


class CNN(nn.Module):
    """Two convolutions and three linear layers, as in the paper; widths as this module says."""

    hidden_layers = ("conv1>relu", "conv2>relu", "fc1>relu", "fc2>relu")

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.conv1 = nn.Conv2d(channels, 32, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(64 * math.ceil(height / 4) * math.ceil(width / 4), 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        maps = F.relu(self.conv2(F.relu(self.conv1(images))))
        hidden = F.relu(self.fc2(F.relu(self.fc1(torch.flatten(maps, 1)))))
        return self.fc3(hidden)


class MLP(nn.Module):
    """Linear layers with ReLU between them, on the pixels in a row."""

    def __init__(self, shape: Shape, classes: int, *, hidden: tuple[int, ...] = (256, 128)) -> None:
        super().__init__()
        widths = (math.prod(shape), *hidden)
        for number in range(1, len(widths)):
            self.add_module(f"fc{number}", nn.Linear(widths[number - 1], widths[number]))
        self.add_module(f"fc{len(widths)}", nn.Linear(widths[-1], classes))
        self.hidden_layers = tuple(f"fc{number}>relu" for number in range(1, len(widths)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        values = torch.flatten(images, 1)
        *hidden, last = self.children()
        for layer in hidden:
            values = F.relu(layer(values))
        return last(values)


Builder = Callable[[Shape, int], nn.Module]
NETWORKS: dict[str, Builder] = {
    "cnn": CNN,
    "mlp": MLP,
    "digits": DigitsNet,
    "resnet15": ResNet15,
}


def build_network(network: str | Builder, shape: Shape, classes: int, seed: int = 0) -> nn.Module:
    """A network for images ``(channels, height, width)``, its weights drawn from ``seed``.

    ``network``: a name, or what makes it from the shape and the number of classes.

    Raises:
        UsageError: no such network, or images it cannot take.
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise UsageError(
                f"network {network!r} is unknown{suggestion(network, NETWORKS)}; "
                f"give {', '.join(NETWORKS)}"
            )
        network = NETWORKS[network]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network(shape, classes)
