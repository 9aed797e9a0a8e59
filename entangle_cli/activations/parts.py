"""A dump in parts: ranges of samples in stores of their own, put together to the whole store.

A part is an ordinary activation file of the samples ``start`` to ``stop``, whose identity is the
whole's with the range added. Ranges begin and end on the journal's grid, so that every batch of a
part is a batch of the whole, and what is put together has the bytes of a dump in one piece.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from entangle_cli.activations.dump import Filling, auto_batch_size, check_options
from entangle_cli.activations.durable import remove, write_atomic
from entangle_cli.activations.feed import Feed
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.identity import content_identity, provenance
from entangle_cli.activations.journal import read_journal
from entangle_cli.activations.reducing import Reduce
from entangle_cli.activations.schema import (
    FileSpec,
    differences,
    journal_path,
    manifest_path,
    rows_per_line,
)
from entangle_cli.activations.trial import Trial, try_out
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoppedEarly, StoreError
from entangle_cli.models import Model
from entangle_cli.progress import Progress, silent

PART = "part"


@dataclass(frozen=True)
class Blueprint:
    """What all parts of a dump have in common; no arrays, so that it can travel.

    Attributes:
        rows: samples of the whole.
        batch_size: samples per call of the model.
        trial: what the first samples showed.
        identity: the whole store's.
        provenance: the whole store's, for people.
    """

    rows: int
    batch_size: int
    trial: Trial
    identity: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def line_rows(self) -> int:
        """Ranges begin and end at multiples of this, or at the end."""
        return rows_per_line(self.batch_size)

    def whole(self, feed: Feed) -> FileSpec:
        """The whole store."""
        size = self.batch_size
        return self.trial.specification(feed, size, dict(self.identity), dict(self.provenance))

    def part(self, feed: Feed, rows: tuple[int, int]) -> FileSpec:
        """The store of the samples ``rows``."""
        whole, (start, stop) = self.whole(feed), rows
        return replace(
            whole,
            rows=stop - start,
            labels=None if whole.labels is None else whole.labels[start:stop],
            ids=whole.ids[start:stop],
            identity=part_identity(self, rows),
        )


def part_identity(plan: Blueprint, rows: tuple[int, int]) -> dict[str, Any]:
    """What determines the samples ``rows`` of a dump."""
    return {**plan.identity, PART: list(rows)}


def blueprint(
    model: Model,
    feed: Feed,
    *,
    layers: Sequence[str],
    reduce: Reduce = "flatten",
    dtype: Literal["float32", "float16", "float64"] = "float32",
    batch_size: int | None = None,
) -> Blueprint:
    """What a dump of these layers will be; ``batch_size`` None is the automatic one.

    Raises:
        UsageError: an option has no such value.
        ModelError: the model fails on the first samples.
        DataError: a sample does not fit the model.
    """
    layers = tuple(dict.fromkeys(layers))
    check_options(layers, reduce, dtype, batch_size)
    identity = content_identity(model, feed, layers, reduce=reduce, dtype=dtype)
    trial = try_out(model, feed, layers, reduce, dtype)
    size = batch_size or auto_batch_size(trial.row_bytes)
    made = provenance(model, feed)
    return Blueprint(feed.rows, size, trial, identity | {"batch_size": size}, made)


def write_part(
    model: Model,
    feed: Feed,
    path: Path,
    plan: Blueprint,
    rows: tuple[int, int],
    *,
    progress: Progress = silent,
) -> ActivationFile:
    """Store the samples ``rows`` of a dump; one that is there is returned, or resumed.

    Raises:
        StoreError: model or data are not those of the plan, or ``path`` holds something else.
        StoppedEarly: the disk is full, or memory is too small for a batch.
    """
    layers = plan.identity["layers"]
    here = content_identity(
        model, feed, layers, reduce=plan.identity["reduce"], dtype=plan.identity["dtype"]
    )
    changed = differences(plan.identity, here | {"batch_size": plan.batch_size})
    if changed:
        raise StoreError(
            f"{model.path.name} on {feed.dataset.name}: not as where the dump was begun: "
            f"{changed}; every worker needs the same files and releases"
        )
    feed.duplicates.portable()
    spec = plan.part(feed, rows)
    writer = ActivationWriter.open(path, spec)
    try:
        stored = Filling(model, feed, spec, writer, rows[0]).whole(progress, lambda: False)
    except MemoryError:
        raise StoppedEarly(
            f"{model.path.name}: not enough memory for a batch of {plan.batch_size}; give a "
            "smaller --batch-size, the same one everywhere"
        ) from None
    keys = feed.duplicates.keys(*rows)
    if keys is not None:
        write_atomic(keys_path(path), keys.tobytes())
    return stored


def keys_path(path: Path) -> Path:
    """``NAME.keys`` beside a part: what tells the copies among its samples (`Duplicates`)."""
    return path.with_suffix(".keys")


def read_keys(path: Path, rows: int) -> np.ndarray | None:
    """The keys beside the part at ``path``; None where there are none."""
    try:
        keys = np.frombuffer(keys_path(path).read_bytes(), "<i8")
    except (FileNotFoundError, ValueError):
        return None
    return keys if len(keys) == rows else None


def append_part(writer: ActivationWriter, part: ActivationFile, *, skip: int = 0) -> None:
    """Copy a complete part behind the rows of the whole store, and make them durable.

    ``skip``: how many of its first rows are there already, whole lines of them.

    Raises:
        StoreError: the part's rows are not those that its journal tells of.
        StoppedEarly: the disk is full or failing.
    """
    first, step = writer.rows, part.journal.header.line_rows
    points = {layer.name: part.points(layer.name) for layer in part.layers}
    logits = part.logits
    for start in range(skip, part.rows, step):
        rows = slice(start, min(start + step, part.rows))
        for layer in part.layers:
            writer.put(layer.name, points[layer.name][rows].reshape(-1, *layer.shape))
        if logits is not None:
            writer.put_logits(logits[rows])
        writer.end_batch()
    writer.commit()
    copied = read_journal(journal_path(writer.path)).entries
    behind = [entry for entry in copied if entry.start >= first]
    told = [(e.crc, e.nonfinite) for e in part.journal.entries if e.start >= skip]
    if told != [(e.crc, e.nonfinite) for e in behind]:
        raise StoreError(f"{part.path}: damaged, its numbers are not those that were written")


def remove_part(path: Path) -> None:
    """Delete a part and what lies beside it."""
    for place in (manifest_path(path), path, journal_path(path), keys_path(path)):
        remove(place)


def whole_of(parts: Sequence[ActivationFile]) -> FileSpec:
    """The store that consecutive parts make up, from what they hold themselves.

    Raises:
        StoreError: a part belongs to another dump.
    """
    first = parts[0]
    identity = _common(first)
    for part in parts[1:]:
        changed = differences(identity, _common(part))
        if changed:
            raise StoreError(
                f"{part.path}: belongs to another dump than {first.path.name}: {changed}"
            )
    labels = [np.full(p.rows, -1) if p.labels is None else p.labels for p in parts]
    return FileSpec(
        rows=sum(part.rows for part in parts),
        batch_size=identity["batch_size"],
        layers=first.layers,
        classes=None if first.logits is None else first.logits.shape[1],
        labels=np.concatenate(labels),
        class_names=first.class_names,
        ids=[text for part in parts for text in part.ids],
        identity=identity,
        provenance=first.provenance,
    )


def ranges(rows: int, line_rows: int, count: int) -> Iterator[tuple[int, int]]:
    """``count`` ranges that cover ``rows`` samples, as equal as whole lines allow; some empty."""
    lines = -(-rows // line_rows)
    for number in range(count):
        start, stop = (lines * place // count * line_rows for place in (number, number + 1))
        yield min(start, rows), min(stop, rows)


def _common(part: ActivationFile) -> dict[str, Any]:
    return {key: value for key, value in part.identity.items() if key != PART}
