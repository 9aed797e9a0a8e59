"""Which data ``entangle map`` is given, and the part of each set that is mapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.datasets.sampling import stratified_rows
from entangle_cli.errors import UsageError
from entangle_cli.project import Project
from entangle_cli.runs.shared.set_names import told_apart
from entangle_cli.runs.shared.sources import names_model

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset


@dataclass(frozen=True)
class Sampled:
    """Part of a data set: ``rows`` of it, and what they are called in tables."""

    name: str
    whole: "Dataset"
    part: "Dataset"
    rows: np.ndarray


def model_and_data(sources: Sequence[str], project: Project) -> tuple[str | None, str]:
    """One word is the data, unless it names a model; what is missing comes from entangle.toml."""
    if len(sources) > 2:
        raise UsageError(
            f"{len(sources)} words, {', '.join(sources)}; give one model and one data set, others "
            "with --with DATA"
        )
    words = list(sources)
    model = words.pop(0) if len(words) == 2 or (words and names_model(words[0], project)) else None
    if not words and "test" not in project.data:
        raise UsageError("no data given: give DATA, or name a data set 'test' in entangle.toml")
    return model, words[0] if words else "test"


def samples(datasets: "Sequence[Dataset]", count: int, seed: int) -> list[Sampled]:
    """At most ``count`` samples of each set, each class with its share, in their own order."""
    found = []
    for name, whole in zip(told_apart(datasets), datasets, strict=True):
        if len(whole) <= count:
            found.append(Sampled(name, whole, whole, np.arange(len(whole))))
            continue
        rows = stratified_rows(whole.labels, len(whole), count, seed)
        found.append(Sampled(name, whole, whole.take(rows), rows))
    return found
