"""Unique names for the values of a network: module paths, and kinds anchored to a module."""

from collections import Counter

from entangle_cli.models.blocks import Call, CallTree, frame_name
from entangle_cli.models.flow import Flow
from entangle_cli.models.oplist import Frame, Op, OpList
from entangle_cli.models.rows import Row

# where an anchor was set (operation index) and its name
_Anchor = tuple[int, str]
_NO_ANCHOR: _Anchor = (-1, "input")


class Namer:
    """Hands out names, each once; who is named first gets the plain one."""

    def __init__(self, network: OpList, flow: Flow, tree: CallTree):
        self._network, self._flow, self._tree = network, flow, tree
        self._bases = _functional_names(network, tree)
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        self._further: Counter[str] = Counter()

    def kind(self, value: int) -> str:
        """The kind of operation that made a value."""
        return _label(self._producer(value))

    def name_rows(self, rows: list[Row]) -> list[str]:
        """Name the default rows: by block or module, else functionally.

        A composite with exactly one row, which is its result, gives that row its own name.
        """
        inside = Counter(frame for row in rows for frame in self._producer(row.value).scope)
        for row in rows:
            call = row.call
            if call is not None and not row.is_block:
                call = self._owner(row.value, inside) or call
            self._give(row.value, call.frame if call else None)
        return [self._names[row.value] for row in rows]

    def name(self, value: int) -> str:
        """The name of a value: the innermost module it is the result of, else functional."""
        if value not in self._names:
            scope = self._producer(value).scope
            frames = (f for f in self._network.exits.get(value, ()) if f in scope)
            self._give(value, next(frames, None))
        return self._names[value]

    def aliases(self, value: int) -> tuple[str, ...]:
        """Other names of a value: the modules it is the result of, and the file's own name."""
        found: list[str] = []
        for frame in self._network.exits.get(value, ()):
            found.append(frame_name(frame))
            if frame[1]:
                found.append(f"{frame[0]}_{frame[1]}")
        source = self._network.source[value]
        if isinstance(source, str):
            found.append(source)
        return tuple(dict.fromkeys(x for x in found if x not in self._taken))

    def _producer(self, value: int) -> Op:
        return self._network.ops[self._flow.producer[value]]

    def _owner(self, value: int, inside: Counter[Frame]) -> Call | None:
        """The outermost composite whose only row is this value, its result."""
        calls = (self._tree.calls.get(f) for f in self._network.exits.get(value, ()))
        owners = [
            c for c in calls if c and c.children and value in c.results and inside[c.frame] == 1
        ]
        return min(owners, key=lambda c: len(c.frame[0]), default=None)

    def _give(self, value: int, frame: Frame | None) -> None:
        """Name a value; a further result of one module call is ``[k]``, of a function ``:k``."""
        base = frame_name(frame) if frame else self._bases[self._flow.producer[value]]
        name = base
        while name in self._taken:
            self._further[base] += 1
            name = f"{base}[{self._further[base]}]" if frame else f"{base}:{self._further[base]}"
        self._names[value] = name
        self._taken.add(name)


def _label(op: Op) -> str:
    # `linear` of a file without biases, or of one that adds them apart, is a matmul
    return "linear" if op.weighted and op.kind == "matmul" else op.kind


def _functional_names(network: OpList, tree: CallTree) -> list[str]:
    """What each operation's result is called when no module owns it.

    The anchor follows the data, so work that leads elsewhere does not change a name.
    """
    names: list[str] = []
    ordinals: Counter[str] = Counter()
    anchors: dict[int, _Anchor] = {}
    for i, op in enumerate(network.ops):
        kind = _label(op)
        if op.weighted and not op.scope:
            ordinals[kind] += 1
            anchor = (i, f"{kind}#{ordinals[kind]}")
            names.append(anchor[1])
        else:
            inherited = (anchors.get(v, _NO_ANCHOR) for v in op.ins)
            anchor = (
                (i, frame_name(op.scope[-1])) if op.weighted else max(inherited, default=_NO_ANCHOR)
            )
            names.append(f"{anchor[1]}>{kind}")
        for value in op.outs:
            anchors[value] = _leaving_anchor(network, tree, op, value) or anchor
    return names


def _leaving_anchor(network: OpList, tree: CallTree, op: Op, value: int) -> _Anchor | None:
    """The outermost block that a value is the result of."""
    leaving = network.exits.get(value, ())
    frame = next((f for f in op.scope if f in tree.blocks and f in leaving), None)
    return None if frame is None else (tree.calls[frame].last, frame_name(frame))
