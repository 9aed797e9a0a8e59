"""Counts the samples of a data set that are exact copies of others, while they are read."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from entangle_cli.scratch import spilled_array

_BLOCK = 1 << 16


class Duplicates:
    """A 64-bit key per sample; samples of equal bytes have equal ones.

    Two different samples share a key by chance once in 2^64 pairs: of a million samples, once in
    40 million data sets.
    """

    def __init__(self, rows: int) -> None:
        self._keys = spilled_array((rows,), np.int64)
        self._seen = np.zeros(rows, bool)
        # SipHash, the fastest one here that sees every bit; its key is this process's own
        self._key: Callable[[bytes], int] = hash

    def portable(self) -> None:
        """Use keys that another process understands, before any sample is seen."""
        self._key = _portable_key
        self._seen[:] = False

    def keys(self, start: int, stop: int) -> np.ndarray | None:
        """The keys of these samples ``(stop - start,)`` int64, None unless all were seen."""
        return self._keys[start:stop].astype("<i8") if self._seen[start:stop].all() else None

    def take(self, start: int, keys: np.ndarray) -> None:
        """Count the samples from ``start`` on as seen, with portable keys of another process."""
        if self._key is hash:
            self.portable()
        self._keys[start : start + len(keys)] = keys
        self._seen[start : start + len(keys)] = True

    def see(self, rows: np.ndarray, arrays: Sequence[np.ndarray]) -> None:
        """Take in the samples ``rows``: arrays with one entry per sample; others are ignored."""
        flat = [_bytes(array) for array in arrays if _counts(array, rows)]
        for i, row in enumerate(rows):
            keys = [self._key(data[i * size : (i + 1) * size]) for data, size in flat]
            self._keys[row] = keys[0] if len(keys) == 1 else self._joined(keys)
        self._seen[rows] = bool(flat)

    def _joined(self, keys: Sequence[int]) -> int:
        return self._key(np.array(keys, "<i8").tobytes())

    @property
    def read(self) -> int:
        """How many samples were seen."""
        return int(self._seen.sum())

    @property
    def count(self) -> int:
        """How many of them are exact copies of another one, beyond the first of each kind."""
        if self.read == 0:
            return 0
        ordered = spilled_array((self.read,), np.int64)
        np.compress(self._seen, self._keys, out=ordered)
        ordered.sort()
        blocks = range(0, len(ordered) - 1, _BLOCK)
        return sum(_repeats(ordered[start : start + _BLOCK + 1]) for start in blocks)

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


def _repeats(ordered: np.ndarray) -> int:
    return int((ordered[1:] == ordered[:-1]).sum())


def _portable_key(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)


def _counts(array: np.ndarray, rows: np.ndarray) -> bool:
    # the bytes of an array of objects are their addresses
    return array.shape[:1] == rows.shape and array.size > 0 and not array.dtype.hasobject


def _bytes(array: np.ndarray) -> tuple[bytes, int]:
    data = np.ascontiguousarray(array).tobytes()
    return data, len(data) // len(array)
