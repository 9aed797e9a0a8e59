"""The sound files that every bench starts from."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from bench import CLASSES, ROWS, SIDE, Bench, run_here
from onnx import TensorProto, helper, numpy_helper
from torch import nn


def onnx_model(nodes, inputs, outputs, weights=(), *, opset=17, ir_version=8, domains=()):
    """An ONNX model of nodes ``(op, ins, outs[, attributes])`` and values ``(name, shape)``."""
    made = [helper.make_node(n[0], n[1], n[2], **(n[3] if len(n) > 3 else {})) for n in nodes]
    tensors = [numpy_helper.from_array(array, name) for name, array in dict(weights).items()]
    graph = helper.make_graph(made, "net", _values(inputs), _values(outputs), tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def _values(specs):
    kinds = (spec[2] if len(spec) > 2 else TensorProto.FLOAT for spec in specs)
    return [
        helper.make_tensor_value_info(spec[0], kind, spec[1])
        for spec, kind in zip(specs, kinds, strict=True)
    ]


def weights(seed: int = 0, **shapes) -> dict[str, np.ndarray]:
    """Random weights by name."""
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def vector_model(extra=(), *, last="y", arrays=(), **options) -> onnx.ModelProto:
    """``x (n, 4) -> h (n, 5) -> g (n, 3)``, then the ``extra`` nodes from g to ``last``."""
    nodes = [
        ("Gemm", ["x", "w1"], ["a"]),
        ("Relu", ["a"], ["h"]),
        ("Gemm", ["h", "w2"], ["g" if extra else "y"]),
        *extra,
    ]
    held = weights(w1=(4, 5), w2=(5, CLASSES)) | dict(arrays)
    return onnx_model(nodes, [("x", ["n", 4])], [(last, ["n", CLASSES])], held, **options)


def image_model() -> onnx.ModelProto:
    """``x (n, 1, 8, 8)`` through a convolution to three scores."""
    nodes = [
        ("Conv", ["x", "k"], ["c"]),
        ("Relu", ["c"], ["r"]),
        ("Flatten", ["r"], ["f"]),
        ("Gemm", ["f", "w"], ["y"]),
    ]
    held = weights(k=(2, 1, 3, 3), w=(2 * (SIDE - 2) ** 2, CLASSES))
    return onnx_model(nodes, [("x", ["n", 1, SIDE, SIDE])], [("y", ["n", CLASSES])], held)


class Perceptron(nn.Module):
    """Two linear layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Convolution(nn.Module):
    """A convolution and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(2 * (SIDE - 2) ** 2, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).flatten(1))


def save_script(module: nn.Module, path: Path, how=torch.jit.script) -> Path:
    """A module as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(how(module), str(path))
    return path


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, images and labels of three classes."""
    random = np.random.default_rng([7, seed])
    labels = np.arange(ROWS) % CLASSES
    points = (random.normal(size=(ROWS, 4)) + 2 * labels[:, None]).astype(np.float32)
    images = random.integers(0, 200, (ROWS, SIDE, SIDE), dtype=np.uint8)
    images[:, 0] = (20 * labels)[:, None]
    return points, images, labels


def write_sound_files(folder: Path) -> None:
    """Everything that `bench` promises; the current folder must be this one."""
    points, images, labels = data()
    at = Bench(folder, np.random.default_rng(0), points, images, labels)
    torch.manual_seed(0)
    onnx.save(vector_model(), folder / "vec.onnx")
    onnx.save(image_model(), folder / "net.onnx")
    save_script(Perceptron().eval(), folder / "vec.pt")
    save_script(Convolution().eval(), folder / "net.pt")
    at.npz("images.npz", images=images, labels=labels)
    at.npz("vec.npz", x=points, y=labels)
    for seed, name in ((1, "train"), (2, "calib")):
        other, _, _ = data(seed)
        at.npz(f"{name}.npz", x=other, y=labels)
    at.class_folders("images")
    answer = run_here(("dump", "vec.onnx", "vec.npz", "--file", "acts.h5", "-q"))
    assert answer.code == 0, answer.stderr
