"""The soft nearest neighbor loss (SNNL) at a given temperature.

*Conventions*: the squared distance is divided by T once, no factor 2; ``cosine`` is ``1 - cos``,
not squared; a point is never its own neighbor, by its number and not by its distance. Higher
values: the classes are more mixed. A point alone in its class has no same-class neighbor: it leaves
the mean and stays a neighbor of the others. One class: 0.

*Where this differs from the published code*: no epsilon, which caps the loss of a point at 11.5 and
biases all of it; no subtraction of an identity matrix, which turns rounding of the diagonal into
NaN; the loss keeps its relative accuracy when it is 1e-20.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.measures.limits import anchor_rows
from entangle_cli.measures.points import PreparedPoints, prepare
from entangle_cli.measures.stored import MOST_POINTS, StoredCurve
from entangle_cli.measures.streamed import Precision, StreamedCurve
from entangle_cli.measures.visits import Elsewhere

# Internal temperatures below this leave the range of float64
LOWEST_TEMPERATURE = 1e-150


def soft_nearest_neighbor_loss(  # noqa: PLR0913 - the options of one measure
    points: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    *,
    temperature: float,
    metric: str = "euclidean",
    precision: Precision = "auto",
    device: str | torch.device = "cpu",
    scratch: Path | None = None,
) -> float:
    """Soft nearest neighbor loss of points ``(n, d)`` with labels ``(n,)``, >= 0, in nats.

    ``-mean_i log( sum_{j != i, y_j = y_i} exp(-d_ij / T) / sum_{k != i} exp(-d_ik / T) )``

    ``precision``: ``float64`` throughout, or ``auto`` to use float32 where that leaves the result
    within 1e-6 relative; up to 2,500 points are always float64. ``scratch``: see ``prepare``.

    >>> soft_nearest_neighbor_loss([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1], temperature=1.0)
    0.0246212828599...

    Raises:
        MeasureError: shapes that do not fit, non-finite points, no class with two members.

    Reference: arXiv 1902.01889, eq. 1.
    """
    prepared = prepare(points, labels, metric=metric, device=device, scratch=scratch)
    anchors = require_anchors(prepared)
    internal = internal_temperature(prepared, temperature)
    if len(prepared.bounds) == 2:
        return 0.0
    return curve_of(prepared, anchors, precision).loss(internal)


def curve_of(
    points: PreparedPoints,
    anchors: Tensor,
    precision: Precision,
    *,
    keep: bool = False,
    elsewhere: Elsewhere | None = None,
) -> StoredCurve | StreamedCurve:
    """The loss over temperature, in the way that fits the number of points.

    ``keep`` what takes up to 256 MiB of memory, for more than one pass over all pairs.
    ``elsewhere``: see ``visits``; only of streamed curves.
    """
    if precision not in ("auto", "float64", "float32"):
        raise MeasureError(f"precision {precision!r} is unknown; use auto, float64 or float32")
    if points.count <= MOST_POINTS:
        return StoredCurve(points, anchors)
    return StreamedCurve(points, anchors, precision, keep=keep, elsewhere=elsewhere)


def require_anchors(points: PreparedPoints) -> Tensor:
    """Rows that have a same-class neighbor.

    Raises:
        MeasureError: there is none.
    """
    anchors = anchor_rows(points)
    if not len(anchors):
        raise MeasureError(
            f"{points.count} points of {points.count} classes: every point is alone in its class; "
            "give at least two points of one class"
        )
    return anchors


def internal_temperature(points: PreparedPoints, temperature: float) -> float:
    """The user's temperature in internal squared distances.

    Raises:
        MeasureError: not a positive finite number, or too small for float64.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise MeasureError(f"temperature {temperature} is not a positive number; give T > 0")
    internal = temperature / points.unit
    if not LOWEST_TEMPERATURE <= internal <= 1 / LOWEST_TEMPERATURE:
        raise MeasureError(
            f"temperature {temperature} is out of range for these distances; "
            f"give one near their size, about {2 * points.unit * points.mean_norm():.3g}"
        )
    return internal
