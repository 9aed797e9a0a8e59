"""What a detector is, and what the catalogue says of one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from entangle_cli.measures.ood.evidence import Evidence, Known

# what a detector looks at: class scores, the last linear layer's input, one layer, or all of them
Scope = Literal["logits", "features", "layer", "layers"]
# what has to be computed for it: neighbors in a metric, points averaged over space
Need = Literal["cosine", "euclidean", "channels"]


class Detector(Protocol):
    """A fitted outlier score: a frozen dataclass of arrays, numbers, texts and other detectors."""

    def score(self, inputs: Evidence) -> np.ndarray:
        """Outlier score of every input, ``(n,)`` float64; higher = more out of distribution.

        Raises:
            MeasureError: the evidence that is needed is missing or does not fit.
        """


# ``fit(known, layers)``: no layer for the scopes logits and features, one for layer, else all
Fit = Callable[[Known, tuple[str, ...]], Detector]


@dataclass(frozen=True)
class Method:
    """An entry of the catalogue.

    ``fit`` raises a `MeasureError` that says what is missing or too small. ``needs`` names what
    must be computed from the stored activations beforehand.
    """

    name: str
    scope: Scope
    summary: str
    needs: frozenset[Need]
    fit: Fit

    def places(self, layers: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
        """Where the detector is fitted: the name of each place and the layers it looks at."""
        if self.scope == "layer":
            return [(layer, (layer,)) for layer in layers]
        if self.scope == "layers":
            return [("all layers", layers)]
        return [(self.scope, ())]
