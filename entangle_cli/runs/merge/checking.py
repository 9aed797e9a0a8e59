"""Whether shards make up a run: each one once, and all of the same run."""

from collections.abc import Sequence
from pathlib import Path

from entangle_cli.activations.schema import differences
from entangle_cli.errors import UsageError
from entangle_cli.runs.merge.shard import MANIFEST, SHARDS, ShardRecord, read_record


def find_shards(places: Sequence[Path]) -> list[ShardRecord]:
    """The shards in these folders, or below their ``shards/``, in the order of their numbers.

    Raises:
        UsageError: a place holds none.
        StoreError: one is not finished, or damaged.
    """
    folders: dict[Path, None] = {}
    for place in places:
        inside = sorted(found for found in (place / SHARDS).glob("*-of-*") if found.is_dir())
        if (place / MANIFEST).exists() or (place.is_dir() and place.parent.name == SHARDS):
            inside = [place]
        if not inside:
            raise UsageError(f"{place}: no shard there; give folders that --shard has written")
        folders |= {found.resolve(): None for found in inside}
    return sorted(map(read_record, folders), key=lambda record: record.number)


def check_shards(records: Sequence[ShardRecord]) -> None:
    """Refuse shards that do not make up one run.

    Raises:
        UsageError: one is missing, there twice, or of another run; it is named.
    """
    first = _majority(records)
    for record in records:
        theirs = {"command": record.command, "shards": record.of, **record.run}
        ours = {"command": first.command, "shards": first.of, **first.run}
        changed = differences(ours, theirs)
        if changed:
            raise UsageError(f"{record.name}: of another run than {first.name}: {changed}")
    by_number: dict[int, ShardRecord] = {}
    for record in records:
        if record.number in by_number:
            raise UsageError(
                f"shard {record.number}/{record.of} is there twice: in "
                f"{by_number[record.number].folder} and {record.folder}; give one of them"
            )
        by_number[record.number] = record
    missing = [n for n in range(1, first.of + 1) if n not in by_number]
    if missing:
        names = ", ".join(f"{n}/{first.of}" for n in missing[:8])
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        raise UsageError(
            f"{len(missing)} of {first.of} shards missing: {names}{more}; run them, or give the "
            "folders that hold them"
        )


def _majority(records: Sequence[ShardRecord]) -> ShardRecord:
    """A shard of the run that most of them belong to, so that the odd one is named."""

    def alike(record: ShardRecord) -> int:
        return sum(
            (other.command, other.of, other.run) == (record.command, record.of, record.run)
            for other in records
        )

    return max(records, key=alike)
