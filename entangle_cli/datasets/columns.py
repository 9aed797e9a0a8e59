"""Which arrays of a file are inputs, which are labels: by their names.

Known pairs are ``images``/``labels``, ``x``/``y``, ``data``/``targets`` and their mixtures; with a
split in the name (``x_train``, ``test_images``) the split is chosen by ``@split``. Beside
``images`` every other array is left out, with a note. Otherwise all numeric arrays are inputs of
their own name, for models with several inputs; 0-d arrays are constants. What describes samples
(``ids``, ``index``, ``file_names``) is never an input.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from entangle_cli.datasets.reference import Reference, choose_split, is_split_name
from entangle_cli.errors import DataError

LABELS = ("labels", "label", "targets", "target", "y")
CLASS_NAMES = ("class_names", "classes", "label_names")
_IMAGES = ("images", "image", "imgs")
_MAIN = ("x", "data", "features", "embeddings", "points", "arr_0", "inputs")
_DESCRIPTIONS = ("id", "ids", "index", "indices", "file_name", "file_names", "filenames", "split")


@dataclass(frozen=True)
class Roles:
    """The keys of a file by what they are: ``inputs`` maps an input's name to its key."""

    inputs: Mapping[str, str]
    labels: str | None
    class_names: str | None
    split: str | None
    notes: tuple[str, ...]


def choose_roles(keys: Iterable[str], reference: Reference) -> Roles:
    """What each key of a file is for.

    Raises:
        DataError: no key for inputs, no such split, or a split where the keys have none.
    """
    keys = list(keys)
    stems, split, notes = _of_split(keys, reference)
    labels = next((stems[s] for s in LABELS if s in stems), None)
    if labels is None and "arr_0" in stems and len(stems) == 2:
        labels = stems.get("arr_1")
    class_names = next((stems[s] for s in CLASS_NAMES if s in stems), None)
    aside = {labels, class_names, *(stems[s] for s in _DESCRIPTIONS if s in stems)}
    inputs = {stem: key for stem, key in stems.items() if key not in aside}
    if not inputs:
        raise DataError(
            f"{reference}: no array for the samples among {', '.join(keys[:8]) or 'no keys'}; "
            "name it images or x, and the labels labels or y"
        )
    images = next((s for s in _IMAGES if s in inputs), None)
    if images is not None:
        left_out = [key for stem, key in inputs.items() if stem != images]
        inputs = {"images": inputs[images]}
        notes += _left_out(left_out)
    elif len(inputs) == 1 and next(iter(inputs)) in _MAIN:
        inputs = {"x": next(iter(inputs.values()))}
    return Roles(inputs, labels, class_names, split, notes)


def _of_split(
    keys: list[str], reference: Reference
) -> tuple[dict[str, str], str | None, tuple[str, ...]]:
    """The keys of the chosen split by their names without it."""
    cut = {key: _cut(key) for key in keys}
    splits = dict.fromkeys(split for _, split in cut.values() if split)
    if not splits:
        if reference.split is not None:
            choose_split(reference.split, (), reference)
        return {stem: key for key, (stem, _) in cut.items()}, None, ()
    split, notes = choose_split(reference.split, splits, reference)
    return {stem: key for key, (stem, of) in cut.items() if of in (None, split)}, split, notes


def _cut(key: str) -> tuple[str, str | None]:
    """A key without its split, in lower case, and the split.

    >>> _cut("X_train"), _cut("test_images"), _cut("images")
    (('x', 'train'), ('images', 'test'), ('images', None))
    """
    low = key.lower()
    known = (*LABELS, *CLASS_NAMES, *_IMAGES, *_MAIN)
    match = re.fullmatch(r"([a-z]+)_([a-z]+)", low)
    if match and match[1] in known and is_split_name(match[2]):
        return match[1], match[2]
    if match and match[2] in known and is_split_name(match[1]):
        return match[2], match[1]
    return (low if low in (*known, *_DESCRIPTIONS) else key), None


def _left_out(keys: list[str]) -> tuple[str, ...]:
    return (f"arrays not used: {', '.join(keys)}",) if keys else ()
