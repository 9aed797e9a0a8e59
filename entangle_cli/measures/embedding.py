"""A map of points: t-SNE in two dimensions, on which other points can be placed.

*Conventions*: points ``(n, d)`` are first projected on their first 50 principal axes. Coordinates
have no unit; only who lies near whom means something, so a map is to be read beside numbers of the
points themselves. Placed points are moved by the mapped ones alone: they do not move those, nor one
another. One thread, exact neighbors and a fixed seed: equal points give equal coordinates.

References: van der Maaten & Hinton, JMLR 9 (2008); placing: Policar, Strazar & Zupan, Machine
Learning 112 (2023). The optimization is openTSNE's (Barnes-Hut), which the extra ``report`` brings.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from entangle_cli.errors import MeasureError
from entangle_cli.measures.principal import PrincipalAxes, principal_axes, require_finite

COMPONENTS = 50
# placing looks at so many neighbors; a map of fewer points is none
FEWEST = 16
MOST = 10_000
# as many neighbors as the perplexity times this take part
_REACH = 3


@dataclass(frozen=True)
class Embedding:
    """A map: ``coordinates`` ``(n, 2)`` float64 of the points it was made of."""

    coordinates: np.ndarray
    _axes: PrincipalAxes
    _map: Any

    def place(self, points: np.ndarray) -> np.ndarray:
        """Coordinates ``(m, 2)`` of other points ``(m, d)`` on this map.

        Raises:
            MeasureError: points of another dimension, or a value that is not finite.
        """
        with threadpool_limits(1):
            scores = _two_or_more(self._axes.project(points))
            require_finite(scores)
            return np.asarray(self._map.transform(scores), dtype=np.float64)


def require_opentsne() -> None:
    """Refuse to start without the library that makes maps.

    Raises:
        MeasureError: it is not installed.
    """
    if find_spec("openTSNE") is None:
        raise MeasureError(
            "maps need openTSNE, which is not installed: pip install 'entangle-cli[report]'"
        )


def embed(points: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> Embedding:
    """The t-SNE map of points ``(n, d)``.

    ``perplexity``: about how many neighbors a point is to keep. ``seed`` is for the small noise
    that takes apart equal points at the start.

    Raises:
        MeasureError: openTSNE is not installed, too few or too many points for the perplexity, a
            value that is not finite, or points all equal.
    """
    require_opentsne()
    require_size(len(points), perplexity)
    from openTSNE import TSNE

    with threadpool_limits(1):
        axes = principal_axes(points, COMPONENTS)
        found = TSNE(
            perplexity=perplexity,
            initialization="pca",
            random_state=seed,
            n_jobs=1,
            neighbors="exact",
            negative_gradient_method="bh",
        ).fit(_two_or_more(axes.scores))
    return Embedding(np.array(found, dtype=np.float64), axes, found)


def require_size(count: int, perplexity: float) -> None:
    """Refuse a number of points that this perplexity gives no map of.

    Raises:
        MeasureError: too few, or too many.
    """
    if count > MOST:
        raise MeasureError(f"a map of {count} points; give a sample of at most {MOST}")
    if count < FEWEST or count <= _REACH * perplexity:
        fewest = max(FEWEST, int(_REACH * perplexity) + 1)
        raise MeasureError(
            f"a map of {count} points at perplexity {perplexity:g} needs {fewest} or more; give "
            "more points, or a smaller perplexity"
        )


def _two_or_more(scores: np.ndarray) -> np.ndarray:
    """Scores with a column of zeros where there is one axis only: a map has two."""
    return scores if scores.shape[1] > 1 else np.column_stack([scores, np.zeros(len(scores))])
