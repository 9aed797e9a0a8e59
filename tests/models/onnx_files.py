"""Small ONNX files written node by node, each with one difficulty."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def value(name, shape, kind=FLOAT):
    """A typed input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def node(kind, ins, outs, name="", **attributes):
    """One operation."""
    return helper.make_node(kind, ins, outs, name, **attributes)


def weights(seed=0, **shapes):
    """Random initialisers by name."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def model(nodes, inputs, outputs, initializers, *, opset=17, ir_version=8, domains=()):
    """A model of these parts; ``initializers`` are arrays by name."""
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def save(proto, path: Path) -> Path:
    """Write a model."""
    onnx.save(proto, path)
    return path


def mlp(batch="n", **options):
    """Two linear layers with a ReLU between: ``x (n, 4) -> h (n, 3) -> y (n, 2)``."""
    nodes = [
        node("Gemm", ["x", "w1"], ["g"], "first"),
        node("Relu", ["g"], ["h"], "activation"),
        node("Gemm", ["h", "w2"], ["y"], "second"),
    ]
    arrays = weights(w1=(4, 3), w2=(3, 2))
    return model(nodes, [value("x", [batch, 4])], [value("y", [batch, 2])], arrays, **options)
