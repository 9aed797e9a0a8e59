"""Which sets ``entangle between`` compares, and in which order."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.models.series import steps_in_names
from entangle_cli.project import Project
from entangle_cli.results import Row

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Other:
    """A data set to compare with, by the name and the step that tables show."""

    dataset: "Dataset"
    name: str
    step: int | None

    def cells(self, layer: str) -> Row:
        """What a row says of it."""
        return {"b": self.name, "step": self.step, "layer": layer}


def expanded(references: Sequence[str], project: Project) -> list[str]:
    """References with globs replaced by what they match."""
    found: list[str] = []
    for reference in references:
        known = reference in project.data or Path(reference).exists()
        matches = [] if known else sorted(glob.glob(os.path.expanduser(reference)))
        found += matches or [reference]
    return found


def ordered(references: Sequence[str]) -> list[tuple[str, int | None]]:
    """References with the steps in their names; sorted by step where every one tells one.

    Names that differ in more than numbers are no series. Where all end in the same name, as in
    ``step100/images``, the folder above tells the step.
    """
    from entangle_cli.datasets.reference import cut_rows

    paths = [Path(cut_rows(reference)[0]) for reference in references]
    while len({path.name for path in paths}) == 1 and all(len(path.parts) > 1 for path in paths):
        paths = [path.parent for path in paths]
    unknown = [(reference, None) for reference in references]
    if len(paths) < 2 or len({_DIGITS.sub("#", path.stem) for path in paths}) > 1:
        return unknown
    steps = steps_in_names(paths)
    if None in steps or len(set(steps)) < len(steps):
        return unknown
    return sorted(zip(references, steps, strict=True), key=lambda pair: pair[1])
