"""Out-of-distribution detectors fitted on activation files."""

from collections.abc import Sequence

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.library.evidence import Penultimate, by_least_squares, evidence, from_file
from entangle_cli.measures.ood.catalogue import choose_methods
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.fitting import (
    FittedDetector,
    column_name,
    fit_detectors,
    score_inputs,
)
from entangle_cli.models.head import LinearHead
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.opening import build_index


class Detectors:
    """Several detectors of foreign inputs; higher scores are more foreign.

    Attributes:
        fitted: each with its threshold, at which 95 % of the calibration inputs pass, or with the
            reason why there is none.
    """

    def __init__(
        self,
        train: ActivationFile,
        penultimate: Penultimate,
        *,
        layers: tuple[str, ...],
        metrics: tuple[str, ...],
        k: int,
    ) -> None:
        """Prefer `fit`."""
        self.fitted: list[FittedDetector] = []
        self._penultimate, self._layers, self._k = penultimate, layers, k
        self._indexes = {
            metric: {layer: build_index(train.points(layer), metric=metric) for layer in layers}
            for metric in metrics
        }

    @classmethod
    def fit(  # noqa: PLR0913 - what detectors are made of
        cls,
        train: ActivationFile,
        calibration: ActivationFile,
        *,
        detectors: Sequence[str] = (),
        layers: Sequence[str] | None = None,
        head: LinearHead | None = None,
        features: str | None = None,
        k: int = 75,
        keep: float = 0.95,
        seed: int = 0,
    ) -> "Detectors":
        """Fit detectors on stored activations of one model.

        ``detectors``: names and patterns of `entangle ood`, all of them if empty. What looks at
        the last linear layer needs ``head`` (`Model.head_or_reason`), or the name of the layer
        that it reads as ``features``, from which it is recovered; else these have no scores.

        Raises:
            MeasureError: an unknown detector, a layer that is not stored.
        """
        methods = choose_methods(detectors)
        names = tuple(layer.name for layer in train.layers) if layers is None else tuple(layers)
        if head is None and features is not None:
            penultimate = by_least_squares(features, train)
        else:
            penultimate = from_file(head, "none was given", train)
        needed = frozenset().union(*(method.needs for method in methods))
        metrics = tuple(metric for metric in ("cosine", "euclidean") if metric in needed)
        found = cls(train, penultimate, layers=names, metrics=metrics, k=min(k, train.rows))
        known = Known(
            found._evidence(train, near=False),
            found._evidence(calibration),
            penultimate.head,
            seed,
        )
        found.fitted = fit_detectors(methods, known, names, keep=keep)
        return found

    def score(self, inputs: ActivationFile) -> dict[str, np.ndarray]:
        """Scores ``(n,)`` by detector, named as in `entangle ood` (``energy``, ``knn@fc1``).

        Those that are not defined for these inputs are left out; `fitted` says why.
        """
        scores, _ = score_inputs(self.fitted, self._evidence(inputs))
        return {column_name(key): values for key, values in scores.items()}

    def _evidence(self, stored: ActivationFile, *, near: bool = True) -> Evidence:
        neighbors: dict[str, dict[str, Neighbors]] = {}
        if near:
            neighbors = {
                metric: {
                    layer: index.query(stored.points(layer), k=self._k)
                    for layer, index in indexes.items()
                }
                for metric, indexes in self._indexes.items()
            }
        return evidence(
            stored,
            self._penultimate,
            self._layers,
            labels=stored.labels,
            neighbors=neighbors,
            averaged=True,
        )
