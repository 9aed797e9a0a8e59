"""Names that tell the data sets of one command apart in its tables and files."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.models.series import distinct_names
from entangle_cli.text import file_stem

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset


def told_apart(datasets: Sequence["Dataset"], *, taken: Collection[str] = ()) -> list[str]:
    """A name for each set: its own, with folders before it or a number after it where it must.

    Files are called after sets, so names differ in more than what `file_stem` makes alike.
    ``taken``: names that mean something else.
    """
    own = [dataset.name for dataset in datasets]
    longer = distinct_names([Path(dataset.reference) for dataset in datasets])
    names: list[str] = []
    stems = {_stem(name) for name in taken}
    for short, long in zip(own, longer, strict=True):
        base = name = long if own.count(short) > 1 == longer.count(long) else short
        number = 1
        while _stem(name) in stems:
            number += 1
            name = f"{base} ({number})"
        names.append(name)
        stems.add(_stem(name))
    return names


def _stem(name: str) -> str:
    # some file systems do not tell cases apart
    return file_stem(name).casefold()
