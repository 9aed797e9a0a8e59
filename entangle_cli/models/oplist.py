"""A network as one flat list of operations, the same whatever file it came from.

Recorded from a TorchScript probe run or read from a static ONNX graph; `models/selection.py`
turns it into layer names and a default selection without knowing the source.
"""

from collections import defaultdict
from dataclasses import dataclass, field

# (module path, occurrence): ("layer1.0", 0) is the first call of that module, 1 the second
Frame = tuple[str, int]


@dataclass(frozen=True)
class Op:
    """One operation on data: ``outs = kind(ins)``, inside the module calls ``scope``.

    Values are numbers; constants never appear among ``ins``. ``weighted`` marks conv, linear,
    matmul, embedding and recurrent operations with a constant operand of rank two or more.
    """

    kind: str
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    scope: tuple[Frame, ...]
    weighted: bool


@dataclass
class OpList:
    """The operations of one network in execution order."""

    ops: list[Op] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    # module calls that a value leaves as their result, innermost first
    exits: dict[int, list[Frame]] = field(default_factory=lambda: defaultdict(list))
    # what the source calls a value: a tensor name (ONNX) or a tap site (TorchScript)
    source: dict[int, str | int] = field(default_factory=dict)
