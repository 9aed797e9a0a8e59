"""One run of a TorchScript network, written down as an `OpList`.

A dispatch mode sees every operation that torch really computes, on the branch really taken; the
marks and taps of `torchscript_graph.TapGraph` say in which module call it happened and which tap
can read its result later.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from entangle_cli.models.kinds import SHAPE_ONLY, WEIGHTED, canonical
from entangle_cli.models.oplist import Frame, Op, OpList
from entangle_cli.models.torchscript.graph import TapGraph
from entangle_cli.models.torchscript.taps import NAMESPACE, Firing, Firings, tensors


@dataclass
class Recording:
    """What one run showed.

    ``oplist.source`` maps the values that a tap can read to an index into ``firings``;
    ``shapes`` holds the shape, batch axis included, that each firing had.
    """

    oplist: OpList = field(default_factory=OpList)
    firings: list[Firing] = field(default_factory=list)
    shapes: dict[Firing, tuple[int, ...]] = field(default_factory=dict)
    output: object = None


def record(graph: TapGraph, module: torch.jit.ScriptModule, inputs: Sequence) -> Recording:
    """Run ``module(*inputs)`` once and write down its operations, module calls and tap sites."""
    return observe(Recorder(graph), module, inputs)


def observe(recorder: "Recorder", module: torch.jit.ScriptModule, inputs: Sequence) -> Recording:
    """`record` with a recorder of the caller's."""
    graph = recorder.graph
    recorder.recording.oplist.inputs = [recorder.number(x) for x in tensors(inputs)]
    run = graph.tapped(frozenset(range(len(graph.sites))))
    # not inference_mode, under which a dispatch mode does not see every operation
    with torch.no_grad(), torch.jit.optimized_execution(False), recorder:
        output = run(module, inputs, recorder.receive)
    recorder.recording.oplist.outputs = [
        recorder.numbers[id(x)] for x in tensors(output) if id(x) in recorder.numbers
    ]
    recorder.recording.output = output
    _drop_unread(recorder.recording.oplist)
    return recorder.recording


def record_shapes(
    graph: TapGraph, module: torch.jit.ScriptModule, inputs: Sequence
) -> dict[Firing, tuple[int, ...]]:
    """The shape of every value that a tap reads in one run of ``module(*inputs)``."""
    shapes: dict[Firing, tuple[int, ...]] = {}
    count = Firings()

    def receive(site: int, value: object) -> None:
        for firing, tensor in count(site, value):
            shapes[firing] = tuple(tensor.shape)

    run = graph.tapped(frozenset(range(len(graph.sites))))
    with torch.no_grad(), torch.jit.optimized_execution(False):
        run(module, inputs, receive)
    return shapes


class Recorder(TorchDispatchMode):
    """Sees every operation of one run; ``numbers`` has the value that each tensor's id means."""

    def __init__(self, graph: TapGraph) -> None:
        super().__init__()
        self.recording = Recording()
        self.numbers: dict[int, int] = {}
        self._positions: set[int] = set()
        self.graph = graph
        self._kept: list[torch.Tensor] = []  # alive, so that an id means one tensor
        self._sharing: dict[int, dict[int, torch.Tensor]] = defaultdict(dict)
        self._scope: list[Frame] = []
        self._calls: dict[str, int] = defaultdict(int)
        self._leaving: list[list[int]] = []
        self._count = Firings()
        self._results: list[int] = []
        self._node_start = 0

    def number(self, tensor: torch.Tensor) -> int:
        """Give ``tensor`` a value of its own, and keep it alive."""
        value = len(self._kept)
        self.numbers[id(tensor)] = value
        self._kept.append(tensor)
        return value

    def tensor(self, value: int) -> torch.Tensor:
        """The tensor of a value, as the end of the run left it."""
        return self._kept[value]

    def _rewritten(self, func, args: Sequence, made: list[torch.Tensor]) -> list[torch.Tensor]:
        """The tensors that changed beside ``made``, because they share memory with a target.

        ``whole[:, 0] = part`` writes to a view; what is read later is ``whole``.
        """
        targets = [
            x
            for value, argument in zip(args, func._schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
            for x in tensors(value)
        ]
        results = {id(x) for x in made}
        changed = {id(x): x for target in targets for x in self._sharing[_memory(target)].values()}
        return [x for key, x in changed.items() if key not in results]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.namespace != NAMESPACE:
            self._operation(func, args, kwargs or {}, out)
        return out

    def _operation(self, func, args: Sequence, options: dict, out: object) -> None:
        used, made = list(tensors([args, options])), list(tensors(out))
        for x in (*used, *made):
            self._sharing[_memory(x)][id(x)] = x
        ins = tuple(self.numbers[id(x)] for x in used if id(x) in self.numbers)
        if not ins or not made:  # does not depend on the data, or leaves it: a shape, a number
            return
        kind = _kind(func.name(), made)
        weighted = kind in WEIGHTED and (
            any(id(x) not in self.numbers and x.ndim >= 2 for x in used) or _has_packed(args)
        )
        outs = tuple(self.number(x) for x in (*made, *self._rewritten(func, args, made)))
        self.recording.oplist.ops.append(Op(kind, ins, outs, tuple(self._scope), weighted))
        if made[0].is_floating_point():
            # integers beside real numbers say where those were found (max, sort, topk)
            self._positions.update(self.number(x) for x in made if x.dtype == torch.int64)

    def receive(self, site: int, value: object) -> None:
        """Take what a tap or a mark brings."""
        where = self.graph.sites[site]
        if where.role == "enter":
            path = self.graph.calls[where.call].path
            self._scope.append((path, self._calls[path]))
            self._calls[path] += 1
            self._leaving.append([])
        elif where.role == "leave":
            frame = self._scope.pop()
            for number in dict.fromkeys(self._leaving.pop()):
                self.recording.oplist.exits[number].append(frame)
        else:
            self._tapped(site, value)
        if where.last:
            self._node_start = len(self.recording.oplist.ops)

    def _tapped(self, site: int, value: object) -> None:
        where = self.graph.sites[site]
        found = self._count(site, value)
        known = [(firing, x) for firing, x in found if id(x) in self.numbers]
        numbers = [self.numbers[id(x)] for _, x in known]
        if where.role == "result":
            self._leaving[-1].extend(numbers)
        else:
            self._results.extend(numbers)
            if where.last:
                self._close_node(canonical(where.kind))
                self._results = []
        for (firing, x), number in zip(known, numbers, strict=True):
            self.recording.shapes[firing] = tuple(x.shape)
            if number not in self.recording.oplist.source and number not in self._positions:
                self.recording.oplist.source[number] = len(self.recording.firings)
                self.recording.firings.append(firing)

    def _close_node(self, kind: str) -> None:
        """Make one operation of what torch computed for one node of the graph.

        torch takes ``linear`` on three axes apart into view, addmm, view, and a GRU into a
        hundred small steps; only the result of the node can be tapped.
        """
        ops = self.recording.oplist.ops
        if kind in WEIGHTED and self._results:
            ops[self._node_start :] = _merged(ops[self._node_start :], kind, self._results)
        elif len(self._results) == 1:
            _drop_last_views(ops, self._node_start, self._results[0])


def _kind(operator: str, made: Sequence[torch.Tensor]) -> str:
    kind = canonical(operator)
    # an adaptive average that leaves several positions is what ONNX calls AveragePool
    if kind == "gap" and "adaptive" in operator and math.prod(made[0].shape[2:]) > 1:
        return "avgpool"
    return kind


def _memory(tensor: torch.Tensor) -> int:
    """What tensors on the same memory have in common; 0, one group, for those without any."""
    if tensor.layout != torch.strided:
        return 0
    return tensor.untyped_storage().data_ptr()


def _drop_unread(network: OpList) -> None:
    """Leave out results that nothing reads and no tap can show."""
    read = {value for op in network.ops for value in op.ins}
    read.update(network.outputs, network.source, network.exits)
    network.ops = [
        replace(op, outs=tuple(v for v in op.outs if v in read) or op.outs[:1])
        for op in network.ops
    ]


def _has_packed(operands: object) -> bool:
    """True if quantised or prepacked weights, which are no tensors, are among the operands."""
    if isinstance(operands, (list, tuple)):
        return any(_has_packed(x) for x in operands)
    return isinstance(operands, torch.ScriptObject)


def _merged(ops: list[Op], kind: str, results: list[int]) -> list[Op]:
    """``ops`` with all that leads to ``results`` as one operation."""
    needed, inside, outside = set(results), [], []
    for op in reversed(ops):
        if needed.isdisjoint(op.outs):
            outside.append(op)
        else:
            inside.append(op)
            needed.update(op.ins)
    if not inside:
        return ops
    made = {value for op in inside for value in op.outs}
    ins = dict.fromkeys(v for op in reversed(inside) for v in op.ins if v not in made)
    weighted = any(op.weighted for op in inside)
    whole = Op(kind, tuple(ins), tuple(dict.fromkeys(results)), inside[0].scope, weighted)
    return [*reversed(outside), whole]


def _drop_last_views(ops: list[Op], start: int, result: int) -> None:
    """Let the last computing operation since ``start`` give ``result`` itself."""
    while len(ops) - start >= 2 and ops[-1].kind in SHAPE_ONLY and ops[-1].outs == (result,):
        before = ops[-2]
        if ops[-1].ins != before.outs:
            return
        ops[-2:] = [Op(before.kind, before.ins, (result,), before.scope, before.weighted)]
