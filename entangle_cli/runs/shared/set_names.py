"""Names that tell the data sets of one command apart in its tables and files."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.models.series import distinct_names

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset


def told_apart(datasets: Sequence["Dataset"], *, taken: Collection[str] = ()) -> list[str]:
    """A name for each set: its own, with folders before it or a number after it where it must.

    ``taken``: names that mean something else.
    """
    own = [dataset.name for dataset in datasets]
    longer = distinct_names([Path(dataset.reference) for dataset in datasets])
    names: list[str] = []
    for short, long in zip(own, longer, strict=True):
        base = name = long if own.count(short) > 1 == longer.count(long) else short
        number = 1
        while name in taken or name in names:
            number += 1
            name = f"{base} ({number})"
        names.append(name)
    return names
