"""The preprocessings worth trying for a model's input: every geometry with every convention."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from entangle_cli.datasets.geometry import (
    Geometry,
    ImageSizes,
    Shape,
    candidate_geometries,
    fits,
    shown,
)
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.datasets.presets import PRESETS, presets_for
from entangle_cli.errors import DataError


@dataclass(frozen=True)
class Candidate:
    """A preprocessing under the name of its convention."""

    name: str
    preprocessing: Preprocessing


def candidates_for(
    shape: Shape | None, dtype: str, sizes: ImageSizes, given: Mapping[str, Any]
) -> list[Candidate]:
    """Every geometry with every convention, or with the given settings on top.

    Raises:
        DataError: no image fills the input, or the given settings do not fit it.
    """
    found: list[Candidate] = []
    refusals: list[DataError] = []
    for geometry in candidate_geometries(shape, sizes):
        channels = 1 if geometry.color == "gray" else 3
        constants = {"given": given} if given else _conventions(channels, dtype)
        for name, values in constants.items():
            try:
                fields = {**geometry.fields(), "dtype": dtype, **_replacing_shape(values, geometry)}
                fitting = checked(Candidate(name, Preprocessing(**fields)), shape)
                _refuse_open_size(fitting, sizes)
            except DataError as error:
                refusals.append(error)
                continue
            found += _cropped(fitting, sizes, cropped="crop_pct" in values)
    if not found:
        raise refusals[0]
    simplest = {candidate.preprocessing: candidate for candidate in reversed(found)}
    return [c for c in found if simplest[c.preprocessing] is c]


def _conventions(channels: int, dtype: str) -> dict[str, Mapping[str, Any]]:
    if np.dtype(dtype).kind != "f":
        return {"raw": PRESETS["raw"].fields}
    return {name: preset.fields for name, preset in presets_for(channels).items()}


def _replacing_shape(values: Mapping[str, Any], geometry: Geometry) -> dict[str, Any]:
    """Given settings win over the geometry; a layout given alone keeps the model's own shape."""
    values = dict(values)
    if values.get("color") == "rgb" and geometry.color == "gray":
        raise DataError("preprocessing: input of 3 channels, but the model takes 1")
    if values.get("color") == "gray" and geometry.color != "gray":
        raise DataError("preprocessing: input of 1 channel, but the model takes 3")
    if values.get("shape") == (-1,) and geometry.shape is not None:
        del values["shape"]
    if "layout" in values and geometry.layout != values["layout"] and geometry.shape is None:
        raise DataError(f"preprocessing: layout {values['layout']} does not fit the model's input")
    return values


def checked(candidate: Candidate, shape: Shape | None) -> Candidate:
    """The candidate itself if its batches can go into an input of this shape.

    Raises:
        DataError: they cannot.
    """
    sample = candidate.preprocessing.sample_shape()
    if not fits(sample, shape):
        raise DataError(
            f"preprocessing: gives samples of {shown((None, *sample))}, but the model takes "
            f"{shown(shape)}; change input_size or layout"
        )
    return candidate


def _refuse_open_size(candidate: Candidate, sizes: ImageSizes) -> None:
    if candidate.preprocessing.size is None and sizes.size is None:
        raise DataError(
            "the images have different sizes and the model names none; "
            "give the preprocessing an input_size"
        )


def _cropped(candidate: Candidate, sizes: ImageSizes, *, cropped: bool) -> list[Candidate]:
    """Larger images of other proportions: both the usual center crop and plain stretching."""
    size = candidate.preprocessing.size
    square = sizes.size is not None and sizes.size[0] == sizes.size[1]
    if cropped or size is None or square or sizes.size == size or min(size) >= min(sizes.smallest):
        return [candidate]
    center = replace(candidate.preprocessing, crop_pct=0.875)
    return [Candidate(f"{candidate.name}, center crop", center), candidate]
