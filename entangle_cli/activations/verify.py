"""Every byte of a store against its checksums."""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from entangle_cli.activations.durable import pread_chunks
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.schema import LOGITS
from entangle_cli.errors import StoreError
from entangle_cli.progress import Progress, silent
from entangle_cli.text import plain


def verify(path: str | os.PathLike[str], *, progress: Progress = silent) -> list[str]:
    """What is damaged in a store, one line each; empty when every byte is as it was written.

    Header, labels, ids, journal and manifest are checked whatever the store's state; of an
    unfinished store, the committed rows.
    """
    path = Path(path)
    try:
        store = ActivationFile.open(path)
    except StoreError as error:
        return [str(error)]
    damage = []
    unknown = store.journal.size - store.journal.good
    if unknown:
        damage.append(
            f"{path}: the last {unknown} bytes of its journal are cut or damaged; the rows from "
            f"{store.rows} on are computed again when the dump is resumed"
        )
    progress.start(f"verifying {path.name}", len(store.journal.entries))
    fd = os.open(path, os.O_RDONLY)
    try:
        for line in _damaged_rows(fd, store, progress):
            damage.append(f"{path}: {line}")  # noqa: PERF401 - the file must stay open
    finally:
        os.close(fd)
        progress.finish()
    return damage


def _damaged_rows(fd: int, store: ActivationFile, progress: Progress) -> Iterator[str]:
    names = [*(f"layer {plain(layer.name)}" for layer in store.layers), LOGITS]
    for entry in store.journal.entries:
        places = zip(names, store.journal.header.blocks, entry.crc, strict=False)
        for name, (offset, row_bytes), expected in places:
            found = 0
            start, stop = offset + entry.start * row_bytes, offset + entry.stop * row_bytes
            for piece in pread_chunks(fd, start, stop):
                found = zlib.crc32(piece, found)
            if found != expected:
                yield f"{name}: rows {entry.start} to {entry.stop - 1} are damaged"
        progress.advance()
