"""Integer tensors of quantised networks, and the real numbers they stand for.

``real = scale (integer - zero point)``, per tensor or along one axis. The operation that makes an
integer tensor holds scale and zero point; pooling and changes of shape hand them on.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from entangle_cli.models.kinds import SHAPE_ONLY, canonical

# where the scale of the result is among a node's inputs; its zero point is the next one
_SCALE_AT = {
    "QuantizeLinear": 1,
    "QLinearConv": 6,
    "QLinearMatMul": 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QGemm": 7,
    "QLinearSigmoid": 3,
    "QLinearLeakyRelu": 3,
    "QLinearSoftmax": 3,
    "QLinearReduceMean": 3,
    "QLinearAveragePool": 3,
    "QLinearGlobalAveragePool": 3,
    "QLinearConcat": 0,
}
_HANDED_ON = (SHAPE_ONLY | {"maxpool", "concat", "max", "min", "clip", "relu"}) - {
    "cast",
    "quantize",
    "dequantize",
}


@dataclass(frozen=True, eq=False)
class Quantization:
    """How to read an integer tensor: ``scale`` and ``zero_point``, scalars or along ``axis``."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int

    def real(self, integers: np.ndarray) -> np.ndarray:
        """The float32 numbers that integers of any shape ``(n, ...)`` stand for."""
        scale, zero = (self._along(a, integers.ndim) for a in (self.scale, self.zero_point))
        return (integers.astype(np.float32) - zero) * scale

    def _along(self, values: np.ndarray, rank: int) -> np.ndarray:
        if values.size == 1:
            return values.reshape(()).astype(np.float32)
        shape = [1] * rank
        shape[self.axis] = values.size
        return values.reshape(shape).astype(np.float32)


def read_quantizations(graph: onnx.GraphProto) -> dict[str, Quantization | None]:
    """The quantisation of each integer tensor; None where the scale is computed from the data."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    found: dict[str, Quantization | None] = {}
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            found[node.output[0]] = None
        elif node.op_type in _SCALE_AT and len(node.input) > _SCALE_AT[node.op_type]:
            found[node.output[0]] = _of_result(node, constants)
        elif node.input and node.input[0] in found and canonical(node.op_type) in _HANDED_ON:
            handed = found[node.input[0]]
            found.update((name, handed) for name in node.output if name)
    return found


def _of_result(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> Quantization | None:
    position = _SCALE_AT[node.op_type]
    scale = constants.get(node.input[position])
    if scale is None or scale.data_location == onnx.TensorProto.EXTERNAL:
        return None
    zero_name = node.input[position + 1] if len(node.input) > position + 1 else ""
    zero = constants.get(zero_name)
    if zero_name and zero is None:
        return None
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return Quantization(
        onnx.numpy_helper.to_array(scale),
        np.zeros(1) if zero is None else onnx.numpy_helper.to_array(zero),
        axis if node.op_type == "QuantizeLinear" else 1,
    )
