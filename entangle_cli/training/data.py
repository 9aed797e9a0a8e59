"""A data set in memory as a network is trained on it, and how such a network wants to be fed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.errors import DataError
from entangle_cli.text import plain

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class TrainingData:
    """Images ``(n, channels, height, width)``, uint8 or float32 in 0..1, and labels ``(n,)``."""

    images: Tensor
    labels: Tensor
    shape: tuple[int, int, int]
    classes: int

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What to embed in a network trained on these: pixels in [0, 1] of this size."""
        size = {"size": list(self.shape[1:])}
        if self.shape[0] in (1, 3):
            size = {"input_size": list(self.shape)}
        return size | {"scale": 255.0, "mean": [0.0], "std": [1.0]}


def load_images(dataset: Dataset) -> TrainingData:
    """All images and labels of a data set.

    Raises:
        DataError: arrays, images of different sizes, a sample without label, or a single class.
    """
    if dataset.kind != "images":
        raise DataError(f"{dataset.name}: holds arrays; training takes images")
    if dataset.labels is None or (dataset.labels < 0).any():
        missing = len(dataset) if dataset.labels is None else int((dataset.labels < 0).sum())
        raise DataError(
            f"{dataset.name}: {missing} of {len(dataset)} samples have no label; "
            "training needs one for each"
        )
    parts = []
    for start in range(0, len(dataset), _ROWS_AT_A_TIME):
        rows = np.arange(start, min(start + _ROWS_AT_A_TIME, len(dataset)))
        parts.append(_stacked(dataset.images(rows), dataset.name))
        if parts[-1].shape[1:] != parts[0].shape[1:]:
            _refuse_sizes(dataset.name, parts[0].shape[1:], parts[-1].shape[1:])
    # where types are mixed 8-bit pixels become floats as well
    if len({part.dtype for part in parts}) > 1:
        parts = [part / np.float32(255) if part.dtype == np.uint8 else part for part in parts]
    images = torch.from_numpy(np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2)))
    labels = torch.from_numpy(dataset.labels.astype(np.int64))
    shape = tuple(images.shape[1:])
    return TrainingData(images, labels, shape, int(labels.max()) + 1)


def check_alike(train: Dataset, test: Dataset, first: TrainingData, second: TrainingData) -> None:
    """That a network trained on one can be tested on the other.

    Raises:
        DataError: other image sizes, or other classes.
    """
    if first.shape != second.shape:
        _refuse_sizes(
            f"{train.name} and {test.name}",
            (*first.shape[1:], first.shape[0]),
            (*second.shape[1:], second.shape[0]),
        )
    names = train.class_names, test.class_names
    if None not in names and names[0] != names[1]:
        shown = (", ".join(map(plain, some[:3])) for some in names)
        raise DataError(
            f"{test.name}: has other classes than {train.name} ({' and '.join(shown)}, ...); "
            "give test data of the same classes"
        )
    if second.classes > first.classes:
        raise DataError(
            f"{test.name}: has label {second.classes - 1}, {train.name} only 0 to "
            f"{first.classes - 1}; give test data of the same classes"
        )


def _stacked(images: list[np.ndarray], name: str) -> np.ndarray:
    for image in images:
        if image.shape != images[0].shape:
            _refuse_sizes(name, images[0].shape, image.shape)
    if len({image.dtype for image in images}) > 1:
        images = [i / np.float32(255) if i.dtype == np.uint8 else i for i in images]
    return np.stack(images)


def _refuse_sizes(name: str, one: tuple[int, ...], other: tuple[int, ...]) -> None:
    shown = " and ".join("x".join(map(str, size)) for size in (one, other))
    raise DataError(f"{name}: images of different sizes ({shown}); resize them to one")
