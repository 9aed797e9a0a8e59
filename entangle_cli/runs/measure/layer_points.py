"""Where the points and labels of ``entangle measure`` come from: the raw data, or a store."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entangle_cli.errors import MeasureError
from entangle_cli.runs.measure.raw import counted_points
from entangle_cli.runs.shared.preparing import INPUT

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.datasets.dataset import Dataset

    # a layer's name, what determines its points (n, d), and how to get them
    Layers = Iterable[tuple[str, Mapping[str, Any], Callable[[], np.ndarray]]]


def input_layer(dataset: "Dataset", *, scratch: Path, notes: list[str]) -> "Layers":
    """The raw data as a layer; copies among its samples are counted in ``notes``."""
    identity = {"data_fingerprint": dataset.fingerprint}
    return [(INPUT, identity, partial(counted_points, dataset, scratch=scratch, notes=notes))]


def stored_layers(stored: "ActivationFile", names: Iterable[str]) -> "Layers":
    """Layers of an activation file, by name."""
    return [(name, stored.identity, partial(stored.points, name)) for name in names]


def every_label(labels: "np.ndarray | None", name: str) -> "np.ndarray":
    """The labels of a set in which every sample has one.

    Raises:
        MeasureError: some or all samples have none; -1 is no class.
    """
    missing = 0 if labels is None else int((labels < 0).sum())
    if labels is None or missing == len(labels):
        raise MeasureError(
            f"{name}: has no labels, which entanglement is about; give class folders, or an "
            "archive with labels"
        )
    if missing:
        raise MeasureError(
            f"{name}: {missing} of {len(labels)} samples have no label; leave them out"
        )
    return labels
