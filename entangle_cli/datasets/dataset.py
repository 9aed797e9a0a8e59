"""`Dataset`: samples that are read when asked for, their labels, names and identity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from entangle_cli.datasets.fingerprint import combined
from entangle_cli.errors import DataError

Kind = Literal["images", "arrays"]
Read = Callable[[np.ndarray], "list[np.ndarray] | dict[str, np.ndarray]"]


@dataclass(frozen=True)
class Origin:
    """How another process opens the same samples: a reference, then at most ``limit`` of them."""

    reference: str
    name: str | None = None
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with labels, read lazily by row number.

    ``labels`` is int64 ``(n,)`` or None; ``class_names[c]`` names class ``c`` where names are
    known. ``ids`` holds one stable id per sample: a relative path or ``<split>/<row>``.
    ``fingerprint`` is a sha256 over the bytes of the files read, the reader and the labels.
    ``notes`` says, with counts, what was converted, skipped or decided while reading. ``origin``
    is None where only this process knows how the samples were chosen.

    Raises:
        DataError: no samples at all, or not as many labels as samples.
    """

    name: str
    reference: str
    kind: Kind
    read: Read
    labels: np.ndarray | None
    class_names: tuple[str, ...] | None
    ids: Sequence[str]
    fingerprint: str
    notes: tuple[str, ...] = ()
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if len(self.ids) == 0:
            raise DataError(f"{self.reference}: no samples; give a data set with at least one")
        if self.labels is not None and len(self.labels) != len(self.ids):
            raise DataError(
                f"{self.reference}: {len(self.ids)} samples but {len(self.labels)} labels; "
                "give one label per sample"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def images(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The samples at ``indices`` as ``(h, w, c)`` arrays, uint8 0..255 or float32 0..1.

        Raises:
            DataError: the data set holds arrays, or a file cannot be decoded.
        """
        if self.kind != "images":
            raise DataError(f"{self.reference}: holds arrays, not images; read them as arrays")
        return list(self.read(self._rows(indices)))

    def arrays(self, indices: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """The samples at ``indices``, one ``(b, ...)`` array per named input.

        A 0-d array is a constant of the data set and comes back whatever ``indices`` is.

        Raises:
            DataError: the data set holds images.
        """
        if self.kind != "arrays":
            raise DataError(f"{self.reference}: holds images, not arrays; read them as images")
        return dict(self.read(self._rows(indices)))

    def take(self, indices: Sequence[int] | np.ndarray) -> "Dataset":
        """The data set of these samples alone, in this order."""
        rows = self._rows(indices)
        read = self.read
        return replace(
            self,
            read=lambda wanted: read(rows[wanted]),
            labels=None if self.labels is None else self.labels[rows],
            ids=TakenIds(self.ids, rows),
            fingerprint=combined("rows", self.fingerprint, rows.astype("<i8").tobytes()),
            origin=None,
        )

    def _rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of a data set of {len(self)}")
        return rows


class RowIds(Sequence[str]):
    """The ids ``<prefix>/0`` to ``<prefix>/<n-1>``, made when asked for."""

    def __init__(self, prefix: str, n: int) -> None:
        self.prefix = prefix
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int | slice) -> "str | list[str]":
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(self.n))]
        row = int(index) + (self.n if index < 0 else 0)
        if not 0 <= row < self.n:
            raise IndexError(index)
        return f"{self.prefix}/{row}"


class TakenIds(Sequence[str]):
    """The ids of some rows of a data set, looked up when asked for."""

    def __init__(self, ids: Sequence[str], rows: np.ndarray) -> None:
        self.ids = ids
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | slice) -> "str | list[str]":
        if isinstance(index, slice):
            return [self.ids[row] for row in self.rows[index]]
        return self.ids[self.rows[index]]
