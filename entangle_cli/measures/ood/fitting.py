"""Detectors fitted where they can be, and scores of inputs; what cannot be is said, not guessed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures.detection import threshold
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.interface import Detector, Method
from entangle_cli.progress import Progress, silent
from entangle_cli.scratch import give_back, scratch_array

Key = tuple[str, str]


@dataclass(frozen=True)
class FittedDetector:
    """A detector at one place, or why there is none.

    Attributes:
        name: that of the catalogue.
        place: ``logits``, ``features``, the layer, or ``all layers``.
        detector: None where it could not be fitted.
        threshold: an input is called out of distribution when its score is above; None without
            calibration data.
        note: what a person should know, empty where nothing.
    """

    name: str
    place: str
    detector: Detector | None
    threshold: float | None = None
    note: str = ""

    @property
    def key(self) -> Key:
        """Name and place."""
        return self.name, self.place


def column_name(key: Key) -> str:
    """``msp`` for a detector of class scores or features, else ``knn@fc1``."""
    name, place = key
    return name if place in ("logits", "features") else f"{name}@{place}"


def fit_detectors(
    methods: Sequence[Method],
    known: Known,
    layers: tuple[str, ...],
    *,
    keep: float = 0.95,
    progress: Progress = silent,
) -> list[FittedDetector]:
    """Fit every method at each of its places; ``keep``: share of inputs below the threshold."""
    places = [(method, *where) for method in methods for where in method.places(layers)]
    fitted = []
    progress.start("fitting detectors", len(places))
    try:
        for method, place, chosen in places:
            fitted.append(_fitted(method, place, chosen, known, keep))
            give_back()
            progress.advance()
    finally:
        progress.finish()
    return fitted


def _fitted(
    method: Method, place: str, chosen: tuple[str, ...], known: Known, keep: float
) -> FittedDetector:
    try:
        detector = method.fit(known, chosen)
    except MeasureError as error:
        return FittedDetector(method.name, place, None, note=str(error))
    left_out = getattr(detector, "left_out", ())
    note = f"without {', '.join(left_out)}" if left_out else ""
    one = FittedDetector(method.name, place, detector, note=note)
    return _with_threshold(one, known.calibration, keep)


def _with_threshold(
    fitted: FittedDetector, calibration: Evidence | None, keep: float
) -> FittedDetector:
    if calibration is None:
        return fitted
    try:
        limit = threshold(fitted.detector.score(calibration), keep=keep)
    except MeasureError as error:
        return replace(
            fitted, note="; ".join(filter(None, (fitted.note, f"no threshold: {error}")))
        )
    return replace(fitted, threshold=limit)


def score_inputs(
    fitted: Sequence[FittedDetector], inputs: Evidence, *, scratch: Path | None = None
) -> tuple[dict[Key, np.ndarray], dict[Key, str]]:
    """Outlier scores ``(n,)`` by detector, and the reasons of those that have none.

    They lie in an unlinked file in the folder ``scratch`` where one is given.
    """
    scores: dict[Key, np.ndarray] = {}
    reasons: dict[Key, str] = {}
    room = scratch_array((len(fitted), inputs.rows), np.float64, scratch)
    for row, one in zip(room, fitted, strict=True):
        if one.detector is None:
            continue
        try:
            row[:] = one.detector.score(inputs)
            scores[one.key] = row
            give_back()
        except MeasureError as error:
            reasons[one.key] = str(error)
    return scores, reasons
