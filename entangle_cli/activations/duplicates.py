"""Counts the samples of a data set that are exact copies of others, while they are read."""

from collections.abc import Sequence

import numpy as np


class Duplicates:
    """A 64-bit key per sample; samples of equal bytes have equal ones.

    Two different samples share a key by chance once in 2^64 pairs: of a million samples, once in
    40 million data sets.
    """

    def __init__(self, rows: int) -> None:
        self._keys = np.zeros(rows, np.int64)
        self._seen = np.zeros(rows, bool)

    def see(self, rows: np.ndarray, arrays: Sequence[np.ndarray]) -> None:
        """Take in the samples ``rows``: arrays with one entry per sample; others are ignored."""
        flat = [_bytes(array) for array in arrays if _counts(array, rows)]
        for i, row in enumerate(rows):
            # Python's own hash: SipHash, the fastest one here that sees every bit
            keys = [hash(data[i * size : (i + 1) * size]) for data, size in flat]
            self._keys[row] = keys[0] if len(keys) == 1 else hash(tuple(keys))
        self._seen[rows] = bool(flat)

    @property
    def read(self) -> int:
        """How many samples were seen."""
        return int(self._seen.sum())

    @property
    def count(self) -> int:
        """How many of them are exact copies of another one, beyond the first of each kind."""
        return self.read - len(np.unique(self._keys[self._seen]))

    def note(self, name: str) -> str | None:
        """What to say of the data set ``name``; None where no sample comes twice."""
        return duplicates_note(name, self.count, self.read, part=self.read < len(self._seen))


def duplicates_note(name: str, count: int, read: int, *, part: bool = False) -> str | None:
    """What to say of ``count`` copies among the ``read`` samples of a data set, None of none.

    ``part``: not all of its samples were read.
    """
    if not count:
        return None
    return (
        f"{name}: {count} of {read} samples{' read now' if part else ''} are exact duplicates of "
        "another one; they are kept, and are each other's nearest neighbors"
    )


def _counts(array: np.ndarray, rows: np.ndarray) -> bool:
    # the bytes of an array of objects are their addresses
    return array.shape[:1] == rows.shape and array.size > 0 and not array.dtype.hasobject


def _bytes(array: np.ndarray) -> tuple[bytes, int]:
    data = np.ascontiguousarray(array).tobytes()
    return data, len(data) // len(array)
