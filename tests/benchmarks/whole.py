"""`entangle measure` as a user runs it: a whole process, cold and warm, beside its parts.

The limit is what cannot be saved: starting Python with the libraries, plain inference, and the
passes over all pairs at the machine's rates.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tests.benchmarks.ceilings import exp2_rate, product_rate
from tests.benchmarks.harness import Bench

CHECKPOINTS = 4
PASSES = 3


class LeNet(nn.Module):
    """Two convolutions, three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores ``(n, 10)`` of images ``(n, 1, 28, 28)``."""
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc3(torch.relu(self.fc2(x)))


def _images(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's test images where they are, else blurred noise of the same size."""
    if bench.shared is not None:
        from entangle_cli.datasets import open_dataset

        data = open_dataset(f"{bench.shared}/data/mnist@test")
        return np.stack(data.images(np.arange(len(data)))), data.labels
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 10_000)
    shapes = generator.random((10, 28, 28, 1)) * 200
    noise = generator.random((10_000, 28, 28, 1)) * 55
    return (shapes[labels] + noise).astype(np.uint8), labels


def _trained(images: np.ndarray, labels: np.ndarray, folder: Path) -> list[Path]:
    """Checkpoints of a short training."""
    from entangle_cli.training.checkpoints import export

    torch.manual_seed(0)
    net, paths = LeNet(), []
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    y = torch.from_numpy(labels)
    for step in range(CHECKPOINTS):
        for part in torch.randperm(len(x)).split(64)[: 40 * step]:
            loss = nn.functional.cross_entropy(net(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        settings = {"scale": 255.0, "mean": [0.0], "std": [1.0]}
        export(net, x[:2], folder / f"lenet-step{40 * step}", settings)
        paths.append(folder / f"lenet-step{40 * step}.onnx")
    return paths


def _wall(*words: object) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True)
    return time.perf_counter() - start


def _inference(images: np.ndarray, paths: list[Path]) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    start = time.perf_counter()
    for path in paths:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        for first in range(0, len(batch), 256):
            session.run(None, {name: batch[first : first + 256]})
    return time.perf_counter() - start


def run(bench: Bench) -> None:
    """Cold and warm, and the breakdown of the limit."""
    images, labels = _images(bench)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = _trained(images, labels, folder)
        np.savez(folder / "data.npz", images=images, labels=labels)
        words = ("-m", "entangle_cli", "measure", *paths, folder / "data.npz", "-q")
        cold = [_wall(*words, "-o", folder / f"cold{turn}") for turn in range(bench.rounds)]
        warm = [_wall(*words, "-o", folder / "cold0") for turn in range(bench.rounds)]
        libraries = "import torch, onnxruntime, h5py, rich, typer, onnx"
        load = [_wall("-c", libraries) for turn in range(bench.rounds)]
        infer = [_inference(images, paths) for turn in range(bench.rounds)]
    pairs = len(images) ** 2 / 2
    dims = (6 * 14 * 14, 400, 120, 84, 10)
    passes = (
        CHECKPOINTS
        * PASSES
        * sum(pairs * (2 * d / product_rate(bench, d) + 1 / exp2_rate(bench)) for d in dims)
    )
    parts = {"load": np.median(load), "inference": np.median(infer), "passes": passes}
    limit = float(sum(parts.values()))
    breakdown = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items())
    print(
        f"\nentangle measure, {CHECKPOINTS} checkpoints x {len(dims)} layers, {len(images)} images"
    )
    print(f"  limit {limit:.2f} s: {breakdown}")
    print(f"  cold  {np.median(cold):.2f} s, {np.median(cold) / limit:.2f} x the limit")
    print(f"  warm  {np.median(warm):.2f} s, {np.median(cold) / np.median(warm):.2f} x faster")
    bench.found.append(
        {"title": "whole", "cold": cold, "warm": warm, "limits": parts, "threads": bench.threads}
    )
