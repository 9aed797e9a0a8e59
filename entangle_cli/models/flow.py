"""The main flow of a network: the values between its first weight and its first output.

Masks, position ids, rotary tables and secondary outputs are not on it, so a rule that looks only
at the flow never has to know them.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from entangle_cli.models.oplist import OpList


@dataclass(frozen=True)
class Flow:
    """Who makes each value, and which later operations read the values of the main flow.

    ``producer`` has every value that an operation makes; ``uses`` has the values of the flow only,
    each with the rising indices of its readers. The network's output counts as read after the
    last operation.
    """

    producer: dict[int, int]
    uses: dict[int, list[int]]
    output: int | None

    def __contains__(self, value: int) -> bool:
        return value in self.uses

    def outlives(self, value: int, last: int) -> bool:
        """Whether a value of the flow is read after operation ``last``."""
        readers = self.uses[value]
        return bool(readers) and readers[-1] > last

    def alive_after(
        self,
        boundaries: Sequence[int],
        values: Collection[int],
        leaving: Collection[int],
        last: int,
    ) -> list[int]:
        """How many of ``values`` are still needed after each operation index of ``boundaries``.

        Only readers up to operation ``last`` count, and whatever reads a value of ``leaving``
        later.
        """
        births = sorted(self.producer[v] for v in values)
        deaths = sorted(self._death(v, leaving, last) for v in values)
        return [bisect_right(births, end) - bisect_right(deaths, end) for end in boundaries]

    def _death(self, value: int, leaving: Collection[int], last: int) -> int:
        if value in leaving and self.outlives(value, last):
            return last + 1
        readers = self.uses[value]
        inside = bisect_right(readers, last)
        return readers[inside - 1] if inside else self.producer[value]


def trace_flow(network: OpList) -> Flow:
    """Find the main flow: what follows a weight and leads to the first output.

    Without any weight on the way, everything that leads to the first output is the flow.
    """
    producer = {v: i for i, op in enumerate(network.ops) for v in op.outs}
    output = next((v for v in network.outputs if v in producer), None)
    if output is None and network.ops:
        output = network.ops[-1].outs[0]
    leading = _ancestors(network, producer, output)
    values = _after_a_weight(network, leading) or {v for v in leading if v in producer}
    uses: dict[int, list[int]] = {v: [] for v in sorted(values, key=producer.__getitem__)}
    for i, op in enumerate(network.ops):
        if any(v in leading for v in op.outs):
            for v in op.ins:
                if v in uses:
                    uses[v].append(i)
    if output in uses:
        uses[output].append(len(network.ops))
    return Flow(producer, uses, output)


def _ancestors(network: OpList, producer: dict[int, int], output: int | None) -> set[int]:
    found: set[int] = set()
    waiting = [] if output is None else [output]
    while waiting:
        value = waiting.pop()
        if value not in found:
            found.add(value)
            if value in producer:
                waiting += network.ops[producer[value]].ins
    return found


def _after_a_weight(network: OpList, leading: set[int]) -> set[int]:
    flow: set[int] = set()
    for op in network.ops:
        if op.weighted or any(v in flow for v in op.ins):
            flow.update(v for v in op.outs if v in leading)
    return flow
