"""Shards of ``entangle dump``: a range of samples each, and the file that they make up."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.activations.dump import stored_at
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.parts import (
    PART,
    append_part,
    blueprint,
    ranges,
    remove_part,
    whole_of,
    write_part,
)
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoreError
from entangle_cli.runs.merge.shard import Shard, ShardRecord
from entangle_cli.runs.shared.preparing import Prepared, default_path
from entangle_cli.runs.shared.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entangle_cli.runs.shared.console import Terminal


@dataclass(frozen=True)
class DumpedShard:
    """A shard that is done; ``stored`` is None where there were not samples enough for it."""

    folder: Path
    rows: tuple[int, int]
    total: int
    stored: ActivationFile | None


def dump_shard(
    prepared: Prepared, run: RunOptions, shard: Shard, terminal: "Terminal", file: Path | None
) -> DumpedShard:
    """Store this shard's range of samples, or find it stored.

    Raises:
        EntangleError: as `entangle_cli.activations.dump.dump` does.
    """
    plan = blueprint(
        prepared.model,
        prepared.feed,
        layers=prepared.layers,
        reduce=run.reduce,
        dtype=run.dtype,
        batch_size=run.batch_size,
    )
    final = file or default_path(prepared, run)
    folder = shard.folder(final.parent if file else run.output)
    rows = list(ranges(plan.rows, plan.line_rows, shard.of))[shard.number - 1]
    stored = None
    if rows[0] < rows[1]:
        path = folder / final.name
        if run.overwrite and path.exists():
            # an old part is refused or resumed otherwise; this one is replaced as a whole
            _discard(path)
        stored = write_part(prepared.model, prepared.feed, path, plan, rows, progress=terminal)
    ShardRecord(
        command="dump",
        number=shard.number,
        of=shard.of,
        run={"file": final.name, **plan.identity},
        files=() if stored is None else (final.name,),
    ).write(folder)
    return DumpedShard(folder, rows, plan.rows, stored)


def _discard(path: Path) -> None:
    # only what is ours: anything else is refused here
    ActivationFile.open(path)
    remove_part(path)


def merge_dump(
    records: "Sequence[ShardRecord]", output: Path, terminal: "Terminal", *, overwrite: bool
) -> ActivationFile:
    """The activation file that the shards make up; the bytes of a dump without shards.

    Raises:
        StoreError: a part is damaged, or the place is taken by something else.
        StoppedEarly: the disk is full; the same call resumes.
    """
    parts = []
    for record in records:
        for name in record.files:
            part = ActivationFile.open(record.folder / Path(name).name)
            if not part.complete:
                raise StoreError(f"{record.name}: not finished; run its command again")
            parts.append(part)
    spec = whole_of(parts)
    _check_order(parts)
    if spec.rows != spec.identity["rows"]:
        raise StoreError(
            f"{records[0].folder}: the shards hold {spec.rows} of {spec.identity['rows']} samples"
        )
    named = output.suffix.lower() in (".h5", ".hdf5")
    path = output if named else output / "activations" / str(records[0].run["file"])
    if not overwrite:
        found = stored_at(path, _content(spec.identity), spec.batch_size)
        if found is not None and found.complete:
            return found
    with ActivationWriter.open(path, spec, overwrite=overwrite) as writer:
        _fill(writer, parts, spec.rows, terminal)
        return writer.finish()


def _check_order(parts: "Sequence[ActivationFile]") -> None:
    start = 0
    for part in parts:
        if part.identity[PART] != [start, start + part.rows]:
            raise StoreError(f"{part.path}: holds other samples than its shard; run that again")
        start += part.rows


def _fill(
    writer: ActivationWriter, parts: "Sequence[ActivationFile]", rows: int, terminal: "Terminal"
) -> None:
    terminal.start(f"merging {writer.path.name}", rows)
    try:
        terminal.advance(writer.rows)
        stop = 0
        for part in parts:
            stop += part.rows
            if writer.rows < stop:
                append_part(writer, part, skip=writer.rows - (stop - part.rows))
                terminal.advance(part.rows)
    finally:
        terminal.finish()


def _content(identity: dict) -> dict:
    return {key: value for key, value in identity.items() if key != "batch_size"}
