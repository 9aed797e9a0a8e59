"""What ``entangle ood`` is asked and what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.library.evidence import Penultimate
from entangle_cli.measures.ood.evidence import Evidence
from entangle_cli.measures.ood.fitting import FittedDetector, Key, score_inputs
from entangle_cli.results import Row
from entangle_cli.runs.shared.preparing import Prepared
from entangle_cli.runs.shared.searching import SearchOptions
from entangle_cli.runs.shared.set_names import told_apart

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset

# names the row of means, so no set may have it
MEAN = "mean"


@dataclass(frozen=True)
class OODOptions:
    """The options that only ``entangle ood`` has."""

    detectors: tuple[str, ...] = ()
    search: SearchOptions = field(default_factory=SearchOptions)
    features: str | None = None
    keep: float = 0.95
    resamples: int = 1000
    force: bool = False


@dataclass(frozen=True)
class ScoredSet:
    """One set of inputs with its outlier scores by detector, and why some have none."""

    dataset: "Dataset"
    stored: ActivationFile
    scores: Mapping[Key, np.ndarray]
    reasons: Mapping[Key, str]


@dataclass(frozen=True)
class OODFound:
    """The whole outcome of ``entangle ood``."""

    prepared: Prepared
    layers: tuple[str, ...]
    penultimate: Penultimate
    train: ActivationFile | None
    fitted: tuple[FittedDetector, ...]
    inside: ScoredSet
    outside: tuple[ScoredSet, ...]
    model: Row
    provenance: Row
    notes: list[str]


def scored_sets(
    tests: Sequence["Dataset"],
    files: Sequence[ActivationFile],
    sets: Sequence[Evidence],
    fitted: Sequence[FittedDetector],
    *,
    scratch: Path,
) -> list[ScoredSet]:
    """Scores of every set by all detectors, under names that are told apart.

    ``scratch``: a folder for the file that they lie in; it has no name and is gone with them.
    """
    # only now: stored activations go by the name that a set has in any company
    names = told_apart(tests, taken=(MEAN,))
    return [
        ScoredSet(replace(dataset, name=name), file, *score_inputs(fitted, inputs, scratch=scratch))
        for dataset, name, file, inputs in zip(tests, names, files, sets, strict=True)
    ]
