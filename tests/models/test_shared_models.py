"""Checkpoints that other people made: a listing and finite values, or one line saying why not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from entangle_cli.errors import ModelError
from entangle_cli.models.opening import open_model

LONGEST_MESSAGE = 300


def real(*shape, dtype=np.float32):
    """Inputs of n samples of this shape, uniform in [0, 1]."""
    return lambda n: [np.random.default_rng(0).random((n, *shape)).astype(dtype)]


def whole(limit, *shape, count=1, dtype=np.int64):
    """``count`` inputs of n rows of integers in [1, limit)."""
    generator = np.random.default_rng(0)
    return lambda n: [generator.integers(1, limit, (n, *shape), dtype) for _ in range(count)]


@dataclass(frozen=True)
class Expectation:
    """Fitting inputs for n samples, and what has to come of them.

    ``refused`` is a pattern for the message where the file cannot be used at all. A ``strict``
    file has to give n finite rows per layer; any other may also explain itself in one line.
    """

    inputs: Callable[[int], list] | None = None
    n: int = 3
    refused: str | None = None
    strict: bool = True


def silero(n):
    state = np.zeros((2, n, 128), np.float32)
    return [*real(576)(n), state, np.array(16000, np.int64)]


def loop(n):
    return [np.array(5), np.array(True), np.ones(1, np.float32)]


def implicit_state(n):
    return [np.ones(n, np.int64), np.ones(n, bool), np.ones(n, np.int64), np.ones(n, np.int64)]


CIFAR, MNIST, IMAGENET = real(3, 32, 32), real(1, 28, 28), real(3, 224, 224)
FILES = {
    "onnx/mnist-cntk-op8.onnx": Expectation(MNIST),
    "onnx/mnist-fc-256x4.onnx": Expectation(real(784, 1)),
    "onnx/mnist-extdata/mnist.onnx": Expectation(MNIST),
    "onnx/mnist-softmax-opset4.onnx": Expectation(real(784), refused="Add|opset"),
    "onnx/fashion-cnn-two-outputs.onnx": Expectation(MNIST),
    "onnx/cifar10-resnet4b.onnx": Expectation(CIFAR),
    "onnx/cifar10-marabou-large-nhwc.onnx": Expectation(real(32, 32, 3)),
    "onnx/cifar10-tinycnn-fp32.onnx": Expectation(CIFAR),
    "onnx/cifar10-tinycnn-int8-qlinear.onnx": Expectation(CIFAR),
    "onnx/cifar10-winml-resize.onnx": Expectation(CIFAR),
    "onnx/neg-cifar10-missing-extdata.onnx": Expectation(CIFAR, refused=r"cifar10\.onnx\.data"),
    "onnx/imagenet-squeezenet-fp16.onnx": Expectation(real(3, 224, 224, dtype=np.float16), n=2),
    "onnx/imagenet-light-resnet50-constant.onnx": Expectation(IMAGENET, n=2),
    "onnx/magika-v3.3-bytes-int32.onnx": Expectation(whole(250, 2048, dtype=np.int32)),
    "onnx/bert-dummy-int64x3.onnx": Expectation(whole(2, 6, count=3)),
    "onnx/silero-vad-if-state.onnx": Expectation(silero, strict=False),
    "onnx/loop11.onnx": Expectation(loop, strict=False),
    "onnx/iris-logreg-zipmap.onnx": Expectation(real(4)),
    "onnx/badnames.onnx": Expectation(lambda n: 3 * real()(n), n=2),
    "torchscript/imagenet-mobilenetv2-quantized.pt": Expectation(IMAGENET, n=1),
    "torchscript/reddit-bytelstm-int.pt": Expectation(whole(250, 20)),
    "torchscript/silero-vad.jit": Expectation(
        lambda n: [*real(512)(n), np.array(16000)], strict=False
    ),
    "torchscript/mcorr-list-of-dicts.pt": Expectation(real(128), strict=False),
    "torchscript/sparse-dict-io.pt": Expectation(lambda n: [{"input_ids": whole(100, 5)(n)[0]}]),
    "torchscript/triton-four-inputs-tuple.pt": Expectation(implicit_state, n=1, strict=False),
    "torchscript/tuple-in-float-out.pt": Expectation(
        lambda n: [np.array(1.0), np.array(2.0), np.array(3)], strict=False
    ),
    "torchscript/neg-d2go-needs-torchvision.pt": Expectation(refused="torchvision"),
}
every_file = pytest.mark.parametrize("name", FILES)


def is_one_line(error):
    return "\n" not in str(error) and 0 < len(str(error)) < LONGEST_MESSAGE


def outcome(attempt):
    """(result, None) or (None, the error that names why not)."""
    try:
        return attempt(), None
    except ModelError as error:
        return None, error


@pytest.fixture
def open_shared(shared):
    return lambda name: open_model(shared / "models" / name)


def test_every_shared_model_is_expected_here(shared):
    found = {p.relative_to(shared / "models").as_posix() for p in shared.glob("models/*/**/*.*")}
    assert found - {"onnx/mnist-extdata/mnist.onnx.data"} == set(FILES)


@every_file
def test_listing_without_inputs_gives_unique_names_or_one_line(name, open_shared):
    layers, refusal = outcome(lambda: open_shared(name).layers())
    if refusal:
        assert is_one_line(refusal)
        return
    names = [layer.name for layer in layers]
    assert names
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", [n for n, e in FILES.items() if e.refused])
def test_a_file_that_cannot_be_used_says_why(name, open_shared):
    with pytest.raises(ModelError, match=FILES[name].refused) as failure:
        run_defaults(open_shared(name), FILES[name])
    assert is_one_line(failure.value)


@pytest.mark.parametrize("name", [n for n, e in FILES.items() if not e.refused])
def test_default_layers_are_finite_rows_of_the_batch(name, open_shared):
    expectation = FILES[name]
    result, refusal = outcome(lambda: run_defaults(open_shared(name), expectation))
    if refusal:
        assert not expectation.strict, refusal
        assert is_one_line(refusal)
        return
    values, outputs = result
    assert values or not expectation.strict
    for layer, value in values.items():
        assert np.isfinite(value).all(), layer
        assert len(value) == expectation.n or not expectation.strict, layer
        assert value.dtype in (np.float32, np.float64), layer
    assert outputs


def run_defaults(model, expectation):
    inputs = expectation.inputs(expectation.n) if expectation.inputs else []
    layers = model.layers(inputs)
    names, values = [layer.name for layer in layers if layer.default], {}

    def sink(name, value):
        values[name] = np.array(value)

    outputs = model.run(inputs, names, sink)
    assert list(values) == names
    return values, outputs


@pytest.mark.parametrize(
    "name", ["onnx/mnist-cntk-op8.onnx", "onnx/cifar10-resnet4b.onnx", "onnx/mnist-fc-256x4.onnx"]
)
def test_a_fixed_batch_of_one_gives_the_rows_of_single_runs(name, open_shared):
    model = open_shared(name)
    (batch,) = FILES[name].inputs(3)
    names = [layer.name for layer in model.layers([batch]) if layer.default]
    together, singles = {}, []
    model.run([batch], names, lambda layer, value: together.update({layer: np.array(value)}))
    for row in batch:
        single = {}
        model.run([row[None]], names, lambda layer, x, to=single: to.update({layer: np.array(x)}))
        singles.append(single)
    for layer, value in together.items():
        expected = np.concatenate([single[layer] for single in singles])
        assert np.abs(value - expected).max() <= 1e-5 * np.abs(expected).max(), layer


def test_two_halves_of_a_quantisation_pair_have_similar_rows(open_shared):
    rows = []
    for kind in ("fp32", "int8-qlinear"):
        name = f"onnx/cifar10-tinycnn-{kind}.onnx"
        values, _ = run_defaults(open_shared(name), FILES[name])
        rows.append(list(values.values()))
    for real_row, quantised in zip(*rows, strict=True):
        assert real_row.shape == quantised.shape
        correlation = np.corrcoef(real_row.ravel(), quantised.ravel())[0, 1]
        assert correlation > 0.9
