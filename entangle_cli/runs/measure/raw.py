"""The raw data as points, and how many of them are copies."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.datasets.dataset import Dataset


def counted_points(dataset: "Dataset", *, scratch: Path, notes: list[str]) -> "np.ndarray":
    """`raw_points`, with a note if samples are exact duplicates of others."""
    from entangle_cli.activations.duplicates import duplicates_note
    from entangle_cli.datasets.points import raw_points
    from entangle_cli.neighbors.copies import copy_ranks

    points = raw_points(dataset, scratch=scratch)
    copies = int((copy_ranks(points) > 0).sum())
    note = duplicates_note(dataset.name, copies, len(points))
    if note and note not in notes:
        notes.append(note)
    return points
