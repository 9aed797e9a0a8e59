"""A network and data that keep workers busy, and the command line in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# a cluster of the tests: nothing listens beyond this machine, and no statistics are sent
CLUSTER = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def write_network(path: Path, width: int, seed: int = 0) -> None:
    """A convolutional network without training as TorchScript; the work grows with width^2."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 10),
    )  # fmt: skip
    torch.jit.trace(network.eval(), torch.zeros(2, 1, 28, 28)).save(path)


def write_images(path: Path, count: int, seed: int = 0) -> None:
    """Random images with labels; two of them are equal."""
    import numpy as np

    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[-1] = images[0]
    np.savez(path, images=images, labels=generator.integers(0, 10, count))


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "entangle_cli", *map(str, words)]


def entangle(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run a command to its end in ``folder``."""
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without the command line that made it."""
    return {
        str(found.relative_to(folder)): found.read_bytes()
        for found in sorted(folder.rglob("*"))
        if found.is_file() and not found.name.endswith(".command.txt")
    }
