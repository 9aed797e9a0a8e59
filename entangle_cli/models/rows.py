"""The default rows: the ends of blocks, and of the stretches between them.

A stretch starts at an operation with weights and ends before the next one; its row is its last
value that is more than a change of shape, so after normalisation, activation and pooling. Where a
file has no module scopes, a stretch starts only where the whole flow passes through one value.
"""

from dataclasses import dataclass

from entangle_cli.models.blocks import Call, CallTree, family
from entangle_cli.models.flow import Flow
from entangle_cli.models.kinds import SHAPE_ONLY
from entangle_cli.models.oplist import Op, OpList

MOST_ROWS = 20
_SMALL = frozenset({"ln", "gap", "add", "bn"})


@dataclass
class Row:
    """One row of the default selection: a value, and the module call it is the result of.

    ``joins``: the value is the sum of a residual connection, so the end of a block.
    """

    value: int
    call: Call | None
    is_block: bool = False
    joins: bool = False


class _Walk:
    """Goes once through the module tree and collects the rows."""

    def __init__(self, network: OpList, flow: Flow, tree: CallTree):
        self.network, self.flow, self.tree = network, flow, tree
        self.rows: list[Row] = []
        self.stretch: Row | None = None
        self.cuts = _cuts(network, flow)

    def finish(self) -> list[Row]:
        """End the open stretch and return all rows, one per value."""
        self._flush()
        return list({row.value: row for row in reversed(self.rows)}.values())[::-1]

    def enter(self, call: Call) -> None:
        """Collect the rows of everything inside a straight module."""
        for _, step in call.steps():
            if isinstance(step, int):
                self._operate(step)
            elif step.frame in self.tree.blocks:
                self._block(step)
            elif step.children and step.frame not in self.tree.branching:
                self.enter(step)
            else:
                self._leaf(step)

    def _flush(self) -> None:
        if self.stretch is not None:
            self.rows.append(self.stretch)
            self.stretch = None

    def _block(self, call: Call) -> None:
        self._flush()
        leaving = [v for v in call.results if self.flow.outlives(v, call.last)]
        if leaving:
            self.rows.append(Row(leaving[-1], call, is_block=True))

    def _leaf(self, call: Call) -> None:
        """A module without sub-calls starts at most one stretch, however many weights it has."""
        if any(self._starts(i) for i in call.ops):
            self._flush()
        if call.results:
            self.stretch = Row(call.results[0], call)

    def _operate(self, index: int) -> None:
        starts = self._starts(index)
        if starts:
            self._flush()
        op = self.network.ops[index]
        outs = [v for v in op.outs if v in self.flow]
        if outs and (op.kind not in SHAPE_ONLY or starts):
            self.stretch = Row(outs[0], None, joins=self._joins(op))

    def _joins(self, op: Op) -> bool:
        return op.kind == "add" and len({v for v in op.ins if v in self.flow}) > 1

    def _starts(self, index: int) -> bool:
        op = self.network.ops[index]
        carries = op.weighted and any(v in self.flow for v in op.outs)
        return carries and (self.cuts is None or index in self.cuts)


def default_rows(network: OpList, flow: Flow, tree: CallTree) -> list[Row]:
    """All rows of the default rule in execution order, before thinning."""
    walk = _Walk(network, flow, tree)
    walk.enter(tree.root)
    return walk.finish()


def _cuts(network: OpList, flow: Flow) -> set[int] | None:
    """Operations before which all flow passes through one value; None where there are scopes."""
    carrying = [i for i, op in enumerate(network.ops) if any(v in flow for v in op.outs)]
    if any(network.ops[i].scope for i in carrying):
        return None
    last = len(network.ops) - 1
    leaving = () if flow.output is None else (flow.output,)
    before = [i - 1 for i in carrying]
    alive = flow.alive_after(before, flow.uses.keys(), leaving, last)
    return {
        i
        for i, count in zip(carrying, alive, strict=True)
        if count == 0 or (count == 1 and _reads_flow(network.ops[i], flow))
    }


def _reads_flow(op: Op, flow: Flow) -> bool:
    return any(v in flow for v in op.ins)


def thin(rows: list[Row], names: list[str], kinds: list[str]) -> list[int]:
    """Positions of the rows to keep, at most `MOST_ROWS`.

    First go the functional norms, means and added constants, unless they are most of the network;
    then the largest family of names is thinned evenly, its first and last kept; when no family is
    large, all rows are thinned evenly.
    """
    kept = list(range(len(rows)))
    if len(kept) <= MOST_ROWS:
        return kept
    large = [i for i in kept if i == 0 or not _is_small(rows[i], kinds[i])]
    if len(large) >= MOST_ROWS // 2:
        kept = large
    while len(kept) > MOST_ROWS:
        families: dict[str, list[int]] = {}
        for i in kept:
            families.setdefault(family(names[i]), []).append(i)
        largest = max(families.values(), key=len)
        if len(largest) < 4:
            return _evenly(kept, MOST_ROWS)
        wanted = max(len(largest) - (len(kept) - MOST_ROWS), 3)
        dropped = set(largest) - set(_evenly(largest, wanted))
        kept = [i for i in kept if i not in dropped]
    return kept


def _is_small(row: Row, kind: str) -> bool:
    return kind in _SMALL and row.call is None and not row.joins


def _evenly(items: list[int], count: int) -> list[int]:
    step = (len(items) - 1) / (count - 1)
    return [items[round(j * step)] for j in range(count)]
