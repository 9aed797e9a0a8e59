"""Whether two data sets share samples, found by content and not by name."""

import hashlib

import numpy as np

from entangle_cli.datasets.dataset import Dataset
from entangle_cli.scratch import spilled_array

_ROWS_AT_A_TIME = 1024
_COMPARED = 1 << 16
_DIGEST_BYTES = 16


def sample_digests(dataset: Dataset) -> np.ndarray:
    """One digest ``S16`` per sample, over its type, shape and values; sorted, ``(n,)``.

    Equal samples have equal ones.
    """
    digests = spilled_array((len(dataset),), f"S{_DIGEST_BYTES}")
    for start in range(0, len(dataset), _ROWS_AT_A_TIME):
        rows = np.arange(start, min(start + _ROWS_AT_A_TIME, len(dataset)))
        digests[rows] = _digests(dataset, rows)
    digests.sort()
    return digests


class Overlap:
    """Counts what data sets share; every set is read once, however often it is asked about."""

    def __init__(self) -> None:
        self._digests: dict[str, np.ndarray] = {}

    def shared(self, one: Dataset, other: Dataset) -> int:
        """How many samples of ``one`` are also in ``other``."""
        asked, known = self._of(one), self._of(other)
        count = 0
        for start in range(0, len(asked), _COMPARED):
            part = asked[start : start + _COMPARED]
            places = np.searchsorted(known, part).clip(max=len(known) - 1)
            count += int((known[places] == part).sum())
        return count

    def _of(self, dataset: Dataset) -> np.ndarray:
        if dataset.fingerprint not in self._digests:
            self._digests[dataset.fingerprint] = sample_digests(dataset)
        return self._digests[dataset.fingerprint]


def shared_samples(one: Dataset, other: Dataset) -> int:
    """How many samples of ``one`` are also in ``other``."""
    return Overlap().shared(one, other)


def _digests(dataset: Dataset, rows: np.ndarray) -> list[bytes]:
    if dataset.kind == "images":
        return [_digest([image]) for image in dataset.images(rows)]
    arrays = [array for array in dataset.arrays(rows).values() if array.shape[:1] == rows.shape]
    return [_digest([array[i] for array in arrays]) for i in range(len(rows))]


def _digest(parts: list[np.ndarray]) -> bytes:
    hashed = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        part = np.asarray(part)
        hashed.update(f"{part.dtype.str}{part.shape}".encode())
        hashed.update(np.ascontiguousarray(part).tobytes())
    return hashed.digest()
