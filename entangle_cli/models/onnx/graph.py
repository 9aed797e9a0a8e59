"""A static ONNX graph as an op list: nothing is run, no weight is read.

Only values that depend on the model's inputs count; constants, and what is computed from shapes,
never enter the list.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import onnx

from entangle_cli.models.kinds import WEIGHTED, canonical
from entangle_cli.models.onnx.idioms import name_idioms
from entangle_cli.models.onnx.scopes import (
    Visit,
    has_exact_paths,
    is_normalized,
    merge_repeats,
    module_paths,
    number_calls,
)
from entangle_cli.models.oplist import Op, OpList

Shape = tuple[int | None, ...]

SHAPE_OPS = frozenset({"Shape", "Size"})
_CONTAINERS = frozenset(
    "ZipMap SequenceConstruct SequenceEmpty SequenceInsert SequenceErase SequenceMap"
    " SplitToSequence SequenceLength Optional".split()
)
_FLOATS = frozenset(
    getattr(onnx.TensorProto, name) for name in ("FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16")
)


@dataclass
class Step:
    """One operation in terms of tensor names, before values are numbered."""

    kind: str
    ins: list[str]
    outs: list[str]
    visit: Visit
    weighted: bool = False
    hidden: set[str] = field(default_factory=set)


def user_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs a caller gives; old files list their weights as inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    weights.update(tensor.values.name for tensor in graph.sparse_initializer)
    return [value for value in graph.input if value.name not in weights]


def read_graph(
    graph: onnx.GraphProto, shapes: Mapping[str, Shape], types: Mapping[str, int]
) -> OpList:
    """Turn a graph into an op list; ``source`` has the tensor names.

    ``shapes`` and element ``types`` are what is known of the tensors; they tell weights from
    vectors and which outputs are numbers.
    """
    steps = _Reader(graph, shapes).steps()
    merge_repeats([s.visit for s in steps], (t.name for t in graph.initializer))
    name_idioms(steps)
    scopes = number_calls([s.visit for s in steps])
    network = OpList()
    numbers: dict[str, int] = {}
    for value in user_inputs(graph):
        network.inputs.append(numbers.setdefault(value.name, len(numbers)))
    for step, scope in zip(steps, scopes, strict=True):
        ins = tuple(numbers[name] for name in step.ins)
        outs = tuple(numbers.setdefault(name, len(numbers)) for name in step.outs)
        network.ops.append(Op(step.kind, ins, outs, scope, step.weighted))
        shown = (name for name in step.outs if name not in step.hidden)
        network.source.update((numbers[name], name) for name in shown)
    outputs = [name for name in _data_outputs(graph, types) if name in numbers]
    network.outputs = [numbers[name] for name in outputs]
    _find_exits(network)
    return network


class _Reader:
    """Reads the nodes in order and keeps track of what is data."""

    def __init__(self, graph: onnx.GraphProto, shapes: Mapping[str, Shape]):
        self.graph, self.shapes = graph, shapes
        self.data = {value.name for value in user_inputs(graph)}
        self.paths = {path for node in graph.node for path in module_paths(node)}

    def steps(self) -> list[Step]:
        """All operations on data, a folded normalisation as one of its own."""
        found: list[Step] = []
        for node in self.graph.node:
            ins = [name for name in tensors_read(node) if name in self.data]
            if ins and node.op_type not in SHAPE_OPS:
                found += self._read(node, list(dict.fromkeys(ins)))
        return found

    def _read(self, node: onnx.NodeProto, ins: list[str]) -> list[Step]:
        outs = [name for name in node.output if name]
        self.data.update(outs)
        kind = kind_of(node)
        wide = [name for name in node.input if name and self._is_weight(name)]
        if kind == "slice" and node.op_type == "Gather" and node.input[0] in wide:
            kind = "embedding"
        weighted = _carries_weights(node) or (kind in WEIGHTED and bool(wide))
        weight = (wide[0], kind) if weighted and wide else None
        visit = Visit(module_paths(node), weight, has_exact_paths(node))
        step = Step(kind, ins, outs, visit, weighted)
        if node.op_type in _CONTAINERS:
            step.hidden.update(outs)
        return self._unfold(node, step) if weight and is_normalized(node) else [step]

    def _is_weight(self, name: str) -> bool:
        shape = self.shapes.get(name)
        return name not in self.data and (shape is None or len(shape) >= 2)

    def _unfold(self, node: onnx.NodeProto, step: Step) -> list[Step]:
        """A node that also normalises, as the two operations that the network had."""
        inner, outer = self._folded_paths(step.visit)
        raw = f"{step.outs[0]} before normalization"
        visits = (replace(step.visit, paths=inner), Visit(outer, exact=step.visit.exact))
        first = Step(step.kind, step.ins, [raw], visits[0], True, {raw})
        return [first, Step("bn", [raw], step.outs, visits[1])]

    def _folded_paths(self, visit: Visit) -> tuple[list[str], list[str]]:
        """Paths of the module with the weight, and of the normalisation after it."""
        paths, weight = visit.paths, visit.weight[0] if visit.weight else ""
        if not weight.startswith("onnx::"):  # labelled as the normalisation; the weight tells
            owner = weight.rpartition(".")[0]
            above = {owner.rsplit(".", k)[0] for k in range(1, owner.count(".") + 1)}
            return [*sorted(above & self.paths, key=len), owner], paths
        # in a Sequential the normalisation is the next one; its nodes are gone from the file
        stem, _, number = paths[-1].rpartition(".") if paths else ("", "", "")
        following = f"{stem}.{int(number) + 1}".lstrip(".") if number.isdecimal() else ""
        known = following and following not in self.paths
        return paths, [*paths[:-1], following] if known else paths[:-1]


def kind_of(node: onnx.NodeProto) -> str:
    """The kind of an operation, see `kinds`."""
    # ATen's `sum` reduces; ONNX's adds its operands
    return "add" if node.op_type == "Sum" else canonical(node.op_type)


def tensors_read(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors that a node reads, also from inside its branches and loop bodies."""
    yield from node.input
    for graph in _bodies(node):
        for inner in graph.node:
            yield from tensors_read(inner)
        yield from (value.name for value in graph.output)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _carries_weights(node: onnx.NodeProto) -> bool:
    """Whether the weights are inside the node: in its attributes, or in its branches."""
    if node.domain == "ai.onnx.ml":
        return canonical(node.op_type) in WEIGHTED
    inner = (n for graph in _bodies(node) for n in graph.node)
    return any(canonical(n.op_type) in WEIGHTED or _carries_weights(n) for n in inner)


def _data_outputs(graph: onnx.GraphProto, types: Mapping[str, int]) -> Iterable[str]:
    """The outputs, those that are certainly not scores (class labels) last.

    For an output that is a container, the tensor that went into it.
    """
    packed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "ZipMap"}
    names = [packed.get(value.name, value.name) for value in graph.output]
    return sorted(names, key=lambda name: types.get(name, onnx.TensorProto.FLOAT) not in _FLOATS)


def _find_exits(network: OpList) -> None:
    """Note for each value the module calls it leaves, innermost first."""
    readers: dict[int, list[set]] = {}
    for op in network.ops:
        frames = set(op.scope)
        for value in op.ins:
            readers.setdefault(value, []).append(frames)
    outputs = set(network.outputs)
    for op in network.ops:
        for value in op.outs:
            for frame in reversed(op.scope):
                inside = all(frame in frames for frames in readers.get(value, ()))
                if value in outputs or not inside:
                    network.exits[value].append(frame)
