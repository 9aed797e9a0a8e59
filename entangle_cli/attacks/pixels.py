"""Attacks on images: in units of pixels, whatever a network does to them first.

*Conventions*: pixels ``(n, c, h, w)`` float32 in [0, 1], of the size and colors that the network is
fed with. A `PixelFeed` brings them to the network's input; torch differentiates through it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.errors import DataError


@dataclass(frozen=True)
class PixelFeed:
    """From pixels in [0, 1] to what a network takes, after resizing and recoloring."""

    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        if np.dtype(self.preprocessing.dtype).kind != "f":
            raise DataError(
                f"the network takes {self.preprocessing.dtype} pixels, which have no gradient"
            )

    def pixels(self, images: list[np.ndarray]) -> Tensor:
        """Images ``(h, w, c)`` as pixels ``(n, c, h, w)``, resized and recolored."""
        unit = replace(
            self.preprocessing,
            color="rgb" if self.preprocessing.color == "bgr" else self.preprocessing.color,
            scale=255.0,
            mean=(0.0,),
            std=(1.0,),
            layout="nchw",
            shape=None,
            dtype="float32",
        )
        return torch.from_numpy(unit.apply(images))

    def __call__(self, pixels: Tensor) -> Tensor:
        """The network's input ``(n, ...)``; differentiable."""
        made = self.preprocessing
        if made.color == "bgr":
            pixels = pixels.flip(1)
        scale = 1.0 if made.scale is None else made.scale
        mean, std = (
            torch.tensor(values, dtype=torch.float64, device=pixels.device)[:, None, None]
            for values in (made.mean, made.std)
        )
        values = ((pixels * (255.0 / scale) - mean) / std).to(getattr(torch, made.dtype))
        if made.layout == "nhwc":
            values = values.movedim(1, -1)
        return values if made.shape is None else values.reshape(len(values), *made.shape)


def as_images(pixels: Tensor) -> np.ndarray:
    """Pixels ``(n, c, h, w)`` as images ``(n, h, w, c)`` float32 in [0, 1]."""
    return pixels.movedim(1, -1).contiguous().cpu().numpy().astype(np.float32)
