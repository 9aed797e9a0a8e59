"""Labels of any kind become int64 ``(n,)`` and, where they have names, class names."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from entangle_cli.errors import DataError
from entangle_cli.scratch import spilled_array

_NUMBER = re.compile(r"(\d+)")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """The sort key that orders numbers inside names as numbers.

    >>> sorted(["c10", "c9", "b"], key=natural_key)
    ['b', 'c9', 'c10']
    """
    pieces = _NUMBER.split(text)
    return tuple((0, int(p)) if p.isdecimal() else (1, p) for p in pieces if p)


def labels_from_names(names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """One class per distinct name, numbered in natural order: labels ``(n,)`` and class names."""
    # equal keys ("1" and "01") are told apart by the text itself
    classes = sorted(set(names), key=lambda name: (natural_key(name), name))
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[name] for name in names], dtype=np.int64), tuple(classes)


def renumbering_note(class_names: Sequence[str]) -> tuple[str, ...]:
    """A note where classes with numbers for names do not get those numbers as labels."""
    if not all(name.isdecimal() for name in class_names):
        return ()
    if all(int(name) == index for index, name in enumerate(class_names)):
        return ()
    return (
        f"class folders {_some(class_names)} are numbered 0 to {len(class_names) - 1} "
        "in this order",
    )


def read_labels(
    values: np.ndarray, n: int, where: object
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The labels of ``n`` samples and, for text labels, the class names.

    Accepted: integers, whole floats, booleans, text (whole numbers written as text stay numbers;
    other text is numbered in natural order), ``(n, 1)``, and one-hot ``(n, classes)``.

    Raises:
        DataError: another count than ``n``, or a row that is no class; the first one is named.
    """
    values = np.asarray(values)
    if values.ndim == 0 or len(values) != n:
        found = "a single value" if values.ndim == 0 else f"{len(values)} labels"
        raise DataError(f"{where}: {n} samples but {found}; give one label per sample")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        values = _one_hot(values, where)
    if values.ndim != 1:
        raise DataError(f"{where}: labels have shape {values.shape}; give one number per sample")
    if values.dtype.kind in "SUOT":
        return _text_labels([_as_text(v, row, where) for row, v in enumerate(values)], where)
    return _integers(values, where), None


def class_names_from(values: Iterable[object], labels: np.ndarray | None) -> tuple[str, ...] | None:
    """Class names as stored beside labels, or None if there are fewer names than classes."""
    names = tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values)
    if not names or (labels is not None and labels.max() >= len(names)):
        return None
    return names


def _integers(values: np.ndarray, where: object) -> np.ndarray:
    if values.dtype.kind not in "iubf":
        raise DataError(f"{where}: labels are {values.dtype}; give integers or text")
    if values.dtype.kind == "f":
        _first(~np.isfinite(values) | (values != np.floor(values)), values, where, "not an integer")
    if values.dtype.kind in "if":
        _first(values < 0, values, where, "negative")
    _first(values > np.iinfo(np.int64).max, values, where, "too large")
    labels = spilled_array(values.shape, np.int64)
    labels[...] = values
    return labels


def _first(bad: np.ndarray, values: np.ndarray, where: object, what: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{where}: label {values[row]} of row {row} is {what}; give class numbers from 0"
        )


def _one_hot(values: np.ndarray, where: object) -> np.ndarray:
    whole = values.dtype.kind in "iubf"
    good = whole and ((values == 0) | (values == 1)).all(axis=1) & (values.sum(axis=1) == 1)
    if not np.all(good):
        row = int(np.argmin(good)) if whole else 0
        raise DataError(
            f"{where}: labels have shape {values.shape} and row {row} is not one-hot; "
            "give one class number per sample"
        )
    return values.argmax(axis=1)


def _as_text(value: object, row: int, where: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise DataError(
            f"{where}: label of row {row} is a {type(value).__name__}; give integers or text"
        )
    return value


def _text_labels(names: list[str], where: object) -> tuple[np.ndarray, tuple[str, ...] | None]:
    if "" in names:
        raise DataError(f"{where}: label of row {names.index('')} is empty; give every row a label")
    if all(map(_WHOLE.fullmatch, names)):
        return _integers(np.array([int(name) for name in names], dtype=np.int64), where), None
    return labels_from_names(names)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown + (", ..." if len(names) > 5 else "")
