"""Points to measure: mixtures made here, and layers of a real network where there is one."""

import tempfile
from pathlib import Path

import numpy as np

from entangle_cli import dump, open_dataset, open_model
from entangle_cli.activations.feed import Feed
from entangle_cli.datasets.preprocessing import Preprocessing

NETWORK = "models/onnx/mnist-cntk-op8.onnx"
COUNT = 10_000

Layer = tuple[str, np.ndarray, np.ndarray]


def mixture(
    count: int, dimension: int, *, classes: int = 10, spread: float = 0.35, seed: int = 0
) -> Layer:
    """Gaussian classes about centers that spread over ``spread`` times their own width, float32."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(classes, dimension)) * spread
    labels = generator.integers(0, classes, count)
    points = centers[labels] + generator.normal(size=(count, dimension))
    return f"mixture, d = {dimension}", points.astype(np.float32), labels


def real_layers(shared: Path, count: int = COUNT) -> list[Layer]:
    """Pixels of MNIST test images, and the layers of a trained and an untrained network."""
    dataset = open_dataset(f"{shared / 'data' / 'mnist'}@test[0:{count}]")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        untrained = Path(folder) / "untrained.onnx"
        _forget(shared / NETWORK, untrained)
        for name, path in (("trained", shared / NETWORK), ("untrained", untrained)):
            model = open_model(path)
            feed = Feed(model.inputs, dataset, Preprocessing(scale=1.0))
            layers = [
                layer.name
                for layer in model.layers(feed.batch(0, 1))
                if layer.default or layer.name.endswith("relu")
            ]
            file = dump(model, feed, Path(folder) / f"{name}.h5", layers=layers)
            labels = np.array(file.labels)
            found += [(f"{name} {layer}", np.array(file.points(layer)), labels) for layer in layers]
    pixels = np.stack(dataset.images(np.arange(len(dataset)))).reshape(len(dataset), -1)
    return [("pixels", (pixels / 255).astype(np.float32), labels), *found]


def _forget(source: Path, target: Path) -> None:
    """The same network with random weights, scaled to keep the variance, and biases of 0."""
    import onnx
    from onnx import numpy_helper

    model, generator = onnx.load(source), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32:
            continue
        # kernels are square, (out, in, side, side); a matrix has its outputs last; a bias one axis
        kernel = values.ndim == 4 and values.shape[2] == values.shape[3]
        inputs = values[0].size if kernel else values[..., 0].size
        scale = 0.0 if max(values.shape) == values.size else np.sqrt(2 / inputs)
        drawn = (generator.normal(size=values.shape) * scale).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    onnx.save(model, target)
