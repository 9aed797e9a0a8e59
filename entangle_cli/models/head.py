"""The last linear layer of a network: ``logits = features @ weight.T + bias``.

It is searched backwards from the class output: an optional softmax, sigmoid or log-softmax,
operations that keep the numbers, the addition of a bias, then the linear layer. What is found
counts only once it has reproduced the class output of an example.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from entangle_cli.errors import ModelError

# what the class output holds, by the activations between the linear layer and it
ENDINGS = {
    (): "logits",
    ("softmax",): "probabilities",
    ("sigmoid",): "probabilities",
    ("logsoftmax",): "log_probabilities",
    ("softmax", "log"): "log_probabilities",
}
_ACTIVATIONS = {kind for ending in ENDINGS for kind in ending}
# a convolution over all of its input is a linear layer
_LINEAR = frozenset({"linear", "matmul", "conv"})
# the same numbers in the same row-major order
_SAME = frozenset({"reshape", "identity", "dropout", "cast", "dequantize"})
_HANDED_ON = _SAME | {"transpose", "quantize"}


@dataclass(frozen=True)
class LinearHead:
    """The last linear layer, with the name of the layer that it reads.

    ``features`` is a layer of the model; flattened row-major to ``(n, D)`` it is the linear
    layer's input. ``weight`` is ``(C, D)`` and ``bias`` ``(C,)``, zeros if there is none, both
    float64. ``layer`` names the linear layer; ``ends_in`` says what the class output holds.
    """

    features: str
    weight: np.ndarray
    bias: np.ndarray
    layer: str
    ends_in: Literal["logits", "probabilities", "log_probabilities"]


class NoHead(Exception):
    """Why a network has no linear head; it never leaves the package `models`."""


@dataclass(frozen=True)
class Step:
    """One operation: its kind, and the values that it reads and that depend on the input."""

    kind: str
    ins: tuple[Hashable, ...]


@dataclass(frozen=True)
class Trail:
    """The way from the class output back to the features, in values that steps make.

    ``linear`` is made by the linear layer, each of ``adds`` by adding a constant to it,
    ``logits`` is what goes into ``ending``, the activations in execution order. ``features`` are
    the linear layer's input and earlier values with the same numbers. ``path`` has every value
    from the output to ``linear``.
    """

    linear: Hashable
    adds: tuple[Hashable, ...]
    logits: Hashable
    ending: tuple[str, ...]
    features: tuple[Hashable, ...]
    path: tuple[Hashable, ...]


class HeadSearch:
    """What a `Model` says of its last linear layer; `_find_head` knows the file format."""

    path: Path

    def head(self, example: Sequence[np.ndarray]) -> LinearHead | None:
        """The last linear layer, None where the class output does not come from one."""
        return self.head_or_reason(example)[0]

    def head_or_reason(self, example: Sequence[np.ndarray]) -> tuple[LinearHead | None, str]:
        """The last linear layer and an empty reason, or None and why there is none.

        ``example`` is a small batch of inputs; the head reproduces its class output.
        """
        try:
            return self._find_head(example), ""
        except (NoHead, ModelError) as error:
            return None, str(error).removeprefix(f"{self.path}: ")

    def _find_head(self, example: Sequence[np.ndarray]) -> LinearHead:
        raise NotImplementedError


def class_output(outputs: Sequence[object]) -> int:
    """The position of the class scores: the first output of floats that is ``(n, C >= 2)``.

    Trailing axes of length 1 do not count.
    """
    for i, output in enumerate(outputs):
        if isinstance(output, np.ndarray) and output.dtype.kind == "f":
            rows = squeezed(output)
            if rows.ndim == 2 and rows.shape[1] >= 2:
                return i
    raise NoHead("the model has no class-like output")


def follow(steps: Mapping[Hashable, Step], output: Hashable) -> Trail:
    """Go back from the class output to the linear layer; raises NoHead where something else is."""
    ending: list[str] = []
    adds: list[Hashable] = []
    path = [output]
    logits = output
    while not _is_linear(step := steps.get(path[-1])):
        if step is None:
            raise NoHead("the class output does not come from a linear layer")
        single = len(step.ins) == 1
        before = step.ins[0] if single else _before_softmax(steps, step)
        if not single and before is not None and not adds:
            ending.insert(0, "softmax")
            logits = before
        elif single and step.kind in _ACTIVATIONS and not adds:
            ending.insert(0, step.kind)
            logits = before
        elif single and step.kind == "add":
            adds.append(path[-1])
        elif not single or step.kind not in _HANDED_ON:
            of = "" if single else f" of {len(step.ins)} computed values"
            raise NoHead(f"the class output comes from '{step.kind}'{of}, not from a linear layer")
        path.append(before)
    if tuple(ending) not in ENDINGS:
        raise NoHead(f"the linear layer is followed by {' and '.join(ending)}")
    features = tuple(_alike(steps, step.ins[0]))
    return Trail(path[-1], tuple(adds), logits, tuple(ending), features, tuple(path))


def _is_linear(step: Step | None) -> bool:
    return step is not None and step.kind in _LINEAR and len(step.ins) == 1


def _before_softmax(steps: Mapping[Hashable, Step], division: Step) -> Hashable | None:
    """``x`` where ``division`` is ``exp(x - max x) / sum exp(x - max x)``, a softmax spelled out.

    What is subtracted is not looked at: the check of the numbers would find anything else.
    """
    if division.kind != "div" or len(division.ins) != 2:
        return None
    top, total = division.ins
    while (step := steps.get(total)) is not None and step.kind in ("reshape", "expand"):
        total = step.ins[0]
    exp = steps.get(top)
    if exp is None or exp.kind != "exp" or step is None or (step.kind, step.ins) != ("sum", (top,)):
        return None
    shifted = steps.get(exp.ins[0])
    return shifted.ins[0] if shifted is not None and shifted.kind == "sub" else exp.ins[0]


def _alike(steps: Mapping[Hashable, Step], value: Hashable) -> Iterable[Hashable]:
    """``value`` and the earlier values with the same numbers in the same order."""
    yield value
    while (step := steps.get(value)) is not None and step.kind in _SAME and len(step.ins) == 1:
        value = step.ins[0]
        yield value


def squeezed(array: np.ndarray) -> np.ndarray:
    """``array`` without the trailing axes of length 1 beyond the second axis."""
    shape = array.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return array.reshape(shape)
