"""`Preprocessing`: from images ``(h, w, c)`` to the batch that a model takes.

Steps, in this order: color, size, scale, mean and std, layout, dtype:

    value = (pixel / scale - mean) / std        pixel 0..255

Float images in 0..1 count as pixels divided by 255.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entangle_cli.datasets.resizing import recolored, resized
from entangle_cli.datasets.settings import parse_settings
from entangle_cli.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """One way of feeding images to a model; two of them are equal if they do the same.

    ``size`` is (h, w), None to keep the images' own. ``scale`` divides 8-bit pixels: 255 for
    0..1, 1 for 0..255; None leaves every value as it is stored. ``mean`` and ``std`` hold one
    value for all channels or one each, in scaled units and in the order of ``color``.
    ``shape`` is the shape of one sample where it is not simply that of ``layout``: ``(784, 1)``,
    ``(-1,)`` for flat; its values are in the order of ``layout``. ``crop_pct``: see `resized`.

    Raises:
        DataError: another number of means than channels, a std of zero, or pixels that an integer
            type cannot hold.
    """

    size: tuple[int, int] | None = None
    color: str = "keep"
    scale: float | None = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "nchw"
    shape: tuple[int, ...] | None = None
    interpolation: str = "bilinear"
    crop_pct: float | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        channels = {"gray": 1, "rgb": 3, "bgr": 3}.get(self.color)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if channels and len(values) not in (1, channels):
                raise DataError(
                    f"preprocessing: {name} has {len(values)} values for {channels} channel"
                    f"{'s' if channels > 1 else ''}; give 1 or {channels}"
                )
        if 0.0 in self.std:
            raise DataError(f"preprocessing: std {self.std} holds a zero; give other numbers")
        whole = self.scale in (None, 1.0) and set(self.mean) == {0.0} and set(self.std) == {1.0}
        if np.dtype(self.dtype).kind != "f" and not whole:
            raise DataError(
                f"preprocessing: the model takes {self.dtype}, so pixels must stay 0-255; "
                "use the preset raw"
            )

    def apply(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """One batch ``(n, ...)`` of this layout and dtype, in the order of ``images``.

        Raises:
            DataError: images of different sizes where ``size`` is None, or no images at all.
        """
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row, image in enumerate(images):
            groups.setdefault((image.shape, image.dtype), []).append(row)
        if not groups:
            raise DataError("preprocessing: no images; give at least one")
        batch: np.ndarray | None = None
        for rows in groups.values():
            pixels = self._pixels(np.stack([images[row] for row in rows]))
            if batch is None:
                batch = self._empty(len(images), pixels.shape[1:])
            channels_last = batch if self.layout == "nhwc" else np.moveaxis(batch, 1, -1)
            if channels_last.shape[1:] != pixels.shape[1:]:
                raise DataError(
                    f"images of {_times(channels_last.shape[1:])} and {_times(pixels.shape[1:])} "
                    "in one batch; give the preprocessing a size (input_size)"
                )
            self._write_normalized(pixels, channels_last, rows)
        return self._shaped(batch)

    def describe(self) -> str:
        """One line for people: size, color, arithmetic, layout."""
        size = "own size" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        if self.crop_pct is not None:
            size += f" (center {self.crop_pct:g}, {self.interpolation})"
        scale = {None: "values as stored", 255.0: "pixels/255", 1.0: "pixels 0-255"}
        parts = [f"{size} {self.color}", scale.get(self.scale) or f"pixels/{self.scale:g}"]
        if any(self.mean) or set(self.std) != {1.0}:
            parts += [f"mean {_listed(self.mean)}", f"std {_listed(self.std)}"]
        shape = "" if self.shape is None else f" as {self.shape}"
        return ", ".join([*parts, f"{self.layout}{shape} {self.dtype}"])

    def to_json(self) -> dict[str, Any]:
        """The settings as a JSON object; `from_json` gives back the same preprocessing."""
        channels = {"gray": 1, "rgb": 3, "bgr": 3}.get(self.color)
        whole = self.size is not None and channels is not None
        values = {
            "input_size": [channels, *self.size] if whole else None,
            "size": list(self.size) if self.size is not None and not whole else None,
            "color": self.color,
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "layout": self.layout,
            "shape": None if self.shape is None else list(self.shape),
            "interpolation": self.interpolation,
            "crop_pct": self.crop_pct,
            "dtype": self.dtype,
        }
        return {key: v for key, v in values.items() if v is not None or key == "scale"}

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], where: object = "preprocessing"
    ) -> "Preprocessing":
        """The preprocessing that a JSON object describes; absent keys have their defaults.

        Raises:
            DataError: an unknown key or a value that makes no sense; ``where`` and key are named.
        """
        return cls(**parse_settings(values, where))

    def sample_shape(self) -> tuple[int | None, ...] | None:
        """The shape of one sample of the batch, None for an axis or for all where it is open."""
        channels = {"gray": 1, "rgb": 3, "bgr": 3}.get(self.color)
        height, width = self.size or (None, None)
        natural = (channels, height, width) if self.layout == "nchw" else (height, width, channels)
        if self.shape is None:
            return natural
        if self.shape == (-1,):
            return (None if None in natural else math.prod(natural),)
        return self.shape

    def _pixels(self, batch: np.ndarray) -> np.ndarray:
        if batch.ndim != 4:
            raise DataError(f"images have shape {batch.shape[1:]}; give (height, width, channels)")
        batch = recolored(batch, self.color)
        if self.size is None:
            return batch
        return resized(batch, self.size, self.interpolation, self.crop_pct)

    def _empty(self, n: int, sample: tuple[int, ...]) -> np.ndarray:
        height, width, channels = sample
        natural = (channels, height, width) if self.layout == "nchw" else sample
        return np.empty((n, *natural), self.dtype)

    def _write_normalized(self, pixels: np.ndarray, out: np.ndarray, rows: list[int]) -> None:
        """Fill ``out[rows]`` channel by channel, straight into the model's layout."""
        channels = pixels.shape[3]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise DataError(
                    f"preprocessing: {name} has {len(values)} values, images {channels}"
                )
        everything = len(rows) == len(out)
        for c in range(channels):
            mean, std = self.mean[c % len(self.mean)], self.std[c % len(self.std)]
            plane = pixels[..., c]
            if plane.dtype == np.uint8:
                # each of 256 values computed once, in double precision
                table = (np.arange(256) / (self.scale or 1.0) - mean) / std
                values = table.astype(self.dtype)[plane]
            else:
                unit = 1.0 if self.scale is None else 255.0 / self.scale
                values = (plane * unit - mean) / std
            out[slice(None) if everything else rows, ..., c] = values

    def _shaped(self, batch: np.ndarray) -> np.ndarray:
        if self.shape is None:
            return batch
        sample = batch.shape[1:]
        if -1 not in self.shape and math.prod(self.shape) != math.prod(sample):
            raise DataError(f"images of {_times(sample)} do not fill the shape {self.shape}")
        return batch.reshape(len(batch), *self.shape)


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)


def _listed(values: Sequence[float]) -> str:
    return "/".join(f"{value:g}" for value in values)
