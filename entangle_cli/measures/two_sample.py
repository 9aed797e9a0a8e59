"""Whether two sets of points can be told apart: their entanglement as two classes.

The soft nearest neighbor loss of the points of A and B together, labeled by the set that they come
from, minimized over temperature: entanglement near 1 = one cannot be told from the other, 0 =
separated. Reference: arXiv 1902.01889, section 4 (real and synthetic data).

With permutations the same points are measured with their labels shuffled: ``permuted`` is the mean
of those, about what two samples of one distribution give, and ``p_value`` the share of shuffles at
most as entangled as A and B, ``(1 + #{shuffled <= observed}) / (1 + permutations)``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.protocol import Protocol, measure
from entangle_cli.scratch import scratch_array

if TYPE_CHECKING:
    from entangle_cli.measures.temperature import Entanglement

_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class TwoSample:
    """What tells A from B; ``permuted`` and ``p_value`` are None without permutations."""

    observed: "Entanglement"
    permuted: float | None
    p_value: float | None


def two_sample(  # noqa: PLR0913 - the options of one comparison
    a: np.ndarray,
    b: np.ndarray,
    protocol: Protocol,
    *,
    permutations: int = 0,
    seed: int = 0,
    device: str = "cpu",
    scratch: Path | None = None,
) -> TwoSample:
    """Entanglement of points ``(n, d)`` and ``(m, d)`` as two classes.

    Raises:
        MeasureError: an empty set, points of different dimension, or for which the measure is not
            defined.
    """
    if a.shape[1:] != b.shape[1:]:
        raise MeasureError(
            f"points of {a.shape[1]} and of {b.shape[1]} numbers; both sets need points of one size"
        )
    if len(a) == 0 or len(b) == 0:
        raise MeasureError(f"sets of {len(a)} and {len(b)} points; give points of both")
    points = stacked(a, b, scratch)
    labels = np.repeat([0, 1], [len(a), len(b)])

    def measured(labels: np.ndarray) -> "Entanglement":
        return measure(points, labels, protocol, device=device, scratch=scratch)

    observed = measured(labels)
    if not permutations:
        return TwoSample(observed, None, None)
    generator = np.random.default_rng(seed)
    shuffled = [measured(generator.permutation(labels)).entanglement for _ in range(permutations)]
    at_most = sum(value <= observed.entanglement for value in shuffled)
    return TwoSample(observed, float(np.mean(shuffled)), (1 + at_most) / (1 + permutations))


def stacked(a: np.ndarray, b: np.ndarray, scratch: Path | None) -> np.ndarray:
    """The rows of both, in an unlinked file of the folder ``scratch`` where one is given."""
    dtype = np.result_type(a, b)
    if scratch is None:
        return np.concatenate([a, b], dtype=dtype)
    both = scratch_array((len(a) + len(b), a.shape[1]), dtype, scratch)
    for begin, rows in ((0, a), (len(a), b)):
        for first in range(0, len(rows), _ROWS_AT_A_TIME):
            part = rows[first : first + _ROWS_AT_A_TIME]
            both[begin + first : begin + first + len(part)] = part
    return both
