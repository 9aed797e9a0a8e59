"""What a person types to name a data set: ``PATH[::inside][@split][[a:b:step]]``, or ``digits``.

``inside`` is a folder of a .zip, or a group or data set of an .h5; ``split`` is ``train``, ``test``
or whatever the data has. A path that exists as typed is taken whole, so that ``me@home/x.npz``
needs no quoting. `choose_split` is the one place where splits are matched.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from entangle_cli.errors import DataError
from entangle_cli.text import suggestion

DIGITS = "digits"
_ROWS = re.compile(r"(.+)\[(\d*):(\d*)(?::([1-9]\d*))?\]")

_SYNONYMS = (
    ("train", "training"),
    ("test", "testing", "t10k"),
    ("val", "valid", "validation", "eval", "dev"),
    ("holdout", "calib", "calibration"),
)


@dataclass(frozen=True)
class Reference:
    """A parsed reference; ``path`` is absolute, and None for the bundled ``digits``."""

    path: Path | None
    inside: str | None = None
    split: str | None = None

    def __str__(self) -> str:
        text = DIGITS if self.path is None else str(self.path)
        text += f"::{self.inside}" if self.inside else ""
        return text + (f"@{self.split}" if self.split else "")

    @property
    def name(self) -> str:
        """A short name for tables: the file's stem, and the split."""
        if self.path is None:
            stem = DIGITS
        else:
            stem = self.path.name if self.path.is_dir() else _stem(self.path.name)
        inside = self.inside.strip("/").rpartition("/")[2] if self.inside else ""
        return (f"{stem}::{inside}" if inside else stem) + (f"@{self.split}" if self.split else "")


def parse_reference(text: str) -> Reference:
    """The path, inner path and split of a reference.

    Raises:
        DataError: nothing is at the path; close names beside it are suggested.
    """
    if not text or "\0" in text:
        raise DataError(f"data reference {text!r} names nothing; give PATH[::inside][@split]")
    for path, inside, split in _readings(text):
        if os.path.lexists(path):
            return Reference(Path(os.path.abspath(path)), inside or None, split or None)
    word, _, split = text.partition("@")
    if word == DIGITS:
        return Reference(None, None, split or None)
    path = Path(os.path.abspath(os.path.expanduser(_readings(text)[-1][0])))
    raise DataError(_nothing_at(path))


def cut_rows(text: str) -> tuple[str, slice | None]:
    """A reference without its ``[a:b:step]``, and those rows; None where it has none.

    >>> cut_rows("mnist@test[:750]"), cut_rows("mnist@test[::4]")
    (('mnist@test', slice(None, 750, None)), ('mnist@test', slice(None, None, 4)))
    """
    match = _ROWS.fullmatch(text)
    if match is None or os.path.lexists(os.path.expanduser(text)):
        return text, None
    return match[1], slice(*(int(number) if number else None for number in match.groups()[1:]))


def choose_split(
    wanted: str | None, available: Iterable[str], where: object
) -> tuple[str, tuple[str, ...]]:
    """The split of ``available`` that is meant by ``wanted``, and notes on a choice made.

    ``training`` means ``train``, ``validation`` means ``val``, and so on. Nothing wanted: the only
    split, else ``test``, with a note.

    Raises:
        DataError: no such split, or no split given and none of them is a test split.
    """
    splits = list(available)
    if wanted is None:
        if len(splits) == 1:
            return splits[0], ()
        found = [s for s in splits if _same_split(s, "test")]
        if not found:
            raise DataError(f"{where}: has the splits {_listed(splits)}; add @split to choose one")
        return found[0], (f"has the splits {_listed(splits)}; took @{found[0]} as none was given",)
    exact = [s for s in splits if s == wanted] or [s for s in splits if _same_split(s, wanted)]
    if not exact:
        raise DataError(
            f"{where}: no split {wanted!r}{suggestion(wanted, splits)}; "
            + (f"it has {_listed(splits)}" if splits else "it has no splits, leave out the @")
        )
    return exact[0], ()


def is_split_name(name: str) -> bool:
    """Whether a folder or key of this name holds a split rather than a class.

    >>> is_split_name("Validation"), is_split_name("cats")
    (True, False)
    """
    return any(name.lower() in group for group in _SYNONYMS)


def no_split(reference: Reference, what: str) -> None:
    """Refuse a ``@split`` where the data has none.

    Raises:
        DataError: the reference asks for a split.
    """
    if reference.split is not None:
        raise DataError(f"{reference}: {what} has no splits; leave out @{reference.split}")


def no_inside(reference: Reference, what: str) -> None:
    """Refuse a ``::inside`` where there is nothing to go into.

    Raises:
        DataError: the reference goes into the data.
    """
    if reference.inside is not None:
        raise DataError(f"{reference}: {what} has no inside; leave out ::{reference.inside}")


def _same_split(a: str, b: str) -> bool:
    a, b = a.lower(), b.lower()
    return a == b or any(a in group and b in group for group in _SYNONYMS)


def _readings(text: str) -> list[tuple[str, str, str]]:
    """The ways to cut a reference, longest path first: (path, inside, split)."""
    text = os.path.expanduser(text)
    readings = [(text, "", "")]
    head, at, split = text.rpartition("@")
    cut = at and head and "/" not in split
    if cut:
        readings.append((head, "", split))
    if "::" in text:
        path, _, rest = text.partition("::")
        readings.append((path, rest, ""))
        if cut and "::" in head:
            path, _, inside = head.partition("::")
            readings[-1] = (path, inside, split)
    return readings


def _nothing_at(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir():
        path, parent = parent, parent.parent
    try:
        beside = sorted(os.listdir(parent))
    except OSError:
        beside = []
    hint = suggestion(path.name, beside)
    return f"{path}: no such file or folder{hint}; give the path of a data set, or 'digits'"


def _stem(name: str) -> str:
    for suffix in (".gz", ".npz", ".npy", ".h5", ".hdf5", ".zip", ".mat", ".bin"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return name


def _listed(names: list[str]) -> str:
    return ", ".join(f"@{name}" for name in names)
