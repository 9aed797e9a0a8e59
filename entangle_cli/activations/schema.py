"""What a store of activations consists of, before any file format."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "entangle-activations"
FORMAT_VERSION = "1.0"
DTYPES = ("float32", "float16", "float64")
LOGITS = "/logits"

# a journal line covers this many rows, or one batch where batches are larger
_LINE_ROWS = 256


@dataclass(frozen=True)
class StoredLayer:
    """One layer in a store.

    ``shape`` is that of a stored row, ``raw_shape`` what the network gave for one sample before
    ``reduce`` (`reducing.reduce_map`); ``kind`` is the operation's, empty where unknown.
    """

    name: str
    shape: tuple[int, ...]
    raw_shape: tuple[int, ...]
    dtype: str
    reduce: str
    kind: str = ""

    @property
    def dim(self) -> int:
        """Numbers per row."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Block:
    """Rows of equal size that are filled while the network runs: a layer's, or the logits."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Bytes per row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class FileSpec:
    """Everything that is fixed before the first row is computed.

    ``identity`` holds what determines the content: two stores with equal identities are the
    same. ``provenance`` is for people. Both are JSON-able and free of times, so that the same
    inputs give the same bytes. ``classes`` is the number of logits, None where there are none.
    """

    rows: int
    batch_size: int
    layers: tuple[StoredLayer, ...]
    classes: int | None
    labels: np.ndarray | None
    class_names: Sequence[str] | None
    ids: Sequence[str]
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What the network fills, in the order of the file."""
        return blocks_of(self.layers, self.classes)

    @property
    def line_rows(self) -> int:
        """Rows per journal line."""
        return rows_per_line(self.batch_size)


def rows_per_line(batch_size: int) -> int:
    """Rows of a journal line: whole batches, so that a resume repeats the same batches."""
    return batch_size * max(1, _LINE_ROWS // batch_size)


def blocks_of(layers: Sequence[StoredLayer], classes: int | None) -> tuple[Block, ...]:
    """The blocks of these layers, then of the logits."""
    blocks = [Block(layer.name, layer.shape, layer.dtype) for layer in layers]
    if classes is not None:
        blocks.append(Block(LOGITS, (classes,), "float32"))
    return tuple(blocks)


def journal_path(path: Path) -> Path:
    """``NAME.journal`` beside ``NAME.h5``."""
    return path.with_name(_stem(path) + ".journal")


def manifest_path(path: Path) -> Path:
    """``NAME.manifest.json`` beside ``NAME.h5``."""
    return path.with_name(_stem(path) + ".manifest.json")


def lock_path(path: Path) -> Path:
    """``NAME.lock`` beside ``NAME.h5``, there while it is written."""
    return path.with_name(_stem(path) + ".lock")


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in (".h5", ".hdf5") else path.name


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, ASCII.

    Raises:
        ValueError: NaN or infinity, which JSON does not know.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON text of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Which entries of two identities differ, ``key old -> new``; empty when none does."""
    changed = []
    for key in dict.fromkeys([*stored, *wanted]):
        old, new = stored.get(key), wanted.get(key)
        if canonical(old) != canonical(new):
            changed.append(f"{key} {_short(old, new)} -> {_short(new, old)}")
    return ", ".join(changed)


def _short(value: Any, other: Any) -> str:
    """At most 40 characters of ``value``, beginning shortly before it differs from ``other``."""
    text, against = canonical(value), canonical(other)
    if isinstance(value, list) and isinstance(other, list) and len(value) != len(other):
        return f"{len(value)} {'entry' if len(value) == 1 else 'entries'}"
    first = next((i for i, (a, b) in enumerate(zip(text, against, strict=False)) if a != b), 0)
    start = max(0, first - 12) if len(text) > 40 else 0
    end = start + 40
    return "…" * (start > 0) + text[start:end] + "…" * (end < len(text))
