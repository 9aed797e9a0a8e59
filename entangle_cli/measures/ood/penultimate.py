"""What detectors on penultimate features share: the features, checked, in float64 blocks.

*Conventions*: features f ``(n, D)`` are the input of the last linear layer, z = W f + b its class
scores ``(n, C)``, the prediction the first largest of them. Class scores are computed from features
and layer, so they are logits even where the network itself gives probabilities.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Head, Known, blocks

# Lengths below this share of the typical length of a training feature are rounding
NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Center:
    """Mean ``(D,)`` of training features; ``negligible`` is a distance from it that is rounding."""

    mean: np.ndarray
    negligible: float


def require_head(known: Known) -> Head:
    """The last linear layer, its shapes checked.

    Raises:
        MeasureError: there is none, shapes that do not fit, a weight that is not finite.
    """
    head = known.head
    if head is None:
        raise MeasureError("needs the last linear layer")
    weight = np.asarray(head.weight, dtype=np.float64)
    bias = np.asarray(head.bias, dtype=np.float64)
    if weight.ndim != 2 or 0 in weight.shape or bias.shape != (len(weight),):
        raise MeasureError(
            f"last linear layer with weights {weight.shape} and bias {bias.shape}; "
            "give (classes, width) and (classes,)"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise MeasureError("a weight of the last linear layer is not finite; check the network")
    return Head(weight, bias)


def require_training(known: Known) -> Evidence:
    """The training data, at least one input.

    Raises:
        MeasureError: there is none.
    """
    if known.training is None or known.training.rows == 0:
        raise MeasureError("needs training data: give --train")
    return known.training


def require_features(evidence: Evidence, width: int | None = None) -> np.ndarray:
    """Features ``(n, D)`` as they are stored; D must be ``width`` where given.

    Raises:
        MeasureError: there are none, another shape, another width.
    """
    features = evidence.features
    if features is None:
        raise MeasureError("needs the input of the last linear layer")
    if features.ndim != 2 or features.shape[1] == 0 or len(features) != evidence.rows:
        raise MeasureError(
            f"features of shape {features.shape} for {evidence.rows} inputs; give (n, width)"
        )
    if width is not None and features.shape[1] != width:
        raise MeasureError(
            f"features of width {features.shape[1]} for a last linear layer or training data of "
            f"width {width}; give the exact input of the last linear layer"
        )
    return features


def feature_blocks(
    evidence: Evidence, width: int | None = None, *, beside: int = 0
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows and their features in float64; ``beside`` more values are needed per row.

    Raises:
        MeasureError: as `require_features`, and a value that is not finite.
    """
    features = require_features(evidence, width)
    # no memory: only the shape is asked for
    shape = (len(features), features.shape[1] + beside)
    for rows in blocks(np.broadcast_to(np.float64(0.0), shape)):
        block = np.asarray(features[rows], dtype=np.float64)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = rows.start + int(np.flatnonzero(~finite)[0])
            raise MeasureError(f"features of row {row} are not finite; leave the input out")
        yield rows, block


def score_features(
    inputs: Evidence,
    width: int,
    function: Callable[[np.ndarray], np.ndarray],
    *,
    beside: int = 0,
) -> np.ndarray:
    """``function`` of blocks of features, put together, ``(n,)`` float64."""
    values = np.empty(inputs.rows)
    for rows, features in feature_blocks(inputs, width, beside=beside):
        values[rows] = function(features)
    return values


def fit_center(training: Evidence, width: int | None = None) -> Center:
    """Mean of the training features.

    Raises:
        MeasureError: as `feature_blocks`.
    """
    total = np.zeros(require_features(training, width).shape[1])
    squares = 0.0
    for _, features in feature_blocks(training, width):
        total += features.sum(axis=0)
        squares += float(np.einsum("ij,ij->", features, features))
    typical = np.sqrt(squares / training.rows)
    return Center(total / training.rows, NEGLIGIBLE * float(typical) or NEGLIGIBLE)


def norms(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths of rows ``(n, D)``, ``(n, 1)``."""
    return np.linalg.norm(vectors, axis=1, keepdims=True)


def unit(vectors: np.ndarray, *, negligible: float = 0.0) -> np.ndarray:
    """Rows ``(n, D)`` of length 1; rows of length ``negligible`` or less become 0."""
    lengths = norms(vectors)
    directed = lengths > negligible
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=directed)
