"""Neighbor strips: an input beside its nearest training inputs at each layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from entangle_cli.text import plain


@dataclass(frozen=True)
class Strip:
    """The nearest training inputs at one layer: images (h, w, c) and a caption each."""

    layer: str
    images: Sequence[np.ndarray]
    captions: Sequence[str]


def draw_strips(path: Path, title: str, image: np.ndarray, strips: Sequence[Strip]) -> None:
    """Write a PNG: the input (h, w, c) at the top left, below it a row of images per layer.

    Images are uint8, or floats in [0, 1]; one channel is shown in gray.
    """
    columns = max(1, max((len(strip.images) for strip in strips), default=1))
    # fonts in the file, names as they are: nothing of a name is read as mathematics
    width, height = 1.2 * columns + 0.6, 1.45 * (len(strips) + 1)
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(0.5 / width, 0.02, 0.99, 1 - 0.5 / height, 0.08, 0.25)
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=8)
        axes = figure.subplots(len(strips) + 1, columns, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        _show(axes[0, 0], image, "")
        for row, strip in zip(axes[1:], strips, strict=True):
            for axis, neighbor, caption in zip(row, strip.images, strip.captions, strict=False):
                _show(axis, neighbor, plain(caption))
            row[0].text(
                -0.1, 0.5, plain(strip.layer), rotation=90, ha="right", va="center",
                fontsize=7, transform=row[0].transAxes,
            )  # fmt: skip
        figure.savefig(path, dpi=120, metadata={"Software": None})


def _show(axis, image: np.ndarray, caption: str) -> None:
    shown = image[..., 0] if image.shape[-1] == 1 else image[..., :3]
    top = 255 if image.dtype == np.uint8 else 1.0
    axis.imshow(shown, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    axis.set_title(caption, fontsize=7)
