"""Deep k-nearest neighbors from activation files.

Reference: Papernot and McDaniel, *Deep k-Nearest Neighbors: Towards Confident, Interpretable and
Robust Deep Learning*, arXiv 1803.04765, algorithm 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.errors import MeasureError
from entangle_cli.measures.conformal import PValueKind, Zeros
from entangle_cli.measures.dknn import LabelCounts
from entangle_cli.measures.evaluation import Evaluation, evaluate
from entangle_cli.measures.layered_calibration import LayeredCalibration, calibrate
from entangle_cli.neighbors.interface import NeighborIndex
from entangle_cli.neighbors.opening import build_index


class DeepNeighbors:
    """Judges inputs by the labels of their nearest training points at every layer.

    Attributes:
        layers: the layers that are looked at, in order.
        k: neighbors at each.
        calibration: how strange the held-out points looked.
    """

    def __init__(
        self,
        indexes: Mapping[str, NeighborIndex],
        labels: np.ndarray,
        *,
        k: int,
    ) -> None:
        """Prefer `fit`. ``indexes`` hold the training points by layer, ``labels`` ``(n,)``."""
        self.layers, self.k = tuple(indexes), k
        self._indexes, self._labels = dict(indexes), labels
        self._classes = int(labels.max()) + 1
        self.calibration: LayeredCalibration | None = None

    @classmethod
    def fit(  # noqa: PLR0913 - the options of the method
        cls,
        train: ActivationFile,
        calibration: ActivationFile,
        *,
        layers: Sequence[str] | None = None,
        k: int = 75,
        metric: str = "cosine",
        method: str = "auto",
        zeros: Zeros = "keep",
        per_class: bool = False,
        device: str = "cpu",
    ) -> "DeepNeighbors":
        """Index the training activations and calibrate on held-out ones of the same model.

        ``layers``: those stored in ``train`` unless given. ``method``: ``auto``, ``exact`` or
        ``approximate``. ``zeros``, ``per_class``: see `measures.conformal.Calibration`. That the
        two sets share no inputs is the caller's to see to; `entangle dknn` refuses it.

        Raises:
            MeasureError: labels are missing, fewer than k training points, a layer that is not
                stored or holds values that are not finite.
        """
        names = [layer.name for layer in train.layers] if layers is None else list(layers)
        indexes = {
            name: build_index(
                train.points(name),
                metric=metric,
                method=method,
                queries=calibration.rows,
                device=device,
            )
            for name in names
        }
        fitted = cls(indexes, _every_label(train), k=k)
        fitted.calibration = calibrate(
            fitted.label_counts(calibration),
            _every_label(calibration),
            k=k,
            zeros=zeros,
            per_class=per_class,
        )
        return fitted

    def judge(
        self, inputs: ActivationFile, *, p_value: PValueKind = "paper", seed: int = 0
    ) -> Evaluation:
        """Prediction, credibility and confidence of every input, jointly and per layer.

        ``p_value``: ``paper``, ``conformal`` or ``smoothed``; ``seed`` is for the latter.

        Raises:
            MeasureError: the inputs come from other layers, or values are not finite.
        """
        logits = inputs.logits
        return evaluate(
            self.label_counts(inputs),
            self.calibration,
            inputs.labels,
            model_prediction=None if logits is None else np.asarray(logits).argmax(axis=1),
            kind=p_value,
            seed=seed,
        )

    def label_counts(self, inputs: ActivationFile) -> dict[str, LabelCounts]:
        """How many of the k neighbors have each label, ``(n, C)`` per layer."""
        counts = {}
        for layer, index in self._indexes.items():
            found = index.query(inputs.points(layer), k=self.k)
            counts[layer] = LabelCounts(found.indices, self._labels, self._classes)
        return counts


def _every_label(stored: ActivationFile) -> np.ndarray:
    labels = stored.labels
    if labels is None or (labels < 0).any():
        raise MeasureError(f"{stored.path}: every sample needs a label here")
    return labels
