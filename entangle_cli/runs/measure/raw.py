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
    from entangle_cli.runs.shared.copies import remember

    points = raw_points(dataset, scratch=scratch)
    copies = int((copy_ranks(points) > 0).sum())
    remember(_place(dataset, scratch), copies)
    note = duplicates_note(dataset.name, copies, len(points))
    if note and note not in notes:
        notes.append(note)
    return points


def note_known_copies(dataset: "Dataset", *, scratch: Path, notes: list[str]) -> None:
    """Say what `counted_points` said when these points were measured before."""
    from entangle_cli.activations.duplicates import duplicates_note
    from entangle_cli.runs.shared.copies import remembered

    copies = remembered(_place(dataset, scratch), len(dataset))
    note = duplicates_note(dataset.name, copies, len(dataset)) if copies else None
    if note and note not in notes:
        notes.append(note)


def _place(dataset: "Dataset", scratch: Path) -> Path:
    from entangle_cli.activations.schema import digest
    from entangle_cli.runs.shared.copies import PREFIX

    # beside the layers that are kept for the next run
    return scratch / "measured" / f"{PREFIX}{digest(['raw', dataset.fingerprint])[:20]}.json"
