"""What shards keep for the run that they are part of: activations, measured layers, neighbors.

Names say what is in a file (they are digests of all that determines it), so files of one name have
the same content, and what is there already is as good.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from entangle_cli.activations.durable import make_folder, remove, temporary
from entangle_cli.activations.schema import journal_path, manifest_path
from entangle_cli.errors import StoreError
from entangle_cli.runs.merge.shard import ShardRecord
from entangle_cli.runs.shared.copies import PREFIX

STORES = "activations"
FOLDERS = (STORES, "measured", "neighbors")
_UNFINISHED = (".tmp", ".lock")


def kept_files(folder: Path) -> tuple[str, ...]:
    """The finished files below a shard's folder."""
    found = [
        path
        for name in FOLDERS
        for path in sorted((folder / name).glob("*"))
        if path.is_file() and path.suffix not in _UNFINISHED
    ]
    return tuple(str(path.relative_to(folder).as_posix()) for path in found)


def gather(records: Sequence[ShardRecord], output: Path) -> int:
    """Put the files of all shards into the folder of their run; returns how many.

    Raises:
        StoreError: a shard names a file that is not there, or lies elsewhere.
    """
    count = 0
    for record in records:
        for name in record.files:
            parts = PurePosixPath(name).parts
            if len(parts) != 2 or parts[0] not in FOLDERS or parts[1] in ("..", "."):
                raise StoreError(f"{record.name}: names {name}, which no shard makes")
            source = record.folder / parts[0] / parts[1]
            if not source.is_file():
                raise StoreError(f"{record.name}: {name} is not there; run its command again")
            if parts[0] == STORES and not parts[1].startswith(PREFIX):
                if source.suffix == ".h5":
                    count += adopt_store(source, output / parts[0] / parts[1])
            else:
                count += _take(source, output / parts[0] / parts[1])
    return count


def adopt_store(source: Path, path: Path) -> bool:
    """Have the finished store ``source`` at ``path`` as well; False where that has one.

    An unfinished one there, of the same name and so the same content, gives way.
    """
    if not manifest_path(source).exists() or manifest_path(path).exists():
        return False
    pairs = [
        (journal_path(source), journal_path(path)),
        (source, path),
        (manifest_path(source), manifest_path(path)),
    ]
    for _, to in pairs:
        remove(to)
    # the manifest last: it declares the others complete
    for here, to in pairs:
        _take(here, to)
    return True


def _take(source: Path, path: Path) -> bool:
    if path.exists():
        return False
    make_folder(path.parent)
    try:
        # files that are finished do not change, so one of them may have two names
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, temporary(path))
        os.replace(temporary(path), path)
    return True
