"""What is stored of inputs, and what a detector may be fitted on.

*Conventions*: rows are inputs, the same n in every array of one ``Evidence``. Arrays may be
memory-mapped and larger than memory: read them in blocks of rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.interface import Neighbors

BLOCK_BYTES = 1 << 21


@dataclass(frozen=True)
class Head:
    """The last linear layer: ``logits = features @ weight.T + bias``.

    ``weight`` ``(C, D)`` and ``bias`` ``(C,)`` float64.
    """

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Class scores ``(n, C)`` float64 of features ``(n, D)``."""
        return np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias


@dataclass(frozen=True)
class Evidence:
    """What is stored of n inputs; a detector takes what it needs.

    Attributes:
        rows: n.
        logits: class scores ``(n, C)``, None where the network has none.
        probabilities: whether ``logits`` are logarithms of probabilities (the network ends in a
            softmax): differences between classes mean the same, their size does not.
        features: the input of the last linear layer ``(n, D)``, None where it is not known.
        points: each layer's points ``(n, d)``.
        channels: each layer's points with feature maps averaged over space, ``(n, c)``; the points
            themselves where a layer has no map.
        neighbors: by metric (``cosine``, ``euclidean``) and layer, the nearest training points.
        labels: true classes ``(n,)`` int64, -1 = unknown; None where there are none.
    """

    rows: int
    logits: np.ndarray | None = None
    probabilities: bool = False
    features: np.ndarray | None = None
    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    channels: Mapping[str, np.ndarray] = field(default_factory=dict)
    neighbors: Mapping[str, Mapping[str, Neighbors]] = field(default_factory=dict)
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Known:
    """What detectors are fitted on; each may be missing.

    ``training`` is the data that the network was trained on, ``calibration`` in-distribution data
    that training has not seen, ``seed`` that of everything drawn at random.
    """

    training: Evidence | None = None
    calibration: Evidence | None = None
    head: Head | None = None
    seed: int = 0


def blocks(points: np.ndarray) -> Iterator[slice]:
    """Slices of rows that are at most 2 MiB as float64."""
    step = max(1, BLOCK_BYTES // max(1, 8 * int(np.prod(points.shape[1:]))))
    for start in range(0, len(points), step):
        yield slice(start, min(start + step, len(points)))


def require_logits(evidence: Evidence) -> np.ndarray:
    """Class scores ``(n, C)`` float64.

    Raises:
        MeasureError: there are none, or one is NaN or infinite where a probability is not 0.
    """
    if evidence.logits is None:
        raise MeasureError("the network has no class scores")
    logits = np.asarray(evidence.logits, dtype=np.float64)
    allowed = np.isfinite(logits)
    if evidence.probabilities:
        allowed |= logits == -np.inf
    if not allowed.all():
        row = int(np.flatnonzero(~allowed.all(axis=1))[0])
        raise MeasureError(f"class scores of row {row} are not finite; leave the input out")
    return logits
