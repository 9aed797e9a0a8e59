"""What ``entangle map`` was asked for and what it found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.results import Row
from entangle_cli.runs.map.data import Sampled

if TYPE_CHECKING:
    from entangle_cli.measures.temperature import Entanglement


@dataclass(frozen=True)
class MapOptions:
    """The options that only ``entangle map`` has."""

    placed: tuple[str, ...] = ()
    layer: str | None = None
    sample: int = 2000
    perplexity: float = 30.0


@dataclass(frozen=True)
class MappedSet:
    """A set on the map: ``coordinates`` ``(n, 2)``, and how it mixes with what it is set against.

    ``against`` is None for the mapped data, whose classes are measured; else the mapped data's
    name. ``in_layer`` is None where nothing could be measured, ``in_map`` is a 1-NN accuracy.
    """

    sampled: Sampled
    labels: np.ndarray | None
    prediction: np.ndarray | None
    coordinates: np.ndarray
    against: str | None
    in_layer: "Entanglement | None"
    in_map: float | None


@dataclass(frozen=True)
class MapFound:
    """The whole outcome of ``entangle map``; the first set is the mapped data."""

    layer: str
    dim: int
    sets: tuple[MappedSet, ...]
    model: Row
    provenance: Row
    notes: list[str]
