"""Real data sets and checkpoints beside this checkout, where they are."""

import numpy as np
import onnxruntime
import pytest

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.probing import resolve_preprocessing
from entangle_cli.errors import ModelError


@pytest.mark.parametrize(
    ("reference", "n", "shape"),
    [
        ("mnist@test", 10_000, (28, 28, 1)),
        ("kmnist", 10_000, (28, 28, 1)),
        ("cifar10@test", 10_000, (32, 32, 3)),
        ("svhn/test-first10k.zip", 10_000, (32, 32, 3)),
    ],
)
def test_real_data_sets_are_read(shared, reference, n, shape):
    dataset = open_dataset(str(shared / "data" / reference))
    assert len(dataset) == n
    assert dataset.images([n - 1])[0].shape == shape
    assert np.unique(dataset.labels).tolist() == list(range(10))


# accuracy in percent on the whole test set, with the preprocessing that its makers used
KNOWN = [
    ("mnist-cntk-op8.onnx", "mnist", 98.91),
    ("mnist-fc-256x4.onnx", "mnist", 97.64),
    ("mnist-extdata/mnist.onnx", "mnist", 97.37),
    ("fashion-cnn-two-outputs.onnx", "fashion", 90.15),
    ("cifar10-resnet4b.onnx", "cifar10@test", 76.54),
    ("cifar10-marabou-large-nhwc.onnx", "cifar10@test", 72.65),
    ("cifar10-tinycnn-fp32.onnx", "cifar10@test", 70.67),
    ("cifar10-tinycnn-int8-qlinear.onnx", "cifar10@test", 70.65),
    ("cifar10-winml-resize.onnx", "cifar10@test", 61.45),
]


def session_of(path):
    """The declared shape and a function from input batches to class scores."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in value.shape)

    def predict(batch):
        step = shape[0] or len(batch)
        parts = [batch[start : start + step] for start in range(0, len(batch), step)]
        try:
            return np.concatenate([session.run(None, {value.name: part})[0] for part in parts])
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            raise ModelError(str(error)) from None

    return shape, predict


@pytest.mark.slow
@pytest.mark.parametrize(("model", "data", "percent"), KNOWN)
def test_probing_reaches_the_known_accuracy(shared, model, data, percent):
    shape, predict = session_of(shared / "models" / "onnx" / model)
    dataset = open_dataset(str(shared / "data" / data))
    resolved = resolve_preprocessing(shape, "float32", dataset, predict=predict)
    right = 0
    for start in range(0, len(dataset), 1000):
        rows = np.arange(start, start + 1000)
        scores = predict(resolved.preprocessing.apply(dataset.images(rows)))
        right += int((scores.argmax(axis=1) == dataset.labels[rows]).sum())
    assert 100 * right / len(dataset) == pytest.approx(percent, abs=0.5)
