"""The graph of a TorchScript module, inlined by module call, with a tap after every tensor.

With `torchscript_nodes` the only place that uses torch's private graph interface. `torch.jit`
offers no hooks on loaded modules, and its own inlining forgets which module a node came from:
modules of one class share one graph. So each ``prim::CallMethod`` is expanded here, on a copy of
``forward``'s graph, which gives every call site its own path. The module is never changed.
"""

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.nodes import (
    Operation,
    all_nodes,
    attribute_path,
    class_name,
    computes,
    is_tap,
    known,
    operator_name,
    preceding,
    rewrite_devices,
    submodule,
    tap_operator,
)
from entangle_cli.models.torchscript.taps import MARK, Receiver, call, new_handle

# traced files call forward, forward1, forward2 of one module; scripted overloads are forward__0
_FORWARD = re.compile(r"forward(__\d+|\d*)")


@dataclass(frozen=True)
class ModuleCall:
    """One call site of a submodule: its path from the root and its class."""

    path: str
    kind: str


@dataclass(frozen=True)
class Site:
    """One tap, or one end of a module call, in the inlined graph.

    ``call`` is the index of the innermost module call around it, None at the root. ``kind`` is
    the operator, for the role ``result`` the position inside the module's output: ``[1][0]``.
    """

    role: Literal["op", "result", "enter", "leave"]
    call: int | None
    kind: str = ""
    # True at the last of the taps behind one node
    last: bool = True


class TapGraph:
    """``forward`` of one module with every module call inlined and every tensor tapped.

    ``sites`` and ``calls`` are in the order of the code; ``unresolved`` names the calls whose
    receiver is chosen at run time and whose inside therefore stays closed. Constants of type
    ``torch.device`` are rewritten to ``device``: tracing burns in the device it ran on.

    Raises ModelError when the module has no ``forward``, or has hooks of its own at the root,
    which run outside the graph.
    """

    def __init__(self, module: torch.jit.ScriptModule, device: str = "cpu") -> None:
        if not module._c._has_method("forward"):
            raise ModelError("it has no forward method, so it cannot be run as a network")
        if module._c._get_forward_hooks() or module._c._get_forward_pre_hooks():
            raise ModelError(
                "its outermost module carries scripted hooks, which no tap can follow; "
                "save it again without hooks"
            )
        self.calls: list[ModuleCall] = []
        self.sites: list[Site] = []
        self.unresolved: list[str] = []
        self._root = module._c
        method = module._c._get_method("forward")
        self._arguments = method.schema.arguments[1:]
        self._graph = method.graph.copy()
        self._handle = new_handle()
        self._expand()
        rewrite_devices(self._graph, device)
        self._graph.lint()

    @property
    def arguments(self) -> list:
        """The arguments of ``forward`` after ``self``: each has ``name``, ``type``, defaults."""
        return list(self._arguments)

    @property
    def input_values(self) -> list[int]:
        """The numbers of the arguments' values, as in `operations`."""
        return [value.unique() for value in list(self._graph.inputs())[1:]]

    @cached_property
    def operations(self) -> list[Operation]:
        """Every node in execution order, bodies of branches and loops in place."""
        return [
            Operation(
                operator_name(node),
                tuple(value.unique() for value in node.inputs()),
                tuple(value.unique() for value in node.outputs()),
                tuple(known(value, self._graph, self._root) for value in node.inputs()),
            )
            for node in all_nodes(self._graph)
            if not is_tap(node)
        ]

    def tapped(self, sites: Set[int]) -> "Tapped":
        """A function like the module that reports only ``sites``."""
        graph = self._graph.copy()
        for node in list(all_nodes(graph)):
            if is_tap(node) and node.inputsAt(node.inputsSize() - 1).toIValue() not in sites:
                node.destroy()
        function = torch._C._create_function_from_graph("tapped", graph)
        return Tapped(function, self._handle, self._arguments)

    def _expand(self) -> None:
        # constants stand before the first node, where every block of the graph can see them
        self._graph.setInsertPoint(next(iter(self._graph.nodes()), self._graph.return_node()))
        handle = self._graph.insertConstant(self._handle)
        self._first = handle.node()
        self._handle_value = handle
        self._walk(list(self._graph.nodes()), None)

    def _walk(self, nodes: list, scope: int | None) -> None:
        for node in nodes:
            if node.kind() == "prim::CallMethod" and self._inline(node, scope):
                continue
            for block in node.blocks():
                self._walk(list(block.nodes()), scope)
            if computes(node):
                self._tap_outputs(node, scope)

    def _tap_outputs(self, node, scope: int | None) -> None:
        end = node

        def put(new) -> None:
            nonlocal end
            new.insertAfter(end)
            end = new

        first = len(self.sites)
        for value in list(node.outputs()):
            self._tap(value, Site("op", scope, operator_name(node), last=False), put)
        if len(self.sites) > first:
            self.sites[-1] = Site("op", scope, operator_name(node))

    def _inline(self, node, scope: int | None) -> bool:
        path = attribute_path(node.inputsAt(0), self._graph)
        receiver = None if path is None else submodule(self._root, path)
        if receiver is None:
            self.unresolved.append(node.s("name"))
            return False

        def before(new) -> None:
            new.insertBefore(node)

        callee = receiver._get_method(node.s("name")).graph
        is_call = _FORWARD.fullmatch(node.s("name")) is not None
        if is_call:
            self.calls.append(ModuleCall(".".join(path), class_name(receiver)))
            scope = len(self.calls) - 1
            self._put(MARK, [], Site("enter", scope), before)
        self._graph.setInsertPoint(node)
        outs = self._graph.insertGraph(callee, list(node.inputs()))
        inside = preceding(node, sum(1 for _ in callee.nodes()))
        for old, new in zip(list(node.outputs()), outs, strict=True):
            old.replaceAllUsesWith(new)
        if is_call:
            # the taps go in before the inside is expanded: no handle of a value may outlive
            # the node that made it, while the operand of a tap follows every replacement
            for value in outs:
                self._tap(value, Site("result", scope), before)
            self._put(MARK, [], Site("leave", scope), before)
        self._walk(inside, scope)
        node.destroy()
        return True

    def _tap(self, value, site: Site, put: Callable) -> None:
        kind = value.type()
        if kind.kind() == "TupleType":
            elements = kind.elements()
            unpack = self._graph.create("prim::TupleUnpack", [value], len(elements))
            put(unpack)
            for i, element in enumerate(elements):
                unpack.outputsAt(i).setType(element)
                name = f"{site.kind}[{i}]" if site.role == "result" else site.kind
                self._tap(unpack.outputsAt(i), replace(site, kind=name), put)
        elif (operator := tap_operator(kind)) is not None:
            self._put(operator, [value], site, put)

    def _put(self, operator: str, values: list, site: Site, put: Callable) -> None:
        self._graph.setInsertPoint(self._first)
        number = self._graph.insertConstant(len(self.sites))
        put(self._graph.create(operator, [*values, self._handle_value, number], 0))
        self.sites.append(site)


class Tapped:
    """A copy of ``forward`` with some taps: call it with the module and its arguments."""

    def __init__(self, function: Callable, handle: int, arguments: Sequence) -> None:
        self._function = function
        self._handle = handle
        # a function made from a graph has lost the defaults of forward
        self._defaults = [
            argument.default_value if argument.has_default_value() else None
            for argument in arguments
        ]

    def __call__(
        self, module: torch.jit.ScriptModule, inputs: Sequence, receiver: Receiver
    ) -> object:
        """What ``module(*inputs)`` returns; every value tapped goes to ``receiver``."""
        arguments = [module, *inputs, *self._defaults[len(inputs) :]]
        return call(self._function, arguments, self._handle, receiver)
