"""Models and training states to mutate, and how they are read."""

import io
import warnings
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from entangle_cli.errors import ModelError
from tests.fuzz.fuzz_pool import Sample

IDENTITY = {"network": "lenet", "seed": 0, "layers": ["fc"]}


def _model(nodes, inputs, outputs, tensors, **options) -> bytes:
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
        for ends in (inputs, outputs)
    ]
    held = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "net", *values, held)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, **options)
    model.metadata_props.add(key="entangle.json", value='{"mean": [0.5], "std": [0.5]}')
    return model.SerializeToString(deterministic=True)


def perceptron() -> bytes:
    """``x (n, 4) -> relu (n, 5) -> y (n, 3)``."""
    chance = np.random.default_rng(0)
    tensors = {
        name: chance.normal(size=shape).astype(np.float32)
        for name, shape in {"v": (4, 5), "b": (5,), "w": (5, 3), "c": (3,)}.items()
    }
    nodes = [
        helper.make_node("Gemm", ["x", "v", "b"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["h"], "second"),
        helper.make_node("Gemm", ["h", "w", "c"], ["y"], "third"),
    ]
    return _model(nodes, [("x", ["n", 4])], [("y", ["n", 3])], tensors)


def convolution() -> bytes:
    """Convolution, a branch, pooling, reshaping by a constant."""
    chance = np.random.default_rng(1)
    tensors = {
        "k": chance.normal(size=(2, 1, 3, 3)).astype(np.float32),
        "w": chance.normal(size=(2, 3)).astype(np.float32),
        "shape": np.array([0, -1]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], "/conv/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["s"], "/act/Sigmoid"),
        helper.make_node("Mul", ["a", "s"], ["m"], "/act/Mul"),
        helper.make_node("GlobalAveragePool", ["m"], ["p"], "/pool/Pool"),
        helper.make_node("Reshape", ["p", "shape"], ["f"], "/flat/Reshape"),
        helper.make_node("MatMul", ["f", "w"], ["y"], "/fc/MatMul"),
    ]
    return _model(nodes, [("x", ["n", 1, 6, 6])], [("y", ["n", 3])], tensors)


def onnx_files() -> list[Sample]:
    """Two networks."""
    return [Sample({"net.onnx": data}, "net.onnx") for data in (perceptron(), convolution())]


def read_model(folder: Path, sample: Sample) -> None:
    """As ``entangle layers`` reads it: nothing is run."""
    from entangle_cli.models.opening import open_model

    model = open_model(folder / sample.argument)
    assert all(isinstance(layer.name, str) for layer in model.layers())
    assert all(isinstance(note, str) for note in model.notes)


def load_program(folder: Path, sample: Sample) -> None:
    """Gate and ``torch.jit.load``; what a mutated program does when it runs is not ours to say."""
    from entangle_cli.models.opening import open_model

    assert open_model(folder / sample.argument).format == "torchscript"


def torchscript_files() -> list[Sample]:
    """A scripted and a traced network, as one file each, and weights without a network."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for program in (torch.jit.script(network), torch.jit.trace(network, torch.zeros(2, 4))):
            stream = io.BytesIO()
            torch.jit.save(program, stream, _extra_files={"entangle.json": '{"mean": [0.5]}'})
            made.append(stream.getvalue())
    return [Sample({"net.pt": data}, "net.pt") for data in made]


def read_gate(folder: Path, sample: Sample) -> None:
    """The gate before TorchScript: one line says why not."""
    from entangle_cli.models.formats import file_kind
    from entangle_cli.models.safety import refusal

    path = folder / sample.argument
    assert isinstance(file_kind(path), str)
    reasons = refusal(path), refusal(path, trust=True)
    assert all(one is None or one for one in reasons)
    if reasons[0]:
        raise ModelError(f"{path}: {reasons[0]}")


def training_states() -> list[Sample]:
    """What a training run keeps."""
    import tempfile

    import torch

    from entangle_cli.training.state import write_state

    state = {"step": 3, "weights": {"fc": torch.arange(6.0).reshape(2, 3)}, "losses": [0.5, 0.25]}
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder, "state.pt"), IDENTITY, state)
        return [Sample({"state.pt": Path(folder, "state.pt").read_bytes()}, "state.pt")]


def read_training_state(folder: Path, sample: Sample) -> None:
    """As a training that goes on reads it."""
    from entangle_cli.training.state import read_state

    state = read_state(folder / sample.argument, IDENTITY)
    assert isinstance(state, dict)
