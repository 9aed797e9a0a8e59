"""What a worker does with a unit; it opens models and data itself and keeps the last ones open.

Tasks hold paths, names and ranges. What is made goes to files that the command reads.
"""

import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.parts import Blueprint, write_part
from entangle_cli.datasets.dataset import Origin

if TYPE_CHECKING:
    from entangle_cli.activations.feed import Feed
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.measures.protocol import Protocol
    from entangle_cli.models import Model
    from entangle_cli.models.sandbox.confinement import Limits


@dataclass(frozen=True)
class ModelFile:
    """A model as a worker opens it."""

    path: str
    device: str = "cpu"
    trust: bool = False
    sandbox: "Limits | None" = None


@dataclass(frozen=True)
class PartTask:
    """The samples ``rows`` of a dump, into a store of their own in ``folder``."""

    model: ModelFile
    data: Origin
    preprocessing: str | None
    plan: Blueprint
    rows: tuple[int, int]
    folder: str


@dataclass(frozen=True)
class LayerTask:
    """A layer of an activation file to be measured, kept below ``folder``."""

    file: str
    layer: str
    protocol: "Protocol"
    folder: str
    scratch: str
    device: str = "cpu"
    pairs: bool = False


def write_part_of(task: PartTask) -> str:
    """Write a part; returns its path.

    The name is new each time: a worker that is thought dead may still be writing.
    """
    feed = _feed(task.model, task.data, task.preprocessing)
    start, stop = task.rows
    path = Path(task.folder) / f"rows-{start}-{stop}.{secrets.token_hex(4)}.h5"
    write_part(_model(task.model), feed, path, task.plan, task.rows)
    return str(path)


def measure_layer(task: LayerTask) -> None:
    """Measure a layer and keep what was found."""
    from entangle_cli.measures.class_pairs import class_pairs
    from entangle_cli.measures.protocol import measure
    from entangle_cli.runs.measure.layer_points import every_label
    from entangle_cli.runs.measure.measured import MeasuredLayers

    stored = ActivationFile.open(task.file)
    labels = every_label(stored.labels, stored.path.name)
    folder, scratch = Path(task.folder), Path(task.scratch)
    kept = MeasuredLayers(folder, task.protocol, labels, device=task.device, fresh=False)
    points = stored.points(task.layer)
    shared: dict[str, Any] = {"device": task.device, "scratch": scratch}
    kept.write(stored.identity, task.layer, measure(points, labels, task.protocol, **shared))
    if task.pairs:
        found = class_pairs(points, labels, task.protocol, **shared)
        kept.write_pairs(stored.identity, task.layer, found)


@lru_cache(maxsize=1)
def _model(file: ModelFile) -> "Model":
    from entangle_cli.models.opening import open_model

    return open_model(file.path, device=file.device, trust=file.trust, sandbox=file.sandbox)


@lru_cache(maxsize=2)
def open_origin(origin: Origin) -> "Dataset":
    """The samples that the command has, opened once for units that follow each other."""
    from entangle_cli.datasets import limit, open_dataset

    dataset = open_dataset(origin.reference, name=origin.name)
    return dataset if origin.limit is None else limit(dataset, origin.limit, origin.seed)


@lru_cache(maxsize=1)
def _feed(model: ModelFile, data: Origin, preprocessing: str | None) -> "Feed":
    import json

    from entangle_cli.activations.feed import Feed
    from entangle_cli.datasets.preprocessing import Preprocessing

    known = None if preprocessing is None else Preprocessing.from_json(json.loads(preprocessing))
    return Feed(_model(model).inputs, open_origin(data), known)
