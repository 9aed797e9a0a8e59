"""Small stand-ins for a model and a data set, exact and fast; they import only NumPy."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from entangle_cli.activations.feed import Feed
from entangle_cli.activations.schema import FileSpec, StoredLayer
from entangle_cli.datasets.dataset import Dataset
from entangle_cli.models import Layer, TensorSpec


def values(rows: int, dim: int, salt: int = 0) -> np.ndarray:
    """(rows, dim) float32, every number different from its neighbors."""
    grid = np.arange(rows)[:, None] * 1000 + np.arange(dim)
    return (grid + salt * 0.25).astype(np.float32)


def make_spec(rows=40, batch_size=8, layers=None, **changes) -> FileSpec:
    layers = layers or (
        StoredLayer("conv1>relu", (2, 3), (2, 3), "float32", "none", "relu"),
        StoredLayer("fc", (5,), (5,), "float32", "flatten", "linear"),
    )
    content = {
        "rows": rows,
        "batch_size": batch_size,
        "layers": tuple(layers),
        "classes": 3,
        "labels": np.arange(rows) % 3,
        "class_names": ("ant", "bee", "cat"),
        "ids": [f"test/{row}" for row in range(rows)],
        "identity": {"model_sha256": "ab" * 32, "batch_size": batch_size},
        "provenance": {"model": "fake"},
    }
    return FileSpec(**(content | changes))


def block(spec: FileSpec, index: int, start: int, stop: int) -> np.ndarray:
    """What row ``start`` to ``stop`` of a block shall be."""
    wanted = spec.blocks[index]
    dim = int(np.prod(wanted.shape, dtype=int))
    return values(stop, dim, index)[start:].reshape(-1, *wanted.shape).astype(wanted.dtype)


def fill(writer, spec: FileSpec, until: int | None = None) -> None:
    """Hand the writer its batches from where it stands on."""
    for start in range(writer.rows, until or spec.rows, spec.batch_size):
        stop = min(start + spec.batch_size, spec.rows)
        for index, layer in enumerate(spec.layers):
            writer.put(layer.name, block(spec, index, start, stop))
        if spec.classes is not None:
            writer.put_logits(block(spec, len(spec.layers), start, stop))
        writer.end_batch()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by name."""
    return {found.name: found.read_bytes() for found in folder.iterdir()}


@dataclass
class FakeModel:
    """Two layers and class scores by plain arithmetic on ``(n, 4)`` inputs."""

    path: Path = Path("fake.onnx")
    format: str = "fake"
    device: str = "cpu"
    sha256: str = "cd" * 32
    inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "float32", (None, 4)),)
    notes: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def layers(self, example=None) -> tuple[Layer, ...]:
        return (Layer("map", "conv", True, (2, 3, 3)), Layer("fc", "linear", True, (6,)))

    def run(self, inputs, layers, sink) -> list[np.ndarray]:
        (x,) = inputs
        self.batches.append(len(x))
        tapped = {
            "map": np.tile(x[:, :2, None, None], (1, 1, 3, 3)) * np.arange(1, 4, dtype=np.float32),
            "fc": np.concatenate([x, x[:, :2] ** 2], axis=1),
        }
        for name in layers:
            sink(name, tapped[name])
        return [x[:, :3].copy()]


def make_dataset(rows=40, **changes) -> Dataset:
    data = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    content = {
        "name": "test",
        "reference": "test.npz",
        "kind": "arrays",
        "read": lambda wanted: {"x": data[wanted]},
        "labels": data[:, :3].argmax(axis=1),
        "class_names": None,
        "ids": [f"test/{row}" for row in range(rows)],
        "fingerprint": "ef" * 32,
    }
    return Dataset(**(content | changes))


def make_feed(rows=40, model=None, **changes) -> Feed:
    return Feed((model or FakeModel()).inputs, make_dataset(rows, **changes), None)
