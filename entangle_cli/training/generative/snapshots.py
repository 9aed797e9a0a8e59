"""What a generator made while it was trained: images at chosen steps, and what they are like.

A snapshot is stored as ``<kind>-step<number>.npz`` with ``images`` uint8 ``(n, h, w)`` or, colored,
``(n, h, w, channels)``: an ordinary data set without labels, which ``entangle between REAL
'<folder>/<kind>-step*.npz'`` compares in the order of the steps.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.two_sample import two_sample
from entangle_cli.training.state import replace_file

Row = dict[str, Any]
_QUERIES = 256


@dataclass(frozen=True)
class Snapshots:
    """Steps, images uint8 ``(n, channels, h, w)`` of each, all from the same noise, and losses.

    ``grid``: images of the last step over two numbers of the noise, ``(rows, columns, channels, h,
    w)``, at evenly spaced quantiles of the normal distribution, all other numbers 0. ``losses``: a
    row per recorded step, see ``GeneratorTraining.history``.
    """

    steps: tuple[int, ...]
    images: tuple[Tensor, ...]
    grid: Tensor
    losses: list[Row]
    files: tuple[Path, ...] = ()


def write_snapshot(path: Path, images: Tensor) -> None:
    """Images uint8 ``(n, channels, h, w)`` as a data set that the other commands read."""
    arrays = images.permute(0, 2, 3, 1).numpy()
    buffer = io.BytesIO()
    np.savez(buffer, images=arrays[..., 0] if arrays.shape[-1] == 1 else arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def noise_grid(size: int, latent: int) -> Tensor:
    """Noise ``(size * size, latent)`` over its first two numbers, row by row.

    With one number of noise all columns are alike.
    """
    quantiles = torch.special.ndtri((torch.arange(size) + 0.5) / size)
    noise = torch.zeros(size, size, latent)
    noise[:, :, 0] = quantiles[:, None]
    if latent > 1:
        noise[:, :, 1] = quantiles[None, :]
    return noise.reshape(size * size, latent)


def entanglement_curve(
    real: Tensor,
    snapshots: Snapshots,
    *,
    batch: int = 128,
    batches: int = 16,
    seed: int = 0,
) -> list[Row]:
    """How hard real and generated images are to tell apart at each step, as two classes of pixels.

    Mean over batches of ``batch`` points, half of them real where there are as many real images as
    generated ones: ``step, n, snnl, temperature, ceiling, entanglement, boundary, knn_accuracy``,
    each batch minimized exactly over temperature. ``real`` ``(n, channels, h, w)``, uint8 or
    float32 in 0..1. Every step sees the same real images.

    Reference: arXiv 1902.01889, section 4 (batches of 128, ceiling 0.701).

    Raises:
        MeasureError: images of another size, or fewer of them than a batch takes.
    """
    protocol = Protocol(batch_size=batch, batches=batches, seed=seed)
    rows = []
    for step, images in zip(snapshots.steps, snapshots.images, strict=True):
        count = min(len(real), len(images))
        found = two_sample(_points(real[:count]), _points(images[:count]), protocol).observed
        keys = ("n", "snnl", "temperature", "ceiling", "entanglement", "boundary", "knn_accuracy")
        rows.append({"step": step} | {key: getattr(found, key) for key in keys})
    return rows


def class_shares(generated: Tensor, real: Tensor, labels: Tensor, classes: int) -> list[float]:
    """The share of generated images whose nearest real image in pixels is of each class.

    ``generated`` ``(m, ...)``, ``real`` ``(n, ...)``, ``labels`` ``(n,)``; squared Euclidean
    distance. A class that no image is nearest to has share 0.

    Raises:
        MeasureError: images of different sizes, or none.
    """
    if not len(generated) or not len(real) or generated.shape[1:] != real.shape[1:]:
        raise MeasureError(
            f"generated images of shape {tuple(generated.shape)} and real ones of "
            f"{tuple(real.shape)}; give some of both, of one size"
        )
    points = torch.from_numpy(_points(real))
    half = points.square().sum(1) / 2
    queries = torch.from_numpy(_points(generated)).split(_QUERIES)
    nearest = [(half - part @ points.t()).argmin(1) for part in queries]
    counts = torch.bincount(labels[torch.cat(nearest)], minlength=classes)
    return [count / len(generated) for count in counts.tolist()]


def present(shares: Sequence[float], at_least: float = 0.01) -> int:
    """How many classes have at least this share."""
    return sum(share >= at_least for share in shares)


def _points(images: Tensor) -> np.ndarray:
    values = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    return values.flatten(1).numpy()
