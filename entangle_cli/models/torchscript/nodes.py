"""Reading the nodes of a TorchScript graph.

With `torchscript_graph` the only place that uses torch's private graph interface.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from entangle_cli.models.torchscript.taps import NAMESPACE, TAPS

# other prim:: nodes build, take apart or hand on values that are tapped where they are made
_COMPUTING_PRIM = frozenset({"prim::CallFunction", "prim::CallMethod", "prim::ConstantChunk"})


@dataclass(frozen=True)
class Operation:
    """One node of the inlined graph: numbers of its values, and the operands known beforehand."""

    kind: str
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    # the constant or stored tensor behind each operand, None where it depends on the input
    known: tuple[object, ...]


def attribute_path(value, graph) -> tuple[str, ...] | None:
    """The attribute names that lead from the root module to ``value``, None for any other.

    A value of an interface type has none: which class stands behind it is known at run time only.
    """
    parts = []
    while value.node().kind() == "prim::GetAttr":
        if value.type().kind() == "InterfaceType":
            return None
        parts.append(value.node().s("name"))
        value = value.node().inputsAt(0)
    root = next(iter(graph.inputs()))
    return tuple(reversed(parts)) if value.unique() == root.unique() else None


def known(value, graph, root) -> object:
    """The constant or the stored tensor that ``value`` is in every run, None for any other."""
    node = value.node()
    if node.kind() == "prim::Constant":
        return value.toIValue()
    if node.kind() == "prim::GetAttr":
        path = attribute_path(value, graph)
        return None if path is None else _stored(root, path)
    if node.kind() == "aten::t":
        matrix = known(node.inputsAt(0), graph, root)
        return matrix.t() if isinstance(matrix, torch.Tensor) else None
    if node.kind() == "prim::ListConstruct":
        return [known(element, graph, root) for element in node.inputs()]
    return None


def _stored(root, path: Sequence[str]) -> object:
    for part in path:
        if not isinstance(root, torch._C.ScriptModule):
            return None
        root = root.getattr(part)
    return root


def submodule(root, path: Sequence[str]):
    """The module at ``path``; None for an object that is not a module."""
    found = _stored(root, path)
    return found if isinstance(found, torch._C.ScriptModule) else None


def class_name(module) -> str:
    """The bare name of a module's class."""
    return module._type().name()


def preceding(node, count: int) -> list:
    """The ``count`` nodes just before ``node``, in order."""
    found = []
    for _ in range(count):
        node = node.prev()
        found.append(node)
    return found[::-1]


def all_nodes(block) -> Iterator:
    """Every node of a graph or block in order, followed by those of its own blocks."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from all_nodes(inner)


def is_tap(node) -> bool:
    """Whether the node is one of ours."""
    return node.kind().startswith(f"{NAMESPACE}::")


def computes(node) -> bool:
    """Whether the node makes new values rather than rearranging references."""
    kind = node.kind()
    return kind in _COMPUTING_PRIM or kind.partition("::")[0] not in ("prim", NAMESPACE)


def operator_name(node) -> str:
    """``aten::relu`` for an operator; the bare name, ``relu``, for a call of a function."""
    if node.kind() == "prim::CallFunction":
        return node.inputsAt(0).node().s("name").lstrip("_")
    return node.s("name") if node.kind() == "prim::CallMethod" else node.kind()


def tap_operator(kind) -> str | None:
    """The tap for a value of this type, None for a type that holds no tensors."""
    outer = kind.kind()
    if outer in ("OptionalType", "ListType"):
        held = kind.getElementType()
    elif outer == "DictType":
        held = kind.getValueType() if kind.getKeyType().kind() == "StringType" else None
    else:
        held = kind
    if held is None or held.kind() != "TensorType":
        return None
    return TAPS.get(outer)


def rewrite_devices(graph, device: str) -> None:
    """Let every device constant of the graph name ``device``."""
    for node in all_nodes(graph):
        if node.kind() == "prim::Constant" and node.output().type().kind() == "DeviceObjType":
            node.s_("value", device)
