"""The nearest training images of other images in every layer, with few layer outputs held at once.

*Conventions*: ``n`` images, ``k`` neighbors by cosine distance, exact. Outputs of a convolution are
large: those of 60,000 images of 28 x 28 in 64 maps of 14 x 14 take 3 GB. The training images are
therefore run in parts of at most ``PART_BYTES`` of outputs. The nearest of all lie among those of
each part, so that the parts' lists, merged by distance, are the lists of the whole; equal distances
keep the order of the rows. Every part has its own k neighbors to be measured exactly: 15 parts in
place of 4 took twice the time.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.papers.networks import Trained, logits_and_layers

LOGITS = "logits"
PART_BYTES = 1 << 30


def layers_with_logits(
    found: Trained, images: Tensor, *, device: str = "cpu"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits ``(n, C)`` and every layer ``(n, d)`` that is searched: the hidden ones and logits."""
    logits, layers = logits_and_layers(found, images, device=device)
    return logits, layers | {LOGITS: logits}


def nearest_rows(
    found: Trained,
    train: Tensor,
    layers: Mapping[str, Tensor],
    k: int,
    *,
    device: str = "cpu",
    part_bytes: int = PART_BYTES,
) -> dict[str, np.ndarray]:
    """Rows ``(n, k)`` of the ``train`` images nearest to points ``(n, d)``, for each layer.

    Raises:
        MeasureError: fewer training images than neighbors.
    """
    if len(train) < k:
        raise MeasureError(f"{len(train)} training images but k = {k}; give more, or a smaller k")
    row_bytes = sum(4 * points.shape[1] for points in layers.values())
    parts = torch.tensor_split(train, math.ceil(len(train) * row_bytes / part_bytes))
    kept: dict[str, Neighbors] = {}
    start = 0
    for images in parts:
        trained_on = layers_with_logits(found, images, device=device)[1]
        for name, points in layers.items():
            # indices and their codes are as large as the layer: one at a time
            index = ExactIndex(trained_on.pop(name).numpy())
            lists = index.query(points.numpy(), k=min(k, len(images)))
            lists = Neighbors(lists.indices + start, lists.distances)
            kept[name] = merged(kept[name], lists, k) if name in kept else lists
        start += len(images)
    return {name: lists.indices for name, lists in kept.items()}


def merged(first: Neighbors, second: Neighbors, k: int) -> Neighbors:
    """The k nearest of two complete lists for the same points; equal distances: ``first`` first."""
    indices = np.concatenate([first.indices, second.indices], axis=1)
    distances = np.concatenate([first.distances, second.distances], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Neighbors(*(np.take_along_axis(part, order, axis=1) for part in (indices, distances)))
