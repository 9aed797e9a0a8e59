"""Small networks that each hold one difficulty, and the ways to save them.

`CASES` pairs every network with its inputs, the file formats it can be saved in and, where the
naming rule leaves no doubt, the layer names expected in the default selection.
"""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# ------------------------------------------------------------------ straight convolutional nets
class LeNet(nn.Module):
    """Activation and pooling are functions: no module bears their names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(64, 40)
        self.fc2 = nn.Linear(40, 24)
        self.fc3 = nn.Linear(24, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(F.relu(self.fc2(x)))


class InplaceLeNet(nn.Module):
    """Every activation overwrites the output of the layer before it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2 = nn.ReLU(inplace=True)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(64, 40)
        self.relu3 = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(40, 10)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        return self.fc2(self.relu3(self.fc1(torch.flatten(x, 1))))


class ReusedReLU(nn.Module):
    """One activation and one pooling module serve the whole network."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(64, 40)
        self.fc2 = nn.Linear(40, 10)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        return self.fc2(self.relu(self.fc1(torch.flatten(x, 1))))


class VGG(nn.Module):
    """Numbered modules inside two Sequential containers, dropout included."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(12 * 16, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def mlp():
    """A plain Sequential: every path is a number."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 10)
    )


class Underscored(nn.Module):
    """Names that look like the second call of another module, and are not."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv_1 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3)
        self.relu, self.relu_1 = nn.ReLU(), nn.ReLU()
        self.block, self.block_1 = Residual(6), Residual(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu_1(self.conv_1(self.relu(self.conv(x)))).mean((2, 3))
        return self.head(self.block_1(self.block(x)))


def deep():
    """More layers than the default selection shows."""
    layers = [m for _ in range(25) for m in (nn.Linear(16, 16), nn.ELU())]
    return nn.Sequential(*layers, nn.Linear(16, 4))


class BatchNorms(nn.Module):
    """Normalisation before the activation, after it, without one, and on vectors."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.conv4, self.bn4 = nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.fc1, self.bn5 = nn.Linear(72, 24), nn.BatchNorm1d(24)
        self.fc2 = nn.Linear(24, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.bn2(F.relu(self.conv2(x)))
        x = self.bn4(self.conv4(self.bn3(self.conv3(x))))
        x = F.relu(self.bn5(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


class Pair(nn.Module):
    """Two matrices without modules of their own."""

    def __init__(self, width):
        super().__init__()
        self.up = nn.Parameter(torch.randn(2 * width, width) / 3)
        self.down = nn.Parameter(torch.randn(width, 2 * width) / 3)

    def forward(self, x):
        return F.linear(F.relu(F.linear(x, self.up)), self.down)


class RawParameters(nn.Module):
    """A module with two matrices, and a matrix that belongs to the network itself."""

    def __init__(self):
        super().__init__()
        self.pair = Pair(8)
        self.mix = nn.Parameter(torch.randn(8, 8) / 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.pair(x) @ self.mix))


# ------------------------------------------------------------------------- shared and residual
class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.lin = nn.Linear(width, width)

    def forward(self, x):
        return x + F.relu(self.lin(x))


class SharedBlock(nn.Module):
    """The same block three times in a row, with the same weights."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(20, 16)
        self.block = Residual(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.block(self.block(self.block(x)))
        return self.head(x)


class BasicBlock(nn.Module):
    """The block of torchvision's ResNet-18: in-place activations and ``+=``."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = None
        if stride != 1 or inside != outside:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(width, width, 1)
        self.layer2 = self._stage(width, 2 * width, 2)
        self.layer3 = self._stage(2 * width, 4 * width, 2)
        self.layer4 = self._stage(4 * width, 8 * width, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width, 10)

    @staticmethod
    def _stage(inside, outside, stride):
        return nn.Sequential(BasicBlock(inside, outside, stride), BasicBlock(outside, outside, 1))

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class FunctionalBlock(nn.Module):
    """The CIFAR block: functional activations, a shortcut that may be empty."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = out + self.shortcut(x)
        return F.relu(out)


class CifarResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(FunctionalBlock(8, 8, 1), FunctionalBlock(8, 8, 1))
        self.layer2 = nn.Sequential(FunctionalBlock(8, 16, 2), FunctionalBlock(16, 16, 1))
        self.linear = nn.Linear(16, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.layer1(x))
        x = F.adaptive_avg_pool2d(x, 1)
        return self.linear(torch.flatten(x, 1))


class Pools(nn.Module):
    """Exporters write one and the same pooling as different operations."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.conv3 = nn.Conv2d(8, 10, 3, padding=1)
        self.fc1 = nn.Linear(10, 24)
        self.fc2 = nn.Linear(4, 5)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(F.relu(self.conv1(x)), 8)
        x = F.adaptive_max_pool2d(F.relu(self.conv2(x)), 4)
        x = F.adaptive_max_pool2d(F.relu(self.conv3(x)), 1)
        x = self.fc1(torch.flatten(x, 1))
        return self.fc2(x.view(-1, 4, 6).amax(2))


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; a residual only where the shapes allow it."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        hidden = inside * 2
        self.residual = stride == 1 and inside == outside
        self.conv = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(inside, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True)
            ),
            nn.Sequential(
                nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU6(True),
            ),
            nn.Conv2d(hidden, outside, 1, bias=False),
            nn.BatchNorm2d(outside),
        )

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True)
            ),
            InvertedResidual(8, 8, 1),
            InvertedResidual(8, 12, 2),
            InvertedResidual(12, 12, 1),
            nn.Sequential(
                nn.Conv2d(12, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(inplace=True)
            ),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x):
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        return self.classifier(torch.flatten(x, 1))


class DenseBlock(nn.Module):
    """Every layer reads the concatenation of all before it."""

    def __init__(self, inside, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, growth, 3, 1, 1)
        wider = inside + growth
        self.norm2, self.conv2 = nn.BatchNorm2d(wider), nn.Conv2d(wider, growth, 3, 1, 1)

    def forward(self, x):
        x = torch.cat([x, self.conv1(F.relu(self.norm1(x)))], 1)
        return torch.cat([x, self.conv2(F.relu(self.norm2(x)))], 1)


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1)
        self.block1 = DenseBlock(8, 4)
        self.transition = nn.Sequential(nn.Conv2d(16, 8, 1), nn.AvgPool2d(2))
        self.block2 = DenseBlock(8, 4)
        self.norm = nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 10)

    def forward(self, x):
        x = self.block2(self.transition(self.block1(self.stem(x))))
        x = F.adaptive_avg_pool2d(F.relu(self.norm(x)), 1)
        return self.classifier(torch.flatten(x, 1))


class SqueezeExcite(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Conv2d(width, 4, 1)
        self.fc2 = nn.Conv2d(4, width, 1)

    def forward(self, x):
        scale = F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.fc2(scale))


class SENet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.se1 = nn.Conv2d(3, 8, 3, 2, 1), SqueezeExcite(8)
        self.conv2, self.se2 = nn.Conv2d(8, 16, 3, 2, 1), SqueezeExcite(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.se1(F.silu(self.conv1(x)))
        x = self.se2(F.silu(self.conv2(x)))
        return self.head(x.mean((2, 3)))


class DoubleConv(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(inside, outside, 3, 1, 1),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.net(x)


class UNet(nn.Module):
    """Two levels down, two up, with skips; the output is an image."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down1, self.down2 = DoubleConv(1, 4), DoubleConv(4, 8)
        self.bottom = DoubleConv(8, 16)
        self.up2, self.dec2 = nn.ConvTranspose2d(16, 8, 2, 2), DoubleConv(16, 8)
        self.up1, self.dec1 = nn.ConvTranspose2d(8, 4, 2, 2), DoubleConv(8, 4)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        first = self.down1(x)
        second = self.down2(self.pool(first))
        x = self.bottom(self.pool(second))
        x = self.dec2(torch.cat([self.up2(x), second], 1))
        x = self.dec1(torch.cat([self.up1(x), first], 1))
        return self.out(x)


# ------------------------------------------------------------------------------- sequences
class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, t, d = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5, -1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, t, d))


class EncoderBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patch convolution, class token, position embedding, own attention."""

    def __init__(self, width=16, depth=3):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.pos = nn.Parameter(torch.randn(1, 17, width))
        self.blocks = nn.Sequential(*[EncoderBlock(width, 2) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


class CopiedBlocks(nn.Module):
    """Blocks that start as copies of one: exporters store equal weights once."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 16)
        block = EncoderBlock(16, 2)
        self.blocks = nn.Sequential(*[copy.deepcopy(block) for _ in range(3)])
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.blocks(self.embed(x)).mean(1))


class TokenLSTM(nn.Module):
    """Token ids in, one answer from the last step out."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.lstm = nn.LSTM(12, 16, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens):
        steps, _ = self.lstm(self.embedding(tokens))
        return self.head(steps[:, -1])


class TiedEncoder(nn.Module):
    """Tokens with padding, a mask made from them, and one matrix at both ends."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(30, 16), nn.Embedding(7, 16)
        self.layers = nn.ModuleList([MaskedBlock(16) for _ in range(2)])
        self.norm = nn.LayerNorm(16)
        self.decoder = nn.Linear(16, 30, bias=False)
        self.decoder.weight = self.tokens.weight

    def forward(self, tokens):
        mask = (tokens == 0).unsqueeze(1)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(positions)
        for layer in self.layers:
            x = layer(x, mask)
        return self.decoder(self.norm(x))


class MaskedBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x, mask):
        scores = torch.matmul(self.query(x), self.key(x).transpose(1, 2)) / 4.0
        weights = torch.softmax(scores.masked_fill(mask, -10000.0), -1)
        x = x + self.out(torch.matmul(weights, self.value(x)))
        return self.norm(x)


class Recurrent(nn.Module):
    """Two layers in both directions over a real-valued sequence; the mean over time."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.gru = nn.GRU(8, 10, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(20, 4)

    def forward(self, x):
        x = F.gelu(self.conv(x)).transpose(1, 2)
        steps, _ = self.gru(x)
        return self.head(steps.mean(1))


# ------------------------------------------------------------------- inputs, outputs, branches
class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2)
        self.dense = nn.Linear(6, 8)
        self.head = nn.Linear(8 * 49 + 8, 10)

    def forward(self, image, features):
        seen = torch.flatten(F.relu(self.conv(image)), 1)
        told = F.relu(self.dense(features))
        return self.head(torch.cat([seen, told], 1))


class ControlFlow(nn.Module):
    """A loop over a ModuleList, a data-dependent branch and a data-dependent loop."""

    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.loop = nn.Linear(8, 8)
        self.extra = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for step in self.steps:
            x = F.relu(step(x))
        if bool(x.sum() > -1.0):
            x = torch.tanh(self.extra(x))
        rounds = 0
        while rounds < 3:
            x = x + torch.tanh(self.loop(x))
            rounds += 1
        return self.head(x)


class TupleOutput(nn.Module):
    """Logits first, then two auxiliary tensors."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.aux = nn.Linear(20, 16), nn.Linear(16, 5), nn.Linear(16, 3)

    def forward(self, x):
        hidden = F.relu(self.fc1(x))
        return self.fc2(hidden), (hidden, self.aux(hidden))


class DictOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(20, 16), nn.Linear(16, 5)

    def forward(self, x):
        hidden = torch.tanh(self.fc1(x))
        return {"logits": self.fc2(hidden), "hidden": hidden}


# --------------------------------------------------------------------------------- the cases
# of the 26 rows of the deep network 20 are shown, first and last among them, evenly spaced
DEEP_ENDS = (*range(1, 50, 2), 50)
DEEP_ROWS = tuple(str(DEEP_ENDS[round(i * 25 / 19)]) for i in range(20))
TORCHSCRIPT = ("trace", "script")
FROZEN = ("frozen-trace", "frozen-script")
ONNX = ("onnx-legacy", "onnx-dynamo")
EVERY = TORCHSCRIPT + FROZEN + ONNX
SUFFIX = {"onnx-legacy": ".onnx", "onnx-dynamo": ".onnx"}


@dataclass(frozen=True)
class Case:
    """A network, the shape of one sample per input, and what is known about its layers.

    ``rows`` are the default names by the rule, None where only the agreement between formats is
    required. ``tokens`` is the vocabulary size of integer inputs, 0 for real ones. ``apart`` are
    modules whose results do not depend on the inputs.
    """

    name: str
    build: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    rows: tuple[str, ...] | None = None
    sources: tuple[str, ...] = EVERY
    tokens: int = 0
    apart: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float32

    def network(self) -> nn.Module:
        """The network in eval mode, the same weights every time, batch statistics not trivial."""
        with torch.random.fork_rng():
            torch.manual_seed(len(self.name))
            network = self.build().eval()
            for module in network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 2)
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, 0, 0.2)
        return network.requires_grad_(False).to(self.dtype)

    def inputs(self, n: int = 4) -> tuple[Tensor, ...]:
        """A batch of n samples; the first rows do not depend on n."""
        generator = torch.Generator().manual_seed(1)
        if self.tokens:
            draw = [torch.randint(self.tokens, (8, *s), generator=generator) for s in self.shapes]
        else:
            draw = [torch.randn(8, *s, generator=generator).to(self.dtype) for s in self.shapes]
        return tuple(x[:n].contiguous() for x in draw)


IMAGE = ((3, 16, 16),)
CASES = {
    case.name: case
    for case in (
        Case(
            "lenet",
            LeNet,
            ((1, 16, 16),),
            ("conv1>maxpool", "conv2>maxpool", "fc1>relu", "fc2>relu", "fc3"),
        ),
        Case(
            "inplace-lenet",
            InplaceLeNet,
            ((1, 16, 16),),
            ("pool1", "pool2", "relu3", "fc2"),
        ),
        Case("reused-relu", ReusedReLU, ((1, 16, 16),), ("pool", "pool:1", "relu:2", "fc2")),
        Case(
            "vgg",
            VGG,
            IMAGE,
            ("features.2", "features.4", "features.7", "classifier.1", "classifier.3"),
        ),
        Case(
            "pools",
            Pools,
            IMAGE,
            ("conv1>avgpool", "conv2>maxpool", "conv3>maxpool", "fc1>maxpool", "fc2"),
        ),
        Case("mlp", mlp, ((1, 8, 8),), ("2", "4", "5")),
        Case("deep", deep, ((16,),), DEEP_ROWS, ("trace", "script", "onnx-legacy")),
        Case(
            "underscored",
            Underscored,
            IMAGE,
            ("relu", "conv_1>gap", "block", "block_1", "head"),
        ),
        Case(
            "batch-norms",
            BatchNorms,
            IMAGE,
            ("conv1>relu", "bn2", "bn3", "bn4", "fc1>relu", "fc2"),
        ),
        Case("raw-parameters", RawParameters, ((8,),), ("pair", "linear#1>tanh", "head")),
        Case(
            "shared-block",
            SharedBlock,
            ((20,),),
            ("stem>relu", "block", "block:1", "block:2", "head"),
        ),
        Case(
            "resnet18",
            ResNet18,
            ((3, 64, 64),),
            (
                "maxpool",
                *(f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)),
                "avgpool",
                "fc",
            ),
        ),
        Case(
            "cifar-resnet",
            CifarResNet,
            IMAGE,
            (
                "conv1>relu",
                *("layer1.0", "layer1.1", "layer2.0", "layer2.1"),
                "layer2.1>gap",
                "linear",
            ),
        ),
        Case(
            "mobilenet",
            MobileNet,
            IMAGE,
            (*(f"features.{i}" for i in range(5)), "features.4>gap", "classifier"),
        ),
        Case(
            "densenet",
            DenseNet,
            IMAGE,
            ("stem", "block1", "transition", "block2", "block2>gap", "classifier"),
        ),
        Case(
            "squeeze-excite",
            SENet,
            IMAGE,
            ("conv1>silu", "se1", "conv2>silu", "se2", "se2>gap", "head"),
        ),
        Case(
            "unet",
            UNet,
            ((1, 16, 16),),
            (
                *("down1.net.2", "pool", "down2.net.2", "pool:1", "bottom.net.2", "bottom.net.4"),
                *("up2>concat", "dec2.net.2", "dec2.net.4"),
                *("up1>concat", "dec1.net.2", "dec1.net.4", "out"),
            ),
        ),
        Case(
            "vit",
            ViT,
            IMAGE,
            ("patch>add", "blocks.0", "blocks.1", "blocks.2", "norm", "head"),
        ),
        Case(
            "copied-blocks",
            CopiedBlocks,
            ((5, 6),),
            ("embed", "blocks.0", "blocks.1", "blocks.2", "blocks.2>gap", "head"),
        ),
        Case("lstm", TokenLSTM, ((7,),), ("embedding", "lstm", "head"), tokens=50),
        Case(
            "tied-encoder",
            TiedEncoder,
            ((7,),),
            ("tokens>add", "layers.0", "layers.1", "norm", "decoder"),
            tokens=30,
            apart=("positions",),
        ),
        Case("recurrent", Recurrent, ((6, 9),), ("conv>gelu", "gru>gap", "head")),
        Case("two-inputs", TwoInputs, ((3, 16, 16), (6,)), ("conv>relu", "dense>concat", "head")),
        Case(
            "control-flow",
            ControlFlow,
            ((8,),),
            (
                *("steps.0>relu", "steps.1>relu", "steps.2>relu", "extra>tanh"),
                *("loop>add", "loop:1>add", "loop:2>add", "head"),
            ),
            sources=("script", "frozen-script"),
        ),
        Case("tuple-output", TupleOutput, ((20,),), ("fc1>relu", "fc2")),
        Case("dict-output", DictOutput, ((20,),), ("fc1>tanh", "fc2")),
    )
}


# ----------------------------------------------------------------------------------- saving
@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Exporters print, log and warn about their own future; none of it is about the network."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def torchscript(case: Case, source: str) -> torch.jit.ScriptModule:
    """The network as TorchScript: "trace" or "script", with "frozen-" before it if frozen."""
    network = case.network()
    with silence(), torch.no_grad():
        if source.endswith("trace"):
            module = torch.jit.trace(network, case.inputs(), strict=False)
        else:
            module = torch.jit.script(network)
        return torch.jit.freeze(module) if source.startswith("frozen-") else module


def export_onnx(case: Case, path: Path, *, dynamo: bool) -> None:
    """Write the network as ONNX with a batch axis of any length."""
    names = [f"input{i}" for i in range(len(case.shapes))]
    if dynamo:
        batch = torch.export.Dim("batch", min=1, max=64)
        how = {"dynamic_shapes": tuple({0: batch} for _ in names), "external_data": False}
    else:
        how = {"dynamic_axes": {name: {0: "batch"} for name in names}, "opset_version": 17}
    with silence(), torch.no_grad():
        torch.onnx.export(
            case.network(),
            case.inputs(),
            str(path),
            dynamo=dynamo,
            input_names=names,
            **how,
        )


def save(case: Case, source: str, folder: Path) -> Path:
    """Save the network in one of its formats and return the file."""
    path = folder / f"{case.name}-{source}{SUFFIX.get(source, '.pt')}"
    if source.startswith("onnx"):
        export_onnx(case, path, dynamo=source.endswith("dynamo"))
    else:
        with silence():
            torch.jit.save(torchscript(case, source), str(path))
    return path
