"""What a TorchScript network takes: names and types from its schema, shapes from its weights.

A TorchScript file stores no input shapes. The first weights that an input meets bound them: a
convolution knows its channels, an embedding asks for token ids.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from entangle_cli.models import TensorSpec
from entangle_cli.models.kinds import WEIGHTED, canonical
from entangle_cli.models.torchscript.graph import Operation, TapGraph

# lengths to try where any is accepted: usual image sizes, window lengths, sentence lengths
_LENGTHS = {
    1: (16, 512, 128, 1000, 16000),
    2: (28, 32, 8, 64, 96, 16, 48, 128, 224, 256, 299),
    3: (8, 16, 32),
}
_SCALARS = {"int": np.asarray(1), "float": np.asarray(1.0), "bool": np.asarray(True)}


@dataclass(frozen=True)
class Need:
    """What the first weights say of one input: its dtype, its shape, the range of its ids."""

    dtype: torch.dtype
    shape: tuple[int | None, ...]
    vocabulary: int | None = None


def needs(graph: TapGraph) -> dict[int, Need]:
    """For each input (by position) that meets weights, what they ask of it."""
    found: dict[int, Need] = {}
    # value -> (input, the rearrangements between the input and the value, oldest first)
    arguments = zip(graph.input_values, graph.arguments, strict=True)
    origin = {
        value: (i, ())
        for i, (value, argument) in enumerate(arguments)
        if argument.type.kind() == "TensorType"
    }
    for operation in graph.operations:
        position = next((k for k, v in enumerate(operation.ins) if v in origin), None)
        if position is None:
            continue
        source, path = origin[operation.ins[position]]
        need = _need(operation)
        if need is not None and source not in found:
            found[source] = Need(need.dtype, _before(need.shape, path), need.vocabulary)
        step = _rearrangement(operation)
        for value in operation.outs:
            origin[value] = (source, (*path, step) if step else path)
    return found


def describe(graph: TapGraph, found: dict[int, Need]) -> tuple[TensorSpec, ...]:
    """The inputs as `TensorSpec`: tensors by dtype and shape, all else in words."""
    specs = []
    for i, argument in enumerate(graph.arguments):
        if i in found and argument.type.kind() == "TensorType":
            dtype, shape = str(found[i].dtype).removeprefix("torch."), found[i].shape
        else:
            dtype, shape = _in_words(argument), None
        specs.append(TensorSpec(argument.name, dtype, shape, declared=False))
    return tuple(specs)


def candidates(specs: Sequence[TensorSpec], found: dict[int, Need]) -> Iterator[list[np.ndarray]]:
    """Made-up batches that might fit, of two rows and of one; none where nothing is known."""
    required = [i for i, spec in enumerate(specs) if " = " not in spec.dtype]
    if not found or any(i not in found and specs[i].dtype not in _SCALARS for i in required):
        return
    count = max(len(_shapes(need.shape)) for need in found.values())
    for k, rows in itertools.product(range(count), (2, 1)):
        yield [
            _made_up(found[i], rows, k) if i in found else _SCALARS[specs[i].dtype]
            for i in range(max(required, default=-1) + 1)
        ]


def _in_words(argument) -> str:
    words = "tensor" if argument.type.kind() == "TensorType" else argument.type.annotation_str
    return f"{words} = {argument.default_value!r}" if argument.has_default_value() else words


def _shapes(shape: tuple[int | None, ...]) -> list[tuple[int, ...]]:
    """Shapes without the batch axis, each free axis set to one of the usual lengths."""
    free = sum(length is None for length in shape[1:])
    if not free:
        # a linear layer reads its last axis only: rows of vectors, or sequences of them
        return [shape[1:], (16, *shape[1:])]
    return [
        tuple(length if axis is None else axis for axis in shape[1:])
        for length in _LENGTHS.get(free, (16,))
    ]


def _made_up(need: Need, rows: int, k: int) -> np.ndarray:
    shapes = _shapes(need.shape)
    shape = (rows, *shapes[min(k, len(shapes) - 1)])
    generator = np.random.default_rng(0)
    if need.vocabulary is not None:
        return generator.integers(0, need.vocabulary, shape)
    return generator.random(shape, dtype=np.float32)


def _need(operation: Operation) -> Need | None:
    kind, known = canonical(operation.kind), operation.known
    if "::" not in operation.kind:  # a call of a function: its first operand is the function
        known = known[1:]
    if kind not in WEIGHTED:
        return None
    weight, groups = _weight(operation.kind, known)
    if weight is None or weight.ndim < 2:
        return None
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    if kind == "embedding":
        return Need(torch.int64, (None, None), weight.shape[0])
    if kind == "conv":
        transposed = "transpose" in operation.kind or (len(known) > 8 and known[6] is True)
        channels = weight.shape[0] if transposed else weight.shape[1] * groups
        return Need(dtype, (None, channels, *(None,) * (weight.ndim - 2)))
    if kind == "rnn":
        return Need(dtype, (None, None, weight.shape[1]))
    by_rows = "matmul" in operation.kind or operation.kind.endswith(("mm", "mv"))
    return Need(dtype, (None, weight.shape[-2] if by_rows else weight.shape[-1]))


def _weight(kind: str, known: Sequence) -> tuple[torch.Tensor | None, int]:
    """The first weight among the operands, and the number of groups of a convolution."""
    packed = next((x for x in known if isinstance(x, torch.ScriptObject)), None)
    if packed is not None and kind.startswith("quantized::"):
        return _unpacked(kind.removeprefix("quantized::"), packed)
    weight = next((x for x in _flat(known) if isinstance(x, torch.Tensor) and x.ndim >= 2), None)
    place = 8 if kind in ("aten::_convolution", "aten::convolution") else 6
    groups = known[place] if len(known) > place else 1
    return weight, groups if type(groups) is int else 1


def _unpacked(kind: str, packed: torch.ScriptObject) -> tuple[torch.Tensor | None, int]:
    for name in ("conv1d", "conv2d", "conv3d", "linear"):
        if kind.startswith(name):
            operators = torch.ops.quantized
            weight = getattr(operators, f"{name}_unpack")(packed)[0].dequantize()
            grouped = name in ("conv2d", "conv3d")
            return weight, getattr(operators, f"{name}_groups")(packed) if grouped else 1
    return None, 1


def _flat(values: Sequence) -> Iterator[object]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _rearrangement(operation: Operation) -> tuple | None:
    """How this operation moves axes, as far as its operands are known beforehand."""
    name = operation.kind.rpartition("::")[2].rstrip("_")
    arguments = operation.known[1:]
    if name == "unsqueeze" and type(arguments[0]) is int:
        return name, arguments[0]
    if name == "permute" and isinstance(arguments[0], list) and None not in arguments[0]:
        return name, *arguments[0]
    if name == "transpose" and all(type(axis) is int for axis in arguments):
        return name, *arguments
    return None


def _before(shape: tuple[int | None, ...], path: Sequence[tuple]) -> tuple[int | None, ...]:
    """The shape before the rearrangements of ``path``, given the one after them."""
    axes = list(shape)
    for name, *numbers in reversed(path):
        if any(not -len(axes) <= axis < len(axes) for axis in numbers):
            break
        if name == "unsqueeze":
            del axes[numbers[0]]
        elif name == "transpose":
            first, second = numbers
            axes[first], axes[second] = axes[second], axes[first]
        elif len(numbers) == len(axes):
            axes = [axes[numbers.index(axis)] for axis in range(len(axes))]
    return tuple(axes)
