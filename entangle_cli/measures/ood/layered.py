"""What detectors of hidden layers ask the evidence for, checked, with one wording of each refusal.

*Conventions*: a method of one layer gets ``layers`` of length one. Training and calibration data
are named by the option that gives them. The predicted class is the largest class score, the lowest
class among equals.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.labels import as_labels
from entangle_cli.measures.ood.evidence import Evidence, Known, blocks, require_logits
from entangle_cli.neighbors.interface import Neighbors

NO_TRAINING = "needs training data: give --train"
NO_TRAINING_LABELS = "needs training data with labels: give --train"
NO_CALIBRATION = "needs calibration data: give --calib"
NO_CALIBRATION_LABELS = "needs calibration data with labels: give --calib"


def one_layer(layers: tuple[str, ...]) -> str:
    """The layer of a method that looks at one.

    Raises:
        MeasureError: none or several.
    """
    if len(layers) != 1:
        raise MeasureError(f"{len(layers)} layers for a score of one layer; give one")
    return layers[0]


def some_layers(layers: tuple[str, ...]) -> tuple[str, ...]:
    """The layers of a method that looks at several.

    Raises:
        MeasureError: there is none.
    """
    if not layers:
        raise MeasureError("no layer to look at; give at least one")
    return tuple(layers)


def training_data(known: Known) -> Evidence:
    """What is stored of the training data.

    Raises:
        MeasureError: nothing.
    """
    if known.training is None or known.training.rows == 0:
        raise MeasureError(NO_TRAINING)
    return known.training


def training_labels(known: Known) -> np.ndarray:
    """Labels of the training data, ``(n,)`` int64, -1 where unknown.

    Raises:
        MeasureError: there are none, or they do not fit.
    """
    return _labels(known.training, NO_TRAINING_LABELS, "training labels")


def calibration_data(known: Known) -> Evidence:
    """What is stored of the calibration data.

    Raises:
        MeasureError: nothing.
    """
    if known.calibration is None or known.calibration.rows == 0:
        raise MeasureError(NO_CALIBRATION)
    return known.calibration


def calibration_labels(known: Known) -> np.ndarray:
    """Labels of the calibration data, ``(n,)`` int64, -1 where unknown.

    Raises:
        MeasureError: there are none, or they do not fit.
    """
    return _labels(known.calibration, NO_CALIBRATION_LABELS, "calibration labels")


def predicted_classes(evidence: Evidence) -> np.ndarray:
    """Class with the largest class score, ``(n,)`` int64, the lowest among equals.

    Raises:
        MeasureError: no class scores, or not one row per input.
    """
    logits = require_logits(evidence)
    if logits.ndim != 2 or len(logits) != evidence.rows or logits.shape[1] == 0:
        raise MeasureError(f"class scores of shape {logits.shape} for {evidence.rows} inputs")
    return logits.argmax(axis=1)


def layer_rows(points: Mapping[str, np.ndarray], layer: str, rows: int) -> np.ndarray:
    """The points of one layer ``(n, d)`` as stored: perhaps memory-mapped, not yet read.

    Raises:
        MeasureError: nothing is stored of the layer, or not one row of numbers per input.
    """
    if layer not in points:
        raise MeasureError(f"nothing is stored of layer {layer}; dump it for every set")
    found = points[layer]
    fits = found.ndim == 2 and len(found) == rows and found.shape[1] > 0
    if not fits or found.dtype.kind not in "fiub":
        raise MeasureError(
            f"layer {layer}: points of shape {found.shape} and type {found.dtype} "
            f"for {rows} inputs; give real numbers as rows (n, d)"
        )
    return found


def exact_rows(points: np.ndarray, rows: slice | np.ndarray, layer: str) -> np.ndarray:
    """Some rows as a fresh float64 array.

    Raises:
        MeasureError: a value that is not finite, naming the first row that has one.
    """
    values = np.array(points[rows], dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.flatnonzero(~finite.all(axis=1))[0])
        row = rows.start + first if isinstance(rows, slice) else int(rows[first])
        raise MeasureError(
            f"layer {layer}: row {row} holds a value that is not finite (NaN or infinity); "
            "leave the input out"
        )
    return values


def row_blocks(count: int, width: int) -> Iterator[slice]:
    """Slices of ``count`` rows for tables of ``width`` float64 columns; see ``blocks``."""
    # a view of a single number: only its shape is looked at
    return blocks(np.broadcast_to(np.float64(0.0), (count, max(1, width))))


def layer_neighbors(evidence: Evidence, metric: str, layer: str) -> Neighbors:
    """The nearest training points of every input in one layer, ``(n, k)`` with k >= 1.

    Raises:
        MeasureError: they were not searched, do not fit the inputs, or hold NaN.
    """
    found = evidence.neighbors.get(metric, {}).get(layer)
    if found is None:
        raise MeasureError(f"needs the {metric} neighbors of layer {layer}: give --train")
    if found.indices.ndim != 2 or len(found) != evidence.rows or found.k == 0:
        raise MeasureError(
            f"layer {layer}: neighbors of shape {found.indices.shape} for {evidence.rows} inputs; "
            "search at least one per input"
        )
    if np.isnan(found.distances).any():
        raise MeasureError(f"layer {layer}: a distance to a neighbor is NaN; search again")
    return found


def _labels(evidence: Evidence | None, missing: str, what: str) -> np.ndarray:
    if evidence is None or evidence.labels is None or evidence.rows == 0:
        raise MeasureError(missing)
    labels = as_labels(evidence.labels, evidence.rows, what=what)
    if not (labels >= 0).any():
        raise MeasureError(f"{missing} (none of the {len(labels)} points has one)")
    if (labels < -1).any():
        raise MeasureError(f"{what} hold {labels.min()}; give 0..C-1, and -1 where unknown")
    return labels
