"""The last linear layer of an ONNX file; its weights are read through onnxruntime.

A weight may be an initializer, a constant node, or computed from those by further nodes (Reshape,
Transpose, Cast, DequantizeLinear). onnxruntime hands out whatever it is, external data included.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from entangle_cli.models.head import LinearHead, NoHead, Step, class_output, follow
from entangle_cli.models.head_check import EXACT, ROUNDED, Claim, Named, verified
from entangle_cli.models.onnx.batches import fixed_size
from entangle_cli.models.onnx.file import OnnxFile, load_proto
from entangle_cli.models.onnx.graph import SHAPE_OPS, kind_of, tensors_read, user_inputs
from entangle_cli.models.onnx.session import TapSession
from entangle_cli.models.onnx.values import conform, sample_count, take

if TYPE_CHECKING:
    from entangle_cli.models import Model

# where the second operand is, and the bias where the operation has one
_OPERANDS = {
    "Gemm": (1, 2),
    "MatMul": (1, None),
    "FusedMatMul": (1, None),
    "Conv": (1, 2),
    "QLinearMatMul": (3, None),
    "QGemm": (3, 6),
}
_QUANTIZED = frozenset({"QLinearMatMul", "QGemm", "QLinearAdd"})
_ADDS = frozenset({"Add", "Sum", "QLinearAdd"})
_HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)

_COMPUTED = "the weights of the last linear layer are computed from the input"


def find_head(
    model: "Model",
    file: OnnxFile,
    layers: Mapping[str, Named],
    providers: list,
    example: Sequence[np.ndarray],
) -> LinearHead:
    """The last linear layer before the class output; ``layers`` are by tensor name.

    Raises:
        NoHead: there is none, or its weights cannot be read.
        ModelError: the network does not run on ``example``.
    """
    outputs = model.run(example, (), lambda name, array: None)
    position = class_output(outputs)
    if len(outputs) != len(file.outputs):
        raise NoHead("not all outputs of the model are tensors")
    nodes, steps = _read_steps(load_proto(file.path).graph)
    trail = follow(steps, file.outputs[position])
    parts = [nodes[trail.linear], *(nodes[value] for value in trail.adds)]
    for node, known in zip(parts, (_OPERANDS, *[_ADDS] * len(trail.adds)), strict=True):
        if node.op_type not in known:
            raise NoHead(f"no weights can be read from its last layer, of type {node.op_type}")
    names = {name for node in parts for name in node.input if name and name not in steps}
    constants = sorted(names - {value.name for value in file.inputs})
    if not constants:
        raise NoHead(_COMPUTED)
    session = TapSession(file.path, constants, providers=providers, free={})
    arrays = conform(example, file.inputs)
    rows = np.arange(fixed_size(file.inputs) or 1) % sample_count(arrays, file.inputs)
    feed = zip(file.inputs, take(arrays, file.inputs, rows), strict=True)
    found = session.run({spec.name: array for spec, array in feed}, constants)
    values = dict(zip(constants, found, strict=True))
    weight, biases = _linear(parts[0], values)
    biases += [bias for node in parts[1:] for bias in _added(node, values)]
    rounded = any(file.types.get(name) in _HALF for name in constants)
    known = (file.quantizations.get(value) for value in trail.path)
    step = max((float(q.scale.max()) for q in known if q is not None), default=0.0)
    claim = Claim(trail, weight, tuple(biases), ROUNDED if rounded or step else EXACT, step)
    return verified(model, claim, layers, example)


def _read_steps(graph: onnx.GraphProto) -> tuple[dict[str, onnx.NodeProto], dict[str, Step]]:
    """The nodes that depend on the input, by each tensor they make, and what they do."""
    data = {value.name for value in user_inputs(graph)}
    nodes: dict[str, onnx.NodeProto] = {}
    steps: dict[str, Step] = {}
    for node in graph.node:
        ins = tuple(dict.fromkeys(name for name in tensors_read(node) if name in data))
        if ins and node.op_type not in SHAPE_OPS:
            made = [name for name in node.output if name]
            data.update(made)
            nodes.update(dict.fromkeys(made, node))
            steps.update(dict.fromkeys(made, Step(kind_of(node), ins)))
    return nodes, steps


def _linear(
    node: onnx.NodeProto, values: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The weight ``(C, D)`` and the bias, if the node has one."""
    options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    second, third = _OPERANDS[node.op_type]
    alpha = options.get("alpha", 1.0)
    has_bias = third is not None and len(node.input) > third and node.input[third]
    bias = [_constant(node, third, values)] if has_bias else []
    if node.op_type == "Conv":
        weight = _constant(node, second, values)
        return weight.reshape(len(weight), -1), bias
    if node.op_type == "QGemm":
        scales = (_constant(node, i, values).reshape(-1) for i in (1, 4))
        bias = [alpha * np.prod(np.broadcast_arrays(*scales), axis=0) * x for x in bias]
    bias = [options.get("beta", 1.0) * x for x in bias]
    on_the_left = node.input[second] not in values
    at, flag = (0, "transA") if on_the_left else (second, "transB")
    weight = _matrix(_constant(node, at, values))
    weight = weight.T if options.get(flag) else weight
    if node.op_type in _QUANTIZED:
        weight = _dequantized(node, at, weight, values)
    return alpha * (weight if on_the_left else weight.T), bias


def _added(node: onnx.NodeProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The constants that an addition adds."""
    if node.op_type != "QLinearAdd":
        return [_constant(node, i, values) for i, name in enumerate(node.input) if name in values]
    at = 0 if node.input[0] in values else 3
    return [_dequantized(node, at, _constant(node, at, values), values)]


def _dequantized(
    node: onnx.NodeProto, at: int, integers: np.ndarray, values: Mapping[str, np.ndarray]
) -> np.ndarray:
    """The real numbers of operand ``at``; scale and zero point follow it among the inputs.

    More than one scale belongs to the last axis, the columns.
    """
    scale, zero = (_constant(node, at + k, values) for k in (1, 2))
    return (integers - zero) * scale


def _constant(node: onnx.NodeProto, at: int, values: Mapping[str, np.ndarray]) -> np.ndarray:
    name = node.input[at] if at < len(node.input) else ""
    if not name:  # a zero point that is left out
        return np.zeros(())
    if name not in values:
        raise NoHead(_COMPUTED)
    return values[name].astype(np.float64)


def _matrix(array: np.ndarray) -> np.ndarray:
    """``array`` without leading axes of length 1; raises NoHead where it is no matrix then."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2:
        raise NoHead(f"the weights of the last linear layer have shape {array.shape}")
    return array
