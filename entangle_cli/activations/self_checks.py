"""What makes stored numbers mean less than they seem to, found by running two samples.

They are run together, together again, and the first one alone. So little costs next to nothing,
and shows:

* another answer to the same batch (on CUDA, where sums have no fixed order, beyond 1e-5);
* a row that depends on the rows beside it, beyond the rounding of kernels: 1e-3 of the largest
  value, 1e-2 where all values are of half precision;
* another shape than the file declares.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from entangle_cli.activations.logits import class_outputs
from entangle_cli.errors import ModelError
from entangle_cli.models import Model
from entangle_cli.text import plain

_ROUNDING, _HALF_ROUNDING, _GPU_NOISE = 1e-3, 1e-2, 1e-5
# bits of a float32 that half precision leaves at zero
_BELOW_HALF = 0xFFF
_NAMED = 4
_SCORES = "class scores"


@dataclass
class Seen:
    """What one run gave: values by layer, and the class scores where there are any."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    scores: np.ndarray | None = None


def seen(model: Model, inputs: list, layers: Sequence[str]) -> Seen:
    """Run one batch and keep what it gives."""
    found = Seen()

    def sink(name: str, values: np.ndarray) -> None:
        # the network may use the memory again
        found.values[name] = np.array(values)

    found.scores = class_outputs(model.run(inputs, layers, sink))
    return found


def shape_notes(model: Model, first: Seen) -> list[str]:
    """Which layers have another shape than the file declares for them."""
    # only ONNX files declare any
    declared = getattr(model, "declared", {})
    wrong = {
        name: values.shape
        for name, values in first.values.items()
        if declared.get(name) is not None and not _agree(declared[name], values.shape)
    }
    notes = [
        f"layer {plain(name)}: the file declares {_words(declared[name])}, it gives "
        f"{_words(shape)}; the latter is stored"
        for name, shape in list(wrong.items())[:_NAMED]
    ]
    more = len(wrong) - len(notes)
    if more:
        notes.append(f"{more} more layers have other shapes than the file declares")
    return notes


def _agree(declared: Sequence[int | None], found: Sequence[int]) -> bool:
    """Whether lengths fit; the first axis is the samples."""
    return len(declared) == len(found) and all(
        a in (None, b) for a, b in zip(declared[1:], found[1:], strict=True)
    )


def _words(shape: Sequence[int | None]) -> str:
    lengths = ["n", *("n" if length is None else str(length) for length in shape[1:])]
    return f"({', '.join(lengths)})"


def run_notes(model: Model, inputs: list, first: Seen, alone: list | None) -> list[str]:
    """What differs when the samples are run again, and when the first is run ``alone``."""
    layers = tuple(first.values)
    count = len(layers) + (first.scores is not None)
    exact = _GPU_NOISE if model.device.startswith("cuda") else 0.0
    changed = _differences(first, seen(model, inputs, layers), lambda values: exact)
    notes = []
    if changed:
        notes.append(
            f"not repeatable: a batch of samples that is run again gives other values "
            f"{_where(changed, count)}; the network draws at random or keeps state"
        )
    if alone is None:
        return notes
    try:
        single = seen(model, alone, layers)
    except ModelError:
        return [*notes, "does not run on one sample alone; whether it mixes rows is not known"]
    steady = Seen({name: v[:1] for name, v in first.values.items() if name not in changed})
    if first.scores is not None and _SCORES not in changed:
        steady.scores = first.scores[:1]
    mixed = _differences(steady, single, _rounding)
    if mixed:
        notes.append(
            f"mixes the rows of a batch: a sample alone gives other values than beside another "
            f"{_where(mixed, count)}; results depend on --batch-size and on the order"
        )
    return notes


def _differences(
    one: Seen, other: Seen, tolerance: Callable[[np.ndarray], float]
) -> dict[str, float]:
    """How far values lie apart, by layer, as a part of the largest; only what is beyond."""
    pairs = {name: (values, other.values.get(name)) for name, values in one.values.items()}
    if one.scores is not None:
        pairs[_SCORES] = (one.scores, other.scores)
    apart = {name: _apart(a, b) for name, (a, b) in pairs.items()}
    return {name: x for name, x in apart.items() if x > tolerance(pairs[name][0])}


def _apart(one: np.ndarray, other: np.ndarray | None) -> float:
    if other is None or one.shape != other.shape:
        return math.inf
    if np.array_equal(one, other):
        return 0.0
    a, b = (np.asarray(x, np.float64) for x in (one, other))
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return math.inf
    largest = np.abs(a[finite]).max(initial=0.0)
    farthest = np.abs(a[finite] - b[finite]).max(initial=0.0)
    if largest:
        return float(farthest / largest)
    return math.inf if farthest else 0.0


def _rounding(values: np.ndarray) -> float:
    """What the kernels of another batch size may change."""
    if values.dtype == np.float32 and not (values.view(np.uint32) & _BELOW_HALF).any():
        return _HALF_ROUNDING
    return _ROUNDING


def _percent(part: float) -> str:
    return f"{100 * part:.2g}" if part < 0.1 else f"{100 * part:.0f}"


def _where(apart: dict[str, float], count: int) -> str:
    named = sorted(apart, key=lambda name: -apart[name])
    shown = ", ".join(
        f"{plain(name)} by {_percent(apart[name])} % of its largest value"
        if math.isfinite(apart[name])
        else f"{plain(name)} beyond measure"
        for name in named[:_NAMED]
    )
    more = len(named) - _NAMED
    rest = f", and {more} more" if more > 0 else ""
    return f"in {len(named)} of {count} layers and scores ({shown}{rest})"
