"""The ways in which images can fill a model's input, told by its declared shape.

A shape has None for a free axis and the batch on axis 0; it is None where nothing is declared.

    (n, c, h, w), (n, h, w, c)   c is 1 or 3, or free: the images' own channels first
    (n, d), (n, d, 1), ...       d = c h w for the images' own size, else for a square one
    (n, h, w)                    grey without a channel axis
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entangle_cli.errors import DataError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Geometry:
    """Where pixels go: the fields of `Preprocessing` that a shape decides."""

    color: str
    size: tuple[int, int] | None
    layout: str = "nchw"
    shape: tuple[int, ...] | None = None

    def fields(self) -> dict[str, Any]:
        """The fields as keyword arguments."""
        return vars(self).copy()


@dataclass(frozen=True)
class ImageSizes:
    """What a sample of a data set's images looks like."""

    channels: int
    size: tuple[int, int] | None
    smallest: tuple[int, int]

    @classmethod
    def of(cls, images: Sequence[np.ndarray]) -> "ImageSizes":
        """The common channels (the most of any image) and size (None if they differ)."""
        sizes = {image.shape[:2] for image in images}
        channels = max(image.shape[2] for image in images)
        smallest = min(size[0] for size in sizes), min(size[1] for size in sizes)
        return cls(channels, next(iter(sizes)) if len(sizes) == 1 else None, smallest)


def candidate_geometries(shape: Shape | None, images: ImageSizes) -> list[Geometry]:
    """All geometries that fit the shape, the likeliest first.

    Raises:
        DataError: no image fills such an input.
    """
    if shape is None:
        found = [*_spatial((None, None, None, None), images), *_flat((None, None), images)]
    elif len(shape) == 4 and (spatial := _spatial(shape, images)):
        found = spatial
    else:
        found = _flat(shape, images)
    if not found:
        raise DataError(f"a model input of shape {shown(shape)} takes no images; give arrays")
    return list(dict.fromkeys(found))


def fits(sample: Shape | None, shape: Shape | None) -> bool:
    """Whether samples of this shape can go into an input of ``shape`` (batch on axis 0)."""
    if sample is None or shape is None:
        return True
    return len(sample) == len(shape) - 1 and all(
        have is None or want is None or have == want
        for have, want in zip(sample, shape[1:], strict=True)
    )


def shown(shape: Shape | None) -> str:
    """A shape for messages: ``1x28x28`` per sample, ``?`` for a free axis."""
    if shape is None:
        return "unknown"
    return "x".join("?" if n is None else str(n) for n in shape[1:]) or "no axes"


def _spatial(shape: Shape, images: ImageSizes) -> list[Geometry]:
    """The geometries of four axes, with the channels behind the batch or last."""
    _, first, _, last = shape
    known = (1, 3)
    if first in known or last in known:
        layouts = [name for name, c in (("nchw", first), ("nhwc", last)) if c in known]
    else:
        layouts = [name for name, c in (("nchw", first), ("nhwc", last)) if c is None]
    found = []
    for layout in layouts:
        channels, height, width = shape[1:] if layout == "nchw" else (last, shape[1], shape[2])
        size = _free_size(height, width, images)
        found += [Geometry(color, size, layout) for color in _colors(channels, images)]
    return found


def _free_size(height: int | None, width: int | None, images: ImageSizes) -> tuple[int, int] | None:
    if height is not None and width is not None:
        return height, width
    if images.size is None:
        return None
    return height or images.size[0], width or images.size[1]


def _colors(channels: int | None, images: ImageSizes) -> list[str]:
    own = "gray" if images.channels < 3 else "rgb"
    if channels is not None:
        return ["gray" if channels == 1 else "rgb"]
    return [own, "rgb" if own == "gray" else "gray"]


def _flat(shape: Shape, images: ImageSizes) -> list[Geometry]:
    """The geometries whose pixels are laid out in a row, whatever axes are around them."""
    sample = shape[1:]
    if not sample or sample.count(None) == len(sample) > 2:
        return []
    if None in sample:
        return _open_flat(sample, images)
    total = math.prod(sample)
    # of a shape such as (12, 32, 32) a square number of values proves nothing
    in_a_row = sum(n > 1 for n in sample) == 1
    exact, other = [], []
    for color in _colors(None, images):
        channels = 1 if color == "gray" else 3
        if images.size is not None and channels * math.prod(images.size) == total:
            exact += _orders(color, images.size, sample)
        elif channels == 1 and len(sample) == 2 and min(sample) >= 4:
            other.append(Geometry(color, sample, "nchw", sample))
        elif in_a_row and math.isqrt(total // channels) ** 2 * channels == total:
            side = math.isqrt(total // channels)
            other += _orders(color, (side, side), sample)
    return exact or other


def _open_flat(sample: Shape, images: ImageSizes) -> list[Geometry]:
    """``(n, ?)`` takes the images' own pixels in a row, ``(n, ?, ?)`` grey ones as they are."""
    if images.size is None:
        return []
    if len(sample) == 1:
        return _orders(_colors(None, images)[0], images.size, (-1,))
    height, width = (n or own for n, own in zip(sample, images.size, strict=False))
    return [Geometry("gray", (height, width), "nchw", (height, width))] if len(sample) == 2 else []


def _orders(color: str, size: tuple[int, int], sample: Iterable[int]) -> list[Geometry]:
    layouts = ("nchw",) if color == "gray" else ("nchw", "nhwc")
    return [Geometry(color, size, layout, tuple(sample)) for layout in layouts]
