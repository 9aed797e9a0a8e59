"""A linear layer read from a file counts as the head once it reproduces the class output."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models.head import ENDINGS, LinearHead, NoHead, Trail, class_output, squeezed

if TYPE_CHECKING:
    from entangle_cli.models import Model

# allowed distance from the class output, in parts of the largest logit: in single precision, in
# half precision or with quantised weights, with features that are rounded to 7 bits inside
EXACT, ROUNDED, COARSE = 1e-3, 1e-2, 5e-2


@dataclass(frozen=True)
class Named:
    """The layer that a value is: its name, and whether it is measured by default."""

    name: str
    default: bool


@dataclass(frozen=True)
class Claim:
    """A head as the file has it, not yet checked.

    ``weight`` is ``(C, D)``, ``biases`` broadcast to ``(C,)``; ``tolerance`` is how far the
    network's own logits may be away, in parts of the largest. ``step`` is the distance between the
    numbers that they can have, 0 unless they are quantised.
    """

    trail: Trail
    weight: np.ndarray
    biases: tuple[np.ndarray, ...]
    tolerance: float
    step: float = 0.0

    def bias(self) -> np.ndarray:
        """The sum of all biases, ``(C,)`` float64."""
        count = len(self.weight)
        total = np.zeros(count)
        for bias in self.biases:
            if bias.size not in (1, count):
                raise NoHead(f"its bias has shape {bias.shape} for {count} classes")
            total += bias.astype(np.float64).reshape(-1)
        return total


def verified(
    model: "Model",
    claim: Claim,
    layers: Mapping[Hashable, Named],
    example: Sequence[np.ndarray],
) -> LinearHead:
    """The head, with the first layer from which it reproduces the class output of ``example``.

    A layer of the default selection is preferred among those that hold the same numbers.

    Raises:
        NoHead: no layer holds the features, or the class output is another one.
    """
    trail, weight, bias = claim.trail, claim.weight, claim.bias()
    known = [layers[value] for value in trail.features if value in layers]
    if not known:
        raise NoHead("the input of the last linear layer is not among the layers")
    # the bias is a step of its own in some files; only a module's name belongs to both
    owners = [layers[value].name for value in (*trail.adds, trail.linear) if value in layers]
    head = {
        "weight": weight,
        "bias": bias,
        "layer": min(owners, key=lambda name: ">" in name, default=""),
        "ends_in": ENDINGS[trail.ending],
    }
    shown = [layers[trail.logits].name] if trail.ending and trail.logits in layers else []
    reason = ""
    for layer in sorted(known, key=lambda layer: not layer.default):
        try:
            found = _mismatch(model, claim, bias, (layer.name, *shown), example)
        except ModelError as error:
            found = str(error)
        if not found:
            return LinearHead(features=layer.name, **head)
        reason = reason or found
    raise NoHead(reason)


def _mismatch(
    model: "Model",
    claim: Claim,
    bias: np.ndarray,
    names: Sequence[str],
    example: Sequence[np.ndarray],
) -> str:
    """What is wrong with a head read from the layer ``names[0]``, "" if nothing.

    ``names[1]``, where given, holds the logits: a saturated softmax would hide a difference.
    """
    taken: dict[str, np.ndarray] = {}
    outputs = model.run(example, names, lambda name, array: taken.update({name: array.copy()}))
    features = taken[names[0]].reshape(len(taken[names[0]]), -1).astype(np.float64)
    output = squeezed(outputs[class_output(outputs)])
    if features.shape[1] != claim.weight.shape[1] or output.shape != (len(features), len(bias)):
        return (
            f"the last linear layer takes {claim.weight.shape[1]} numbers and gives "
            f"{len(bias)}; its input has shape {taken[names[0]].shape}, the class output "
            f"{output.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        logits = features @ claim.weight.T + bias
        pairs = [(_ended(logits, claim.trail.ending), output)]
        pairs += [(logits, squeezed(taken[name])) for name in names[1:]]
        largest = np.abs(logits).max(initial=0.0)
        error = max(_distance(*pair) for pair in pairs)
    allowed = claim.tolerance * largest + claim.step
    if error <= allowed and np.isfinite(largest):
        return ""
    return (
        f"the last linear layer does not reproduce the class output of the example: it is "
        f"{error:.2g} away, the largest logit is {largest:.2g}"
    )


def _ended(logits: np.ndarray, ending: tuple[str, ...]) -> np.ndarray:
    if not ending:
        return logits
    if ending == ("sigmoid",):
        return 1 / (1 + np.exp(-logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(logs) if ending == ("softmax",) else logs


def _distance(computed: np.ndarray, found: np.ndarray) -> float:
    if computed.shape != found.shape:
        return np.inf
    distance = float(np.abs(computed - found).max(initial=0.0))
    return np.inf if np.isnan(distance) else distance
