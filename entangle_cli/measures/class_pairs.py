"""Which classes mix with which: the entanglement of every pair of classes.

*Conventions*: a pair is measured as a set of points of its own, those of its two classes alone,
under the protocol of the whole: with its own minimum over temperature, or at the temperature given,
a relative one being a multiple of the pair's own median squared distance. Its ``entanglement`` is
snnl / ceiling of those points: 0 = the two classes are apart, 1 = they cannot be told apart. Pairs
are ordered by label, ``class_a < class_b``. As everywhere, only sets of equal size compare.

All pairs together visit about twice as many distances as the whole set does; small sets are scanned
more densely than large ones, so the time can be several times that of the whole.

Reference: arXiv 1902.01889, eq. 2, on two classes at a time.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.protocol import Protocol, measure
from entangle_cli.scratch import scratch_array

# 435 pairs; with more classes only the largest are paired
MOST_CLASSES = 30
# points of two classes up to this size are copied in memory
_IN_MEMORY = 1 << 28
_ROWS_AT_A_TIME = 256

ALONE = "a class with one sample has no pair to be measured in"


@dataclass(frozen=True)
class ClassPair:
    """Two classes, their sizes and how they mix; the numbers are None where ``reason`` says why."""

    class_a: int
    class_b: int
    n_a: int
    n_b: int
    snnl: float | None
    entanglement: float | None
    boundary: str | None
    reason: str | None = None


def class_pairs(
    points: np.ndarray,
    labels: np.ndarray,
    protocol: Protocol,
    *,
    device: str = "cpu",
    scratch: Path | None = None,
) -> tuple[ClassPair, ...]:
    """Entanglement of every two classes of points ``(n, d)`` with labels ``(n,)``.

    Of more than ``MOST_CLASSES`` classes the largest are paired (`paired_classes`). A pair for
    which the measure is not defined is there without numbers. ``scratch``: a folder for unlinked
    temporary files, which keeps memory bounded.

    >>> pair, = class_pairs(np.array([[0.0], [1.0], [5.0], [6.0]]), np.array([0, 0, 1, 1]),
    ...                     Protocol())
    >>> pair.class_a, pair.class_b, pair.entanglement, pair.boundary
    (0, 1, 0.0, 'zero')

    Raises:
        MeasureError: a protocol of batches, or not one label per point.
    """
    if protocol.batch_size is not None:
        raise MeasureError(
            "pairs of classes in batches: a batch holds few points of two classes; measure pairs "
            "on all points"
        )
    labels = np.asarray(labels)
    if labels.shape != (len(points),):
        raise MeasureError(
            f"labels of shape {labels.shape} for {len(points)} points; give one each"
        )
    rows = {label: np.flatnonzero(labels == label) for label in paired_classes(labels)}

    def pair(a: int, b: int) -> ClassPair:
        sizes = a, b, len(rows[a]), len(rows[b])
        if min(sizes[2:]) < 2:
            return ClassPair(*sizes, None, None, None, ALONE)
        both = np.sort(np.concatenate([rows[a], rows[b]]))
        try:
            taken = _taken(points, both, scratch)
            found = measure(taken, labels[both], protocol, device=device, scratch=scratch)
        except MeasureError as error:
            return ClassPair(*sizes, None, None, None, str(error))
        return ClassPair(*sizes, found.snnl, found.entanglement, found.boundary)

    return tuple(pair(a, b) for a, b in combinations(rows, 2))


def paired_classes(labels: np.ndarray) -> list[int]:
    """The labels that are paired, ascending: all, or the ``MOST_CLASSES`` with the most points.

    Of classes of equal size those with the smaller labels.
    """
    classes, sizes = np.unique(labels, return_counts=True)
    largest = np.argsort(-sizes, kind="stable")[:MOST_CLASSES]
    return sorted(classes[largest].tolist())


def _taken(points: np.ndarray, rows: np.ndarray, scratch: Path | None) -> np.ndarray:
    """Some rows as an array of their own, in an unlinked file where they are many."""
    if scratch is None or len(rows) * points[:1].nbytes <= _IN_MEMORY:
        return np.asarray(points[rows])
    taken = scratch_array((len(rows), points.shape[1]), points.dtype, scratch)
    for first in range(0, len(rows), _ROWS_AT_A_TIME):
        part = slice(first, first + _ROWS_AT_A_TIME)
        taken[part] = points[rows[part]]
    return taken
