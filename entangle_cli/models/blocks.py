"""The tree of module calls, and which of them are blocks.

A block is a composite module inside which the flow is not one straight line: a residual
connection, parallel branches, a gate. It is one row of the default selection, its output.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from entangle_cli.models.flow import Flow
from entangle_cli.models.kinds import SHAPE_ONLY
from entangle_cli.models.oplist import Frame, OpList

_ROOT: Frame = ("", 0)


@dataclass(eq=False)
class Call:
    """One call of a module: all its operations, its own ones, its sub-calls, its results."""

    frame: Frame
    ops: list[int] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    children: list["Call"] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    weighted: bool = False

    @property
    def name(self) -> str:
        """Module path, with ``:k`` for the k-th further call."""
        return frame_name(self.frame)

    @property
    def first(self) -> int:
        """Index of the first operation."""
        return self.ops[0]

    @property
    def last(self) -> int:
        """Index of the last operation."""
        return self.ops[-1]

    def steps(self) -> "list[tuple[int, Call | int]]":
        """Sub-calls and own operations in execution order, each with its last operation."""
        parts: list[tuple[int, int, Call | int]] = [(c.first, c.last, c) for c in self.children]
        parts += [(i, i, i) for i in self.own]
        return [(last, part) for _, last, part in sorted(parts, key=lambda p: p[:2])]


@dataclass(frozen=True)
class CallTree:
    """All module calls by frame, the root that holds them, and the frames that are blocks."""

    root: Call
    calls: dict[Frame, Call]
    blocks: frozenset[Frame]
    branching: frozenset[Frame]


def frame_name(frame: Frame) -> str:
    """Module path, with ``:k`` for the k-th further call."""
    path, occurrence = frame
    return f"{path}:{occurrence}" if occurrence else path


def family(name: str) -> str:
    """A name with its numbers blanked: ``layer1.0`` and ``layer2.1`` are one family."""
    return re.sub(r"\d+", "#", name)


def build_tree(network: OpList, flow: Flow) -> CallTree:
    """Arrange the operations by module call and find the blocks.

    A call whose path belongs to the family of a block is a block too if it has weights, so that a
    stage whose first unit has no shortcut is still listed unit by unit.
    """
    root = _arrange(network)
    calls = {call.frame: call for call in _walk(root) if call is not root}
    _find_results(network, flow, calls)
    composites = [call for call in calls.values() if call.children]
    branching = frozenset(c.frame for c in composites if not _is_straight(c, network, flow))
    families = {family(path) for path, _ in branching}
    blocks = frozenset(
        c.frame
        for c in composites
        if c.weighted and (c.frame in branching or family(c.frame[0]) in families)
    )
    return CallTree(root, calls, blocks, branching - blocks)


def _arrange(network: OpList) -> Call:
    root = Call(_ROOT)
    calls: dict[Frame, Call] = {}
    for i, op in enumerate(network.ops):
        parent = root
        for frame in op.scope:
            if frame not in calls:
                calls[frame] = Call(frame)
                parent.children.append(calls[frame])
            parent = calls[frame]
            parent.ops.append(i)
            parent.weighted |= op.weighted
        parent.own.append(i)
        root.ops.append(i)
    return root


def _walk(call: Call) -> Iterator[Call]:
    waiting = [call]
    while waiting:
        current = waiting.pop()
        yield current
        waiting += reversed(current.children)


def _find_results(network: OpList, flow: Flow, calls: dict[Frame, Call]) -> None:
    acting = {
        frame
        for op in network.ops
        if op.kind not in SHAPE_ONLY and any(v in flow for v in op.outs)
        for frame in op.scope
    }
    for value in sorted(network.exits):
        for frame in network.exits[value]:
            # a module that only hands its input on (dropout, flatten) has no result of its own
            if value in flow and frame in acting:
                calls[frame].results.append(value)


def _is_straight(call: Call, network: OpList, flow: Flow) -> bool:
    leaving = {v for v in call.results if flow.outlives(v, call.last)}
    if len(leaving) > 1:
        return False
    values = {v for i in call.ops for v in (*network.ops[i].ins, *network.ops[i].outs) if v in flow}
    ends = [last for last, _ in call.steps()[:-1]]
    return all(alive <= 1 for alive in flow.alive_after(ends, values, leaving, call.last))
