"""How accurate predictions are in each range of credibility.

*Conventions*: bins of equal width over [0, 1], closed below and open above, the last closed on both
sides. A bin without inputs has no accuracy: it is missing (None), not 0.

A credibility is a p-value: 0.5 on average for a true label, plus what ties add. It is not the
probability of being right, so a reliable DkNN rises with credibility and need not lie on the
diagonal.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.errors import MeasureError


@dataclass(frozen=True)
class ReliabilityBin:
    """The inputs with ``low <= credibility < high`` (``<= high`` in the last bin)."""

    low: float
    high: float
    count: int
    accuracy: float | None  # share of correct predictions, None where there are no inputs
    credibility: float | None  # mean credibility, None likewise


def reliability(
    credibility: np.ndarray, correct: np.ndarray, *, bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Accuracy per range of credibility, from credibility ``(n,)`` and correctness ``(n,)``.

    Edges are i/bins as float64, so a p-value c/m that *is* an edge, such as 225/750 = 3/10, falls
    into the bin above it. The counts add up to n.

    Raises:
        MeasureError: shapes that do not fit, a credibility outside [0, 1], fewer than one bin.
    """
    credibility, correct = np.asarray(credibility, dtype=np.float64), np.asarray(correct)
    if credibility.ndim != 1 or correct.shape != credibility.shape or correct.dtype != bool:
        raise MeasureError(
            f"credibility of shape {credibility.shape} with {correct.dtype} of shape "
            f"{correct.shape}; give (n,) numbers and (n,) true or false"
        )
    if not ((credibility >= 0) & (credibility <= 1)).all():
        raise MeasureError("a credibility lies outside [0, 1]; give p-values")
    if bins < 1:
        raise MeasureError(f"{bins} reliability bins; ask for at least 1")
    edges = np.arange(bins + 1) / bins
    bin_of = np.minimum(np.searchsorted(edges, credibility, side="right") - 1, bins - 1)
    return tuple(
        _bin(edges[i], edges[i + 1], credibility[bin_of == i], correct[bin_of == i])
        for i in range(bins)
    )


def _bin(low: float, high: float, credibility: np.ndarray, correct: np.ndarray) -> ReliabilityBin:
    count = len(credibility)
    accuracy = float(correct.mean()) if count else None
    mean = float(credibility.mean()) if count else None
    return ReliabilityBin(float(low), float(high), count, accuracy, mean)
