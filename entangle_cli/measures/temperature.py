"""Entanglement of a set of points: the soft nearest neighbor loss at its minimum over temperature.

*Conventions*: ``snnl`` in nats, higher = classes more mixed; ``ceiling`` its limit at infinite
temperature; ``entanglement`` = snnl / ceiling, in [0, 1] for the minimum: 0 = every point's nearest
neighbor has its class, 1 = labels say nothing about distances. Values depend on the number of
points: compare only equal ones.

*Where this differs from the published code*: that takes one gradient step in 1/T per evaluation
from a start of 100, which depends on the scale of the data; here the minimum is global, and where
it lies at an end of the range (temperature 0 or infinity) that is said in ``boundary``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.measures.limits import ceiling, limit_at_zero
from entangle_cli.measures.minimum import Minimum, StreamedSearch, stored_minimum
from entangle_cli.measures.points import PreparedPoints, prepare
from entangle_cli.measures.scales import median_squared_distance
from entangle_cli.measures.snnl import curve_of, internal_temperature, require_anchors
from entangle_cli.measures.stored import StoredCurve
from entangle_cli.measures.streamed import Precision, StreamedCurve
from entangle_cli.measures.visits import Elsewhere

Boundary = Literal["none", "zero", "infinity"]
# A minimum must beat a limit by more than its own error to be preferred
DISTINCT = 1e-9

SEPARATED = (
    "every point's nearest neighbor has its class: the loss falls to 0 with the temperature, "
    "which does not tell such layers apart; a relative temperature or batches do"
)
TIED = (
    "the lowest loss is the limit at temperature 0: nearest points of the same and of another "
    "class are equally far, as copies with different labels are"
)
MIXED = "no temperature gives less than the ceiling: near points share labels no more than far ones"
ONE_CLASS = "one class only: the loss is 0 at every temperature and entanglement is undefined"
CONSTANT = "all points are the same: no temperature tells the classes apart"


@dataclass(frozen=True)
class Entanglement:
    """The loss of one set of points and what is needed to read it.

    ``temperature`` is in the units of the metric, 0.0 at boundary ``zero`` and None at ``infinity``
    or where every temperature gives the same. ``entanglement`` is None where the ceiling is 0; at a
    temperature chosen by the caller it can exceed 1. ``knn_accuracy``: share of points whose
    nearest other point, the first among equals, has their class. ``duplicates``: points that are
    exact copies of an earlier one. ``local_minima``: interior minima seen, None where none was
    looked for. ``passes``: visits of all pairs.
    """

    snnl: float
    temperature: float | None
    ceiling: float
    entanglement: float | None
    boundary: Boundary
    knn_accuracy: float
    n: int
    dim: int
    classes: int
    singletons: int
    zero_vectors: int
    duplicates: int
    local_minima: int | None
    passes: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Value:
    snnl: float
    temperature: float | None
    boundary: Boundary
    knn_accuracy: float
    local_minima: int | None = None
    passes: int = 0
    note: str | None = None


def entanglement(  # noqa: PLR0913 - the options of one measure
    points: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    *,
    metric: str = "euclidean",
    precision: Precision = "auto",
    device: str | torch.device = "cpu",
    temperature: float | None = None,
    relative_temperature: float | None = None,
    scratch: Path | None = None,
    elsewhere: Elsewhere | None = None,
) -> Entanglement:
    """Soft nearest neighbor loss of points ``(n, d)``, labels ``(n,)``, minimal over temperature.

    ``L' = min over T of L(T)``; with ``temperature`` instead L at that T, with
    ``relative_temperature`` at that multiple of the median squared distance (of cosine distance
    under ``cosine``). ``precision``, ``scratch``: see ``soft_nearest_neighbor_loss``;
    ``elsewhere``: who visits the pairs of a large set (``visits``), None: this process.

    >>> entanglement([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]).boundary
    'infinity'

    Raises:
        MeasureError: shapes that do not fit, non-finite points, no class with two members, a
            temperature that is not positive.

    Reference: arXiv 1902.01889, eq. 2; normalized by the limit at infinite temperature.
    """
    if temperature is not None and relative_temperature is not None:
        raise MeasureError("both a temperature and a relative temperature; give one of them")
    prepared = prepare(points, labels, metric=metric, device=device, scratch=scratch)
    anchors = require_anchors(prepared)
    if relative_temperature is not None:
        temperature = relative_temperature * _unit_of_temperature(prepared)
    top = ceiling(prepared)
    special = _special(prepared, top, temperature)
    if special is not None:
        return _report(prepared, special, top)
    curve = curve_of(prepared, anchors, precision, keep=True, elsewhere=elsewhere)
    if temperature is not None:
        value = _given(prepared, curve, temperature)
    else:
        value = _minimal(prepared, curve, top)
    return _report(prepared, value, top)


def _unit_of_temperature(points: PreparedPoints) -> float:
    median = median_squared_distance(points)
    if median == 0 and not points.constant:
        raise MeasureError(
            "the median squared distance is 0, more than half of all pairs are copies; "
            "give an absolute temperature instead of a relative one"
        )
    return median


def _special(points: PreparedPoints, top: float, temperature: float | None) -> _Value | None:
    """Sets whose loss does not depend on temperature."""
    if temperature is not None and not (points.constant and temperature == 0):
        internal_temperature(points, temperature)
    if len(points.bounds) == 2:
        return _Value(0.0, temperature, "none", 1.0, note=ONE_CLASS)
    if points.constant:
        temperature = temperature or None
        boundary = "infinity" if temperature is None else "none"
        return _Value(top, temperature, boundary, _accuracy_of_copies(points), note=CONSTANT)
    return None


def _given(
    points: PreparedPoints, curve: StoredCurve | StreamedCurve, temperature: float
) -> _Value:
    # first: the sums of weights want to know how near the nearest points are
    accuracy = curve.nearest.accuracy()
    loss = curve.loss(internal_temperature(points, temperature))
    return _Value(loss, temperature, "none", accuracy, passes=curve.passes)


def _minimal(points: PreparedPoints, curve: StoredCurve | StreamedCurve, top: float) -> _Value:
    search = None if isinstance(curve, StoredCurve) else StreamedSearch(curve, points)
    at_zero = limit_at_zero(curve.nearest, curve.anchors)
    accuracy = curve.nearest.accuracy()
    if at_zero == 0:
        return _Value(0.0, 0.0, "zero", accuracy, passes=curve.passes, note=SEPARATED)
    minimum = stored_minimum(curve, points, top) if search is None else search.minimum(top)
    return _choose(points, minimum, at_zero, top, accuracy, curve.passes)


def _choose(
    points: PreparedPoints,
    minimum: Minimum,
    at_zero: float,
    top: float,
    accuracy: float,
    passes: int,
) -> _Value:
    count, point = minimum.local_minima, minimum.point
    interior = float("inf") if point is None else point.loss
    error = 0.0 if point is None else 3 * point.noise
    limit = min(at_zero, top)
    if interior < limit * (1 - DISTINCT) - error:
        return _Value(interior, point.temperature * points.unit, "none", accuracy, count, passes)
    if at_zero < top * (1 - DISTINCT):
        return _Value(at_zero, 0.0, "zero", accuracy, count, passes, TIED)
    return _Value(top, None, "infinity", accuracy, count, passes, MIXED)


def _accuracy_of_copies(points: PreparedPoints) -> float:
    """1-NN accuracy where all points are equally far: the neighbor is the first other point."""
    classes = np.empty(points.count, dtype=np.int64)
    classes[points.order] = np.repeat(np.arange(len(points.bounds) - 1), np.diff(points.bounds))
    nearest = np.zeros(points.count, dtype=np.int64)
    nearest[0] = 1
    return float((classes[nearest] == classes).mean())


def _report(points: PreparedPoints, value: _Value, top: float) -> Entanglement:
    widths = np.diff(points.bounds)
    singletons = int((widths == 1).sum())
    notes = [value.note] if value.note else []
    if singletons:
        notes.append(f"{singletons} points alone in their class left the mean, but stay neighbors")
    if points.zero_vectors:
        notes.append(f"{points.zero_vectors} zero vectors have cosine distance 1 to everything")
    return Entanglement(
        snnl=value.snnl,
        temperature=value.temperature,
        ceiling=top,
        entanglement=value.snnl / top if top > 0 else None,
        boundary=value.boundary,
        knn_accuracy=value.knn_accuracy,
        n=points.count,
        dim=points.dimension,
        classes=len(widths),
        singletons=singletons,
        zero_vectors=points.zero_vectors,
        duplicates=points.duplicates,
        local_minima=value.local_minima,
        passes=value.passes,
        notes=tuple(notes),
    )
