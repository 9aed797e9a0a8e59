"""Labels of inputs, checked: whole numbers 0..C-1 of the training classes, -1 where unknown."""

from collections.abc import Iterable

import numpy as np

from entangle_cli.errors import MeasureError

NAMED = 10


def as_labels(labels: np.ndarray, count: int, *, what: str = "labels") -> np.ndarray:
    """Labels as int64 ``(count,)``; ``what`` names them in messages.

    Raises:
        MeasureError: another shape, or values that are not whole numbers.
    """
    labels = np.asarray(labels)
    if labels.shape != (count,):
        raise MeasureError(f"{what} of shape {labels.shape} for {count} points; give one per point")
    if labels.dtype.kind not in "iu" and count:
        raise MeasureError(f"{what} of type {labels.dtype}; give whole numbers, -1 where unknown")
    return labels.astype(np.int64)


def require_range(labels: np.ndarray, classes: int, *, role: str) -> None:
    """Refuse labels outside -1..classes-1, naming the first and how often it occurs.

    Raises:
        MeasureError: there is one; the message begins with ``role`` (training, calibration).
    """
    outside = labels[(labels < -1) | (labels >= classes)]
    if len(outside):
        raise MeasureError(
            f"{role} label {outside[0]} ({_times(outside)}) is not among the {classes} classes "
            "of the training data; use the same classes for both"
        )


def require_known(labels: np.ndarray, train_labels: np.ndarray, *, role: str) -> None:
    """Refuse labels that no training point has, naming the first and how often it occurs.

    No neighbor can ever have such a label: its nonconformity is the largest possible whatever the
    input looks like. Labels of -1 (unknown) pass.

    Raises:
        MeasureError: there is one; the message begins with ``role`` (calibration, test).
    """
    labels = np.asarray(labels)
    unknown = labels[(labels != -1) & ~np.isin(labels, train_labels)]
    if len(unknown):
        raise MeasureError(
            f"{role} label {unknown[0]} ({_times(unknown)}) is not the label of any "
            "training point; use data of the training classes"
        )


def require_choice(what: str, given: str, choices: Iterable[str]) -> None:
    """Refuse a word that is not one of ``choices``.

    Raises:
        MeasureError: it is not.
    """
    choices = tuple(choices)
    if given not in choices:
        raise MeasureError(f"{what} {given!r} is unknown; use {', '.join(choices)}")


def numbers(values: Iterable[int]) -> str:
    """Numbers for a message, at most ten: ``3, 7 and 12 more``."""
    words = [str(value) for value in values]
    rest = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + rest


def _times(labels: np.ndarray) -> str:
    times = int((labels == labels[0]).sum())
    return f"{times} point" if times == 1 else f"{times} points"
