"""The last linear layer of a TorchScript network, read from the operations of one run.

torch takes a linear layer apart into ``addmm`` or ``mm`` and views; a dispatch mode sees these
with the tensors themselves, wherever the file keeps them: parameters, constants of a frozen
graph, packed weights of a quantised layer.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from entangle_cli.models.head import LinearHead, NoHead, Step, class_output, follow
from entangle_cli.models.head_check import COARSE, EXACT, ROUNDED, Claim, Named, verified
from entangle_cli.models.torchscript.catalog import Catalog
from entangle_cli.models.torchscript.graph import TapGraph
from entangle_cli.models.torchscript.network import Network
from entangle_cli.models.torchscript.probe import Recorder, observe
from entangle_cli.models.torchscript.taps import tensors
from entangle_cli.models.torchscript.values import outputs, plain

if TYPE_CHECKING:
    from entangle_cli.models import Model

# operations with packed weights; the second rounds its input by itself
_PACKED = {"quantized::linear": ROUNDED, "quantized::linear_dynamic": COARSE}
_CONVOLUTIONS = frozenset({"aten::convolution", "aten::_convolution"})


class _Calls(Recorder):
    """Keeps what each operation was called with; operations of one node stay apart."""

    def __init__(self, graph: TapGraph) -> None:
        super().__init__(graph)
        self.steps: dict[int, Step] = {}
        self.calls: dict[int, tuple[str, list, Mapping]] = {}

    def _operation(self, func, args: Sequence, options: dict, out: object) -> None:
        ops = self.recording.oplist.ops
        before = len(ops)
        super()._operation(func, args, options, out)
        for op in ops[before:]:
            name = func.name().partition(".")[0]
            # x[:, :, None] also takes a slice of everything
            whole = name == "aten::slice" and out.shape == args[0].shape
            step = Step("identity" if whole else op.kind, op.ins)
            self.steps.update(dict.fromkeys(op.outs, step))
            constants = [None if self._is_data(x) else x for x in args]
            self.calls.update(dict.fromkeys(op.outs, (name, constants, options)))

    def _is_data(self, value: object) -> bool:
        return any(id(x) in self.numbers for x in tensors(value))

    def _close_node(self, kind: str) -> None:
        pass


def find_head(
    model: "Model", network: Network, catalog: Catalog, example: Sequence[object]
) -> LinearHead:
    """The last linear layer before the class output; ``catalog`` has the layers of ``model``.

    Raises:
        NoHead: there is none, or its weights cannot be read.
        ModelError: the network does not run on ``example``.
    """
    seen = _Calls(network.graph)
    with network.guarded(example):
        recording = observe(seen, network.instance(), network.arguments(example))
    output = list(tensors(recording.output))[class_output(outputs(recording.output))]
    trail = follow(seen.steps, seen.numbers.get(id(output)))
    weight, biases, tolerance = _linear(*seen.calls[trail.linear])
    biases += [_added(*seen.calls[value]) for value in trail.adds]
    readable = {e.firing: e.layer for e in catalog.entries if e.problem is None}
    layers = {
        value: Named(readable[firing].name, readable[firing].default)
        for value, i in recording.oplist.source.items()
        if (firing := recording.firings[i]) in readable
    }
    step = max(_step(seen.tensor(value)) for value in trail.path)
    claim = Claim(trail, weight, tuple(biases), max(tolerance, ROUNDED if step else 0.0), step)
    return verified(model, claim, layers, example)


def _linear(
    name: str, constants: list, options: Mapping
) -> tuple[np.ndarray, list[np.ndarray], float]:
    """The weight ``(C, D)``, the bias if there is one, and the tolerance of the check."""
    if name in _PACKED:
        weight, bias = _unpacked(constants[1])
    elif name in _CONVOLUTIONS:
        weight, bias = _given(constants[1]).flatten(1), constants[2]
    elif name == "aten::linear":
        weight, bias = _given(constants[1]), constants[2] if len(constants) > 2 else None
    elif name == "aten::addmm":
        weight, bias = _factor(constants[1:3]), _given(constants[0])
        scales = [options.get(key, 1) for key in ("alpha", "beta")]
        return scales[0] * _real(weight), [scales[1] * _real(bias)], _tolerance(weight)
    elif name == "aten::mm":
        weight, bias = _factor(constants), None
    else:
        raise NoHead(f"no weights can be read from its last layer, computed by {name}")
    tolerance = _PACKED.get(name, _tolerance(weight))
    return _real(weight), [] if bias is None else [_real(bias)], tolerance


def _factor(operands: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """The constant one of two factors, as ``(C, D)``."""
    left, right = operands
    return _given(left) if right is None else right.t()


def _given(constant: torch.Tensor | None) -> torch.Tensor:
    if constant is None:
        raise NoHead("the weights of the last linear layer are computed from the input")
    return constant


def _unpacked(packed: torch.ScriptObject) -> tuple[torch.Tensor, torch.Tensor | None]:
    try:
        return torch.ops.quantized.linear_unpack(packed)
    except RuntimeError:
        raise NoHead("the packed weights of its last linear layer cannot be unpacked") from None


def _added(name: str, constants: list, options: Mapping) -> np.ndarray:
    """The constant that an addition adds."""
    constant = next((x for x in constants if x is not None), None)
    if name != "aten::add" or not isinstance(constant, (torch.Tensor, int, float)):
        raise NoHead(f"no bias can be read from its last layer, computed by {name}")
    return options.get("alpha", 1) * _real(constant)


def _step(tensor: torch.Tensor) -> float:
    """The distance between the numbers that a quantised tensor can have, 0 for any other."""
    if not tensor.is_quantized:
        return 0.0
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return tensor.q_scale()
    return float(tensor.q_per_channel_scales().max())


def _real(value: torch.Tensor | float) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return plain(value).to(torch.float64).numpy()
    return np.asarray(float(value))


def _tolerance(weight: torch.Tensor) -> float:
    rounded = weight.is_quantized or weight.dtype in (torch.float16, torch.bfloat16)
    return ROUNDED if rounded else EXACT
