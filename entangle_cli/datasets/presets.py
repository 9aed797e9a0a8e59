"""The usual ways of scaling pixels, by name, the simplest first.

The order decides between two that serve a model equally well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Fields of `Preprocessing`; ``channels`` is 1 or 3, None where it suits both."""

    fields: Mapping[str, Any]
    channels: int | None
    probed: bool = True

    def to_json(self) -> dict[str, Any]:
        """The preset's values under the keys of `settings`, to be stored beside a model."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in self.fields.items()}


def _standardized(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, Any]:
    return {"scale": 255.0, "mean": mean, "std": std}


PRESETS: dict[str, Preset] = {
    # 0..1
    "unit": Preset(_standardized((0.0,), (1.0,)), None),
    # 0..255
    "raw": Preset({"scale": 1.0, "mean": (0.0,), "std": (1.0,)}, None),
    # -1..1
    "signed": Preset(_standardized((0.5,), (0.5,)), None),
    # 1 - x: black on white for a network that learned white on black
    "inverted": Preset(_standardized((1.0,), (-1.0,)), 1),
    "mnist": Preset(_standardized((0.1307,), (0.3081,)), 1),
    "fashion": Preset(_standardized((0.2860,), (0.3530,)), 1),
    "imagenet": Preset(_standardized((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 3),
    "cifar10": Preset(_standardized((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)), 3),
    # the mean over images of each image's std, as many training scripts have it
    "cifar10-alt": Preset(_standardized((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)), 3),
    # not probed: no network tells it from cifar10
    "cifar100": Preset(
        _standardized((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)), 3, probed=False
    ),
    "svhn": Preset(_standardized((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)), 3),
    # Caffe's: blue, green, red, means taken off 0..255
    "caffe": Preset(
        {"scale": 1.0, "color": "bgr", "mean": (103.939, 116.779, 123.68), "std": (1.0,)}, 3
    ),
    # values as stored, no change of color
    "none": Preset(
        {"scale": None, "color": "keep", "mean": (0.0,), "std": (1.0,)}, None, probed=False
    ),
}


def presets_for(channels: int | None) -> dict[str, Preset]:
    """The presets worth trying on a model with this number of input channels."""
    return {
        name: preset
        for name, preset in PRESETS.items()
        if preset.probed and preset.channels in (None, channels)
    }
