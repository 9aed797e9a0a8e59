"""Activations that exporters spell out as several nodes, recognised by their last one.

GELU is ``x/2 (1 + erf(x / sqrt 2))`` with the factors in any order, SiLU ``x sigmoid(x)``,
hard swish ``x hardsigmoid(x)`` and Mish ``x tanh(softplus(x))``. Only the kind of the last
operation changes; the tensors between stay as they are.
"""

from collections.abc import Sequence
from typing import Protocol


class Step(Protocol):
    """What is needed of an operation here: its kind and the tensors it reads and makes."""

    kind: str
    ins: list[str]
    outs: list[str]


_GATES = {"sigmoid": "silu", "hardsigmoid": "hardswish", "tanh": "mish"}


def name_idioms(steps: Sequence[Step]) -> None:
    """Give the last operation of each spelled-out activation the activation's kind."""
    makers = {name: step for step in steps for name in step.outs}
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.ins:
            readers.setdefault(name, []).append(step)
    for step in steps:
        if step.kind == "erf":
            _name_gelu(step, makers, readers)
        elif step.kind in _GATES:
            _name_gated(step, makers, readers)


def _name_gelu(erf: Step, makers: dict[str, Step], readers: dict[str, list[Step]]) -> None:
    scaled = makers.get(erf.ins[0])
    if scaled is None or scaled.kind not in ("mul", "div") or len(scaled.ins) != 1:
        return
    source = scaled.ins[0]
    step = _only_reader(erf, readers, "add")
    gated = halved = False
    while step is not None and not (gated and halved):
        step = _only_reader(step, readers, "mul")
        if step is None:
            return
        others = [name for name in step.ins if _is_multiple(name, source, makers)]
        gated |= bool(others)
        halved |= len(step.ins) == 1 or (gated and source not in others)
    if step is not None:
        step.kind = "gelu"


def _is_multiple(name: str, source: str, makers: dict[str, Step]) -> bool:
    """Whether a tensor is ``source``, or ``source`` times a constant."""
    maker = makers.get(name)
    return name == source or (maker is not None and maker.kind == "mul" and maker.ins == [source])


def _name_gated(gate: Step, makers: dict[str, Step], readers: dict[str, list[Step]]) -> None:
    source = gate.ins[0]
    if gate.kind == "tanh":
        before = makers.get(source)
        if before is None or before.kind != "softplus":
            return
        source = before.ins[0]
    product = _only_reader(gate, readers, "mul")
    if product is not None and source in product.ins and len(product.ins) == 2:
        product.kind = _GATES[gate.kind]


def _only_reader(step: Step, readers: dict[str, list[Step]], kind: str) -> Step | None:
    found = readers.get(step.outs[0], [])
    return found[0] if len(found) == 1 and found[0].kind == kind else None
