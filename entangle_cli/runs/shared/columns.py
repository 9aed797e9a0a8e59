"""Columns of tables with a row per input, made piece by piece while they are written."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class Joined(Sequence):
    """Sequences one after another; nothing of them is copied before it is asked for."""

    def __init__(self, parts: Sequence[Sequence[Any]]) -> None:
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self._parts]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return [self[i] for i in range(start, stop, step)]
            return [value for piece in self._pieces(start, stop) for value in piece]
        row = range(len(self))[index]
        return self[row : row + 1][0]

    def _pieces(self, start: int, stop: int) -> list[Sequence[Any]]:
        firsts = [0, *self._ends]
        return [
            _own(part[max(0, start - first) : max(0, stop - first)])
            for part, first in zip(self._parts, firsts, strict=False)
        ]


def _own(values: Any) -> Sequence[Any]:
    return values.tolist() if hasattr(values, "tolist") else values


def repeated(value: object, count: int) -> np.ndarray:
    """One value ``count`` times, ``(count,)``, without memory for them."""
    held = np.empty((), dtype=object)
    held[()] = value
    return np.broadcast_to(held, (count,))


def label_column(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Labels ``(count,)`` of which the negative ones, and all where there are none, are unknown."""
    if labels is None:
        return repeated(None, count)
    return np.ma.masked_less(labels, 0, copy=False)
