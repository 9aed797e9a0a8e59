"""Preprocessing as people and files write it: some of the keys, checked one by one.

Keys are timm's, with ``color``, ``scale``, ``layout``, ``shape`` and ``dtype`` added::

    {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875,
     "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "color": "RGB", "scale": 255}

``preset`` stands for the values of a preset, which other keys override.
"""

from collections.abc import Callable, Mapping
from typing import Any

from entangle_cli.datasets.presets import PRESETS
from entangle_cli.datasets.resizing import COLORS, INTERPOLATIONS
from entangle_cli.errors import DataError
from entangle_cli.text import suggestion

# of what a model is fed with; a batch of larger ones fits no memory
PIXEL_LIMIT = 64_000_000
# beyond it the arithmetic of pixels overflows
_LARGEST = 1e12
_SMALLEST_CROP = 0.05

DTYPES = ("float32", "float16", "float64", "uint8", "int8", "int16", "int32", "int64")


def parse_settings(values: Mapping[str, Any], where: object) -> dict[str, Any]:
    """The fields of `Preprocessing` that ``values`` sets.

    Raises:
        DataError: an unknown key or a value that makes no sense; ``where`` and key are named.
    """
    if not isinstance(values, Mapping):
        raise DataError(f"{where}: not a table of settings; give keys such as mean and std")
    for key in values:
        if key not in _READERS:
            raise DataError(
                f"{where}: unknown key {key!r}{suggestion(str(key), _READERS)}; "
                f"known are {', '.join(_READERS)}"
            )
    fields: dict[str, Any] = {}
    for key, reader in _READERS.items():
        if key in values and (values[key] is not None or key == "scale"):
            fields.update(reader(values[key], f"{where}: {key}"))
    return fields


def preset_fields(name: str, where: object) -> dict[str, Any]:
    """The fields that a preset sets.

    Raises:
        DataError: no preset of this name.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise DataError(
            f"{where}: no preset {name!r}{suggestion(str(name), PRESETS)}; "
            f"there are {', '.join(PRESETS)}"
        )
    return dict(PRESETS[name].fields)


def _input_size(value: Any, where: str) -> dict[str, Any]:
    sizes = _whole_numbers(value, where)
    if len(sizes) != 3 or sizes[0] not in (1, 3, 4):
        raise DataError(f"{where} is {value!r}; give [channels, height, width]")
    color = {1: "gray", 3: "rgb", 4: "keep"}[sizes[0]]
    return {"color": color, "size": _sides(sizes[1:], where)}


def _sides(sizes: tuple[int, ...], where: str) -> tuple[int, int]:
    height, width = sizes
    if height * width > PIXEL_LIMIT:
        raise DataError(f"{where} is {height}x{width}; give at most {PIXEL_LIMIT:,} pixels")
    return height, width


def _size(value: Any, where: str) -> dict[str, Any]:
    sizes = _whole_numbers([value, value] if isinstance(value, int) else value, where)
    if len(sizes) != 2:
        raise DataError(f"{where} is {value!r}; give [height, width]")
    return {"size": _sides(sizes, where)}


def _color(value: Any, where: str) -> dict[str, Any]:
    color = {"l": "gray", "grey": "gray", "grayscale": "gray"}.get(str(value).lower(), value)
    return {"color": _one_of(str(color).lower(), COLORS, where)}


def _layout(value: Any, where: str) -> dict[str, Any]:
    layout = _one_of(str(value).lower(), ("nchw", "nhwc", "flat"), where)
    return {"layout": "nchw", "shape": (-1,)} if layout == "flat" else {"layout": layout}


def _shape(value: Any, where: str) -> dict[str, Any]:
    return {"shape": (-1,) if value in ([-1], (-1,)) else _whole_numbers(value, where)}


def _scale(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {"scale": None}
    scale = _number(value, where)
    if scale <= 0:
        raise DataError(f"{where} is {value!r}; give what pixels are divided by, 255 or 1")
    return {"scale": scale}


def _crop_pct(value: Any, where: str) -> dict[str, Any]:
    share = _number(value, where)
    # images are enlarged by its inverse before they are cut
    if not _SMALLEST_CROP <= share <= 1:
        raise DataError(f"{where} is {value!r}; give a share from {_SMALLEST_CROP} to 1")
    return {"crop_pct": share}


def _crop_mode(value: Any, where: str) -> dict[str, Any]:
    _one_of(str(value), ("center",), where)
    return {}


def _per_channel(field: str) -> Callable[[Any, str], dict[str, Any]]:
    def read(value: Any, where: str) -> dict[str, Any]:
        values = value if isinstance(value, (list, tuple)) else [value]
        numbers = tuple(_number(v, where) for v in values)
        if not numbers or (field == "std" and 0.0 in numbers):
            raise DataError(f"{where} is {value!r}; give numbers, std without a zero")
        return {field: numbers}

    return read


def _choice(field: str, known: tuple[str, ...]) -> Callable[[Any, str], dict[str, Any]]:
    return lambda value, where: {field: _one_of(str(value).lower(), known, where)}


def _one_of(value: str, known: tuple[str, ...], where: str) -> str:
    if value not in known:
        raise DataError(f"{where} is {value!r}{suggestion(value, known)}; give {', '.join(known)}")
    return value


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or value != value:
        raise DataError(f"{where} is {value!r}; give a number")
    if value and not 1 / _LARGEST <= abs(value) <= _LARGEST:
        raise DataError(f"{where} is {value!r}; give 0, or a number from 1e-12 to 1e12 in size")
    return float(value)


def _whole_numbers(value: Any, where: str) -> tuple[int, ...]:
    good = isinstance(value, (list, tuple)) and bool(value)
    if not good or not all(type(v) is int and 0 < v < 2**31 for v in value):
        raise DataError(f"{where} is {value!r}; give a list of positive whole numbers")
    return tuple(value)


# in the order they are applied: what is more special comes later
_READERS: dict[str, Callable[[Any, str], dict[str, Any]]] = {
    "preset": preset_fields,
    "input_size": _input_size,
    "size": _size,
    "color": _color,
    "scale": _scale,
    "mean": _per_channel("mean"),
    "std": _per_channel("std"),
    "layout": _layout,
    "shape": _shape,
    "interpolation": _choice("interpolation", tuple(INTERPOLATIONS)),
    "crop_pct": _crop_pct,
    "crop_mode": _crop_mode,
    "dtype": _choice("dtype", DTYPES),
}
