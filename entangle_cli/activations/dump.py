"""`dump`: model + data -> `ActivationFile`, batch by batch, resumable."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from entangle_cli.activations.feed import Feed
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.identity import content_identity, provenance
from entangle_cli.activations.logits import class_outputs
from entangle_cli.activations.reducing import REDUCTIONS, Reduce, reduce_map
from entangle_cli.activations.schema import DTYPES, FileSpec
from entangle_cli.activations.starting import refuse_other
from entangle_cli.activations.trial import check_rows, try_out
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import ModelError, StoppedEarly, UsageError
from entangle_cli.models import Model
from entangle_cli.progress import Progress, silent
from entangle_cli.scratch import give_back

# what one batch's inputs and tapped values may take together, as the network gives them
BATCH_BYTES = 64_000_000
LARGEST_BATCH = 512


# one argument per decision: this is the front door
def dump(  # noqa: PLR0913
    model: Model,
    feed: Feed,
    path: str | os.PathLike[str],
    *,
    layers: Sequence[str],
    reduce: Reduce = "flatten",
    dtype: Literal["float32", "float16", "float64"] = "float32",
    batch_size: int | Literal["auto"] | None = "auto",
    progress: Progress = silent,
    overwrite: bool = False,
    stop: Callable[[], bool] | None = None,
) -> ActivationFile:
    """Store what ``layers`` of a model answer to a data set.

    A store at ``path`` that is complete and has the same identity (`content_identity`) is
    returned as it is; one that was interrupted is continued, to the same bytes as without the
    interruption. Memory holds one batch and a few megabytes that wait for the disk, whatever the
    number of samples.

    Args:
        model: where the activations come from.
        feed: the inputs.
        path: the ``.h5`` file; its journal and manifest go beside it.
        layers: names of layers, as in ``Layer.name``.
        reduce: how a map becomes a point (`reduce_map`).
        dtype: what numbers are stored as.
        batch_size: samples per batch; ``auto`` or None takes the largest power of two, at most
            512, whose inputs and tapped values fit in 64 MB, and halves it where the network
            has not memory enough for the first ones.
        progress: told of the rows done.
        overwrite: discard what is at ``path``, if it is a store of activations.
        stop: asked before each batch; True commits what is done and raises.

    Raises:
        UsageError: an option has no such value.
        StoreError: ``path`` holds something else or is damaged, or numbers do not fit ``dtype``.
        StoppedEarly: ``stop`` said so, or the disk is full; the same call resumes.
        ModelError: the model fails, or gives rows of different shapes.
        DataError: a sample does not fit the model.
        MemoryError: the network has not memory enough for a batch of this size.
    """
    path = Path(path)
    layers = tuple(dict.fromkeys(layers))
    given = None if batch_size == "auto" else batch_size
    check_options(layers, reduce, dtype, given)
    identity = content_identity(model, feed, layers, reduce=reduce, dtype=dtype)
    store = None if overwrite else stored_at(path, identity, given)
    if store is not None and store.complete:
        return store
    trial = try_out(model, feed, layers, reduce, dtype)
    size = given or (store.identity["batch_size"] if store else auto_batch_size(trial.row_bytes))
    made = provenance(model, feed)
    while True:
        spec = trial.specification(feed, size, identity | {"batch_size": size}, made)
        writer = ActivationWriter.open(path, spec, overwrite=overwrite)
        try:
            return Filling(model, feed, spec, writer).whole(progress, stop or _never)
        except MemoryError:
            # rows that are kept fix the batch size: it can change their last digits
            if given or size == 1 or writer.committed:
                raise
        size, overwrite = size // 2, True


def auto_batch_size(bytes_per_row: int) -> int:
    """The largest power of two, from 1 to 512, of rows that fit in 64 MB together."""
    fitting = max(1, min(LARGEST_BATCH, BATCH_BYTES // max(1, bytes_per_row)))
    return 1 << (fitting.bit_length() - 1)


def _never() -> bool:
    return False


def check_options(layers: Sequence[str], reduce: str, dtype: str, batch_size: int | None) -> None:
    """Refuse what no dump can do.

    Raises:
        UsageError: an option has no such value.
    """
    if not layers:
        raise UsageError("no layer to dump; give --layers")
    if reduce not in REDUCTIONS:
        raise UsageError(f"--reduce {reduce}: unknown; give one of {', '.join(REDUCTIONS)}")
    if dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype}: unknown; give one of {', '.join(DTYPES)}")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: give 'auto' or a positive number")


def stored_at(path: Path, identity: dict[str, Any], size: int | None) -> ActivationFile | None:
    """What is at ``path`` already, None where nothing is; ``size``: the batch size, None = auto.

    Raises:
        StoreError: it is not what is asked for, or damaged.
    """
    if not path.exists():
        return None
    store = ActivationFile.open(path)
    # the automatic size follows from the rest, so a stored one is the one it would take
    wanted = store.identity.get("batch_size") if size is None else size
    refuse_other(store, identity | {"batch_size": wanted})
    return store


@dataclass(frozen=True)
class Filling:
    """Fills a store with a model's answers to a data set, from its sample ``first`` on."""

    model: Model
    feed: Feed
    spec: FileSpec
    writer: ActivationWriter
    first: int = 0

    def whole(self, progress: Progress, stop: Callable[[], bool]) -> ActivationFile:
        """Fill the store and close it."""
        with self.writer as writer:
            progress.start(f"{self.model.path.name} on {self.feed.dataset.name}", self.spec.rows)
            try:
                progress.advance(writer.rows)
                self.run(progress, stop)
            finally:
                progress.finish()
                give_back()
            return writer.finish()

    def run(self, progress: Progress, stop: Callable[[], bool]) -> None:
        """Batch by batch, from the first row that is not there."""
        rows, step = self.spec.rows, self.spec.batch_size
        for start in range(self.writer.rows, rows, step):
            if stop():
                self.writer.commit()
                raise StoppedEarly(
                    f"{self.writer.path}: stopped with {self.writer.committed} of {rows} samples "
                    "kept; run the same command again to resume"
                )
            count = min(step, rows - start)
            self._fill(start, count)
            progress.advance(count)

    def _fill(self, start: int, count: int) -> None:
        start += self.first
        names = [layer.name for layer in self.spec.layers]
        reduce = self.spec.layers[0].reduce

        def sink(name: str, values: np.ndarray) -> None:
            check_rows(name, values, count)
            self.writer.put(name, reduce_map(values, reduce))

        outputs = self.model.run(self.feed.batch(start, start + count), names, sink)
        if self.spec.classes is not None:
            scores = class_outputs(outputs)
            if scores is None or len(scores) != count:
                raise ModelError(
                    f"{self.model.path.name}: class scores came for the first samples, "
                    f"but not for samples {start} to {start + count - 1}"
                )
            self.writer.put_logits(scores)
        self.writer.end_batch()
