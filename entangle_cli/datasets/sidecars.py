"""Preprocessing that came with a model: files beside it, and text inside it.

* ``<model>.preprocess.json``: the keys of `settings`;
* the text ``entangle.json`` inside the model (ONNX metadata, TorchScript extra files), the same
  keys; ONNX's own ``Image.NominalPixelRange`` and ``Image.BitmapPixelFormat``;
* ``config.json`` of timm (``pretrained_cfg``) or ``preprocessor_config.json`` of Hugging Face.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entangle_cli.datasets.settings import parse_settings
from entangle_cli.datasets.signature import regular_file
from entangle_cli.errors import DataError

EMBEDDED_NAME = "entangle.json"
SIZE_LIMIT = 4 * 2**20

_TIMM_KEYS = ("input_size", "interpolation", "crop_pct", "mean", "std")
_PILLOW_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
_ONNX_RANGES = {
    "NominalRange_0_255": "raw",
    "Normalized_0_1": "unit",
    "Normalized_1_1": "signed",
}


@dataclass(frozen=True)
class Found:
    """Settings with the place they come from; ``fields`` are those of `Preprocessing`."""

    fields: Mapping[str, Any]
    source: str


def read_sidecar(model: Path) -> Found | None:
    """``<model>.preprocess.json`` beside a model (``net.onnx.preprocess.json`` too), if there.

    Raises:
        DataError: the file is no JSON object, or a key of it makes no sense.
    """
    for stem in (model.stem, model.name):
        path = model.with_name(f"{stem}.preprocess.json")
        if path.exists():
            return Found(parse_settings(_json_object(path), path), path.name)
    return None


def read_embedded(metadata: Mapping[str, str], where: object) -> Found | None:
    """The settings among a model's own texts by name, if there are any.

    Raises:
        DataError: the text is no JSON object, or a key of it makes no sense.
    """
    text = metadata.get(EMBEDDED_NAME)
    if text:
        place = f"{where} ({EMBEDDED_NAME} inside)"
        values = _parsed(text, place)
        values = values.get("preprocess", values)
        return Found(parse_settings(values, place), f"{EMBEDDED_NAME} in the model")
    preset = _ONNX_RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if preset is None:
        return None
    values = {"preset": preset}
    if metadata.get("Image.BitmapPixelFormat", "").lower().startswith("bgr"):
        values["color"] = "bgr"
    return Found(parse_settings(values, where), "Image metadata in the model")


def read_config(model: Path) -> Found | None:
    """timm's or Hugging Face's configuration beside a model, if it says how to prepare images.

    Raises:
        DataError: the file is no JSON object, or a key of it makes no sense.
    """
    path = model.with_name("config.json")
    if path.exists():
        content = _json_object(path)
        config = content.get("pretrained_cfg", content)
        if isinstance(config, dict) and "mean" in config and "std" in config:
            return Found(parse_settings(_timm(config, path), path), "timm's config.json")
    path = model.with_name("preprocessor_config.json")
    if path.exists():
        content = _json_object(path)
        return Found(parse_settings(_hugging_face(content, path), path), path.name)
    return None


def read_settings_file(path: Path) -> Found:
    """The settings in a JSON file that a person named.

    Raises:
        DataError: the file is no JSON object, or a key of it makes no sense.
    """
    return Found(parse_settings(_json_object(path), path), str(path))


def _json_object(path: Path) -> dict[str, Any]:
    if regular_file(path).stat().st_size > SIZE_LIMIT:
        raise DataError(f"{path}: larger than {SIZE_LIMIT >> 20} MiB; not a preprocessing file")
    return _parsed(path.read_bytes(), path)


def _parsed(text: str | bytes, where: object) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error}); correct it") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: not a JSON object; give keys such as mean and std")
    return content


def _timm(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    values = {key: config[key] for key in _TIMM_KEYS if key in config}
    mode = config.get("crop_mode", "center")
    if mode == "squash":
        values.pop("crop_pct", None)
    elif mode != "center":
        raise DataError(f"{path}: crop_mode {mode!r} is not supported; use center or squash")
    return values


def _hugging_face(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {"scale": 1.0}
    if config.get("do_rescale", True):
        factor = config.get("rescale_factor", 1 / 255)
        if not isinstance(factor, (int, float)) or not 1e-12 < factor < 1e12:
            raise DataError(f"{path}: rescale_factor is {factor!r}; give a positive number")
        # 1/255 as stored is 0.00392156862745098: back to the whole number that was meant
        scale = 1 / factor
        values["scale"] = float(round(scale)) if abs(scale - round(scale)) < 1e-6 * scale else scale
    if config.get("do_normalize", True):
        for key, name in (("image_mean", "mean"), ("image_std", "std")):
            if key in config:
                values[name] = config[key]
    values.update(_hugging_face_size(config, path))
    resample = config.get("resample")
    if isinstance(resample, int) and 0 <= resample < len(_PILLOW_FILTERS):
        values["interpolation"] = _PILLOW_FILTERS[resample]
    return values


def _hugging_face_size(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    resize = _sides(config.get("size"), path, "size") if config.get("do_resize", True) else None
    crop = (
        _sides(config.get("crop_size"), path, "crop_size")
        if config.get("do_center_crop", False)
        else None
    )
    if crop is None:
        return {"size": resize} if resize else {}
    size: dict[str, Any] = {"size": crop}
    if resize:
        size["crop_pct"] = min(1.0, min(crop) / min(resize))
    return size


def _sides(value: Any, path: Path, key: str) -> list[int] | None:
    if value is None:
        return None
    if isinstance(value, int):
        return [value, value]
    if isinstance(value, dict):
        edge = value.get("shortest_edge")
        sides = [value.get("height", edge), value.get("width", edge)]
        if all(type(side) is int and side > 0 for side in sides):
            return sides
    raise DataError(f"{path}: {key} is {value!r}; give height and width")
