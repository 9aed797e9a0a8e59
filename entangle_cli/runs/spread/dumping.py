"""Dumps by an engine: ranges of samples as units, put together in order while others are made.

What is whole on the disk counts, whoever made it: a dump that was begun here goes on on a cluster,
and the other way round. Parts wait in ``.NAME.parts`` beside the file until their turn comes.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.activations.dump import stored_at
from entangle_cli.activations.durable import make_folder, remove
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.identity import content_identity
from entangle_cli.activations.parts import (
    Blueprint,
    append_part,
    blueprint,
    keys_path,
    part_identity,
    read_keys,
    remove_part,
)
from entangle_cli.activations.schema import FileSpec, lock_path, manifest_path
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.engines.interface import Engine, Outcome, Unit
from entangle_cli.errors import EntangleError, StoreError, UsageError
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.copies import copies_note
from entangle_cli.runs.shared.preparing import Prepared
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.spread.tasks import ModelFile, PartTask, write_part_of

if TYPE_CHECKING:
    from entangle_cli.activations.feed import Feed

# a part is no larger, and a dump has about as many, whoever works on it
_PART_BYTES = 256_000_000
_PARTS = 32

Range = tuple[int, int]


@dataclass(frozen=True)
class DumpJob:
    """A dump that is planned: nothing in it depends on who does it."""

    name: str
    path: Path
    plan: Blueprint
    feed: "Feed"
    model: ModelFile
    first: int
    overwrite: bool

    @property
    def folder(self) -> Path:
        """Where parts wait."""
        return self.path.with_name(f".{self.path.stem}.parts")

    def ranges(self) -> list[Range]:
        """The parts, on a grid that depends on the dump alone."""
        step = self._lines_per_part() * self.plan.line_rows
        grid = range(0, self.plan.rows, step)
        cuts = ((max(start, self.first), min(start + step, self.plan.rows)) for start in grid)
        return [cut for cut in cuts if cut[0] < cut[1]]

    def unit(self, rows: Range) -> Unit:
        """The work on a part."""
        preprocessing = self.feed.preprocessing
        task = PartTask(
            model=self.model,
            data=self.feed.dataset.origin,
            preprocessing=None if preprocessing is None else json.dumps(preprocessing.to_json()),
            plan=self.plan,
            rows=rows,
            folder=str(self.folder),
        )
        return Unit(f"{self.name}, samples {rows[0]} to {rows[1]}", task, rows[1] - rows[0])

    def waiting(self, rows: Range) -> Path | None:
        """A part that an earlier run has finished, None where there is none."""
        for found in sorted(self.folder.glob(f"rows-{rows[0]}-{rows[1]}.*.h5")):
            try:
                part = ActivationFile.open(found) if manifest_path(found).exists() else None
            except StoreError:
                continue
            if part and part.complete and part.identity == part_identity(self.plan, rows):
                return found
        return None

    def cut_short(self) -> list[Path]:
        """Parts that an earlier run has begun only."""
        found = self.folder.glob("rows-*.h5")
        return [path for path in found if not manifest_path(path).exists()]

    def _lines_per_part(self) -> int:
        spec: FileSpec = self.plan.whole(self.feed)
        line_bytes = spec.line_rows * sum(block.row_bytes for block in spec.blocks)
        lines = -(-spec.rows // spec.line_rows)
        return max(1, min(_PART_BYTES // line_bytes, -(-lines // _PARTS)))


def plan_dump(prepared: Prepared, run: RunOptions, path: Path) -> DumpJob | None:
    """What remains of a dump, None where it is complete.

    Raises:
        EntangleError: as `entangle_cli.activations.dump.dump` does before its first row.
    """
    model, feed = prepared.model, prepared.feed
    identity = content_identity(model, feed, prepared.layers, reduce=run.reduce, dtype=run.dtype)
    store = None if run.overwrite else stored_at(path, identity, run.batch_size)
    if store is not None and store.complete:
        return None
    if feed.dataset.origin is None:
        raise UsageError(f"{feed.dataset.name}: cannot be opened by workers; leave out --engine")
    plan = blueprint(
        model,
        feed,
        layers=prepared.layers,
        reduce=run.reduce,
        dtype=run.dtype,
        batch_size=store.identity["batch_size"] if store else run.batch_size,
    )
    # the cluster chooses which GPU
    device = run.device.partition(":")[0]
    return DumpJob(
        name=f"{model.path.name} on {feed.dataset.name}",
        path=path,
        plan=plan,
        feed=feed,
        model=ModelFile(str(model.path), device, run.trust, run.sandbox),
        first=store.rows if store else 0,
        overwrite=run.overwrite,
    )


def spread_dump(prepared: Prepared, run: RunOptions, terminal: Terminal, path: Path) -> None:
    """Complete the dump at ``path`` by the workers of ``run.engine``.

    Raises:
        EntangleError: a part could not be made; the others are kept.
    """
    job = plan_dump(prepared, run, path)
    if job is None:
        return
    failed = fill([job], run.engine, terminal)
    for error in failed.values():
        raise error


def fill(jobs: Sequence[DumpJob], engine: Engine, terminal: Terminal) -> dict[Path, BaseException]:
    """Complete these dumps; returns the first error of each that could not be, by its path.

    Raises:
        StoppedEarly: the disk is full, or no worker is left.
    """
    parts: dict[tuple[Path, Range], Path | None] = {}
    left: dict[Path, list[Path]] = {}
    for job in jobs:
        if job.overwrite:
            shutil.rmtree(job.folder, ignore_errors=True)
        make_folder(job.folder)
        left[job.path] = job.cut_short()
        parts |= {(job.path, rows): job.waiting(rows) for rows in job.ranges()}
    todo = [(job, rows) for job in jobs for rows in job.ranges() if not parts[job.path, rows]]
    names = jobs[0].name if len(jobs) == 1 else f"{len(jobs)} dumps"
    terminal.start(names, sum(job.plan.rows for job in jobs))
    terminal.advance(sum(job.plan.rows for job in jobs) - sum(r[1] - r[0] for _, r in todo))
    failed: dict[Path, BaseException] = {}
    try:
        outcomes = engine.run(write_part_of, [job.unit(rows) for job, rows in todo], terminal)
        for job in jobs:
            error = _complete(job, parts, outcomes, left[job.path])
            if error is not None:
                failed[job.path] = error
    finally:
        terminal.finish()
    return failed


def _complete(
    job: DumpJob,
    parts: dict[tuple[Path, Range], Path | None],
    outcomes: Iterator[Outcome],
    left: Sequence[Path],
) -> BaseException | None:
    """Put a dump together from parts that are there and those that come."""
    failure = None
    with ActivationWriter.open(
        job.path, job.plan.whole(job.feed), overwrite=job.overwrite
    ) as writer:
        # nobody else works on this dump now
        for path in left:
            remove_part(path)
            remove(lock_path(path))
        for rows in job.ranges():
            found = parts[job.path, rows]
            if found is None:
                outcome = next(outcomes)
                failure = failure or outcome.error
                found = None if outcome.error else Path(outcome.value)
            if failure is None:
                _append(job, writer, found, rows)
        if failure is None:
            _count_copies(job)
            writer.finish()
    if failure is None:
        # whatever workers that died have left
        shutil.rmtree(job.folder, ignore_errors=True)
    elif not isinstance(failure, EntangleError):
        raise failure
    return failure


def _append(job: DumpJob, writer: ActivationWriter, path: Path, rows: Range) -> None:
    if not path.exists():
        raise StoreError(
            f"{path}: a worker wrote it and it is not here; workers need the folders of the "
            "command, on a shared file system"
        )
    if keys_path(path).exists():
        # before the rows: who goes on from them needs these, too
        os.replace(keys_path(path), job.folder / f"{rows[0]}-{rows[1]}.keys")
    append_part(writer, ActivationFile.open(path))
    remove_part(path)


def _count_copies(job: DumpJob) -> None:
    """Count the copies among all samples, from what every part has left."""
    for found in sorted(job.folder.glob("[0-9]*-*.keys")):
        start, stop = map(int, found.stem.split("-"))
        keys = read_keys(found, stop - start)
        if keys is not None:
            job.feed.duplicates.take(start, keys)
    copies_note(job.feed, job.path.parent)
