"""Where a dump begins: a new store, one to go on with, or a refusal."""

import os
from pathlib import Path

from entangle_cli.activations import skeleton
from entangle_cli.activations.durable import (
    make_folder,
    remove,
    sync_folder,
    temporary,
    write_atomic,
    writing,
)
from entangle_cli.activations.file import ActivationFile, is_activation_file
from entangle_cli.activations.journal import first_line, read_journal
from entangle_cli.activations.schema import (
    FileSpec,
    differences,
    journal_path,
    manifest_path,
)
from entangle_cli.activations.structure import vouch
from entangle_cli.errors import StoreError
from entangle_cli.text import plain


def prepare_output(path: Path) -> None:
    """Make the folder that the store goes into.

    Raises:
        StoreError: the place is a folder.
        OSError: the folder cannot be made.
    """
    if path.is_dir():
        raise StoreError(f"{path}: is a folder; give the name of a file")
    make_folder(path.parent)


def started_store(path: Path, spec: FileSpec, *, overwrite: bool) -> ActivationFile:
    """The store at ``path``, created if there is none; the caller holds its lock.

    Raises:
        StoreError: what is there is damaged, not ours, or other activations.
        StoppedEarly: the disk is full.
    """
    _check_spec(path, spec)
    with writing(path, skeleton.needed_bytes(spec)):
        for place in (path, journal_path(path), manifest_path(path)):
            remove(temporary(place))
        if overwrite:
            _discard(path)
        if not path.exists():
            _create(path, spec)
    store = ActivationFile.open(path)
    refuse_other(store, spec.identity)
    stored = [(layer.name, layer.shape, layer.dtype) for layer in store.layers]
    if stored != [(layer.name, layer.shape, layer.dtype) for layer in spec.layers]:
        raise StoreError(
            f"{path}: its layers have other shapes than the model gives now; "
            "dump again with --overwrite"
        )
    return store


def refuse_other(store: ActivationFile, identity: dict) -> None:
    """Refuse to touch a store of something else.

    Raises:
        StoreError: an entry of the identity differs.
    """
    changed = differences(store.identity, identity)
    if changed:
        raise StoreError(
            f"{store.path}: holds other activations: {changed}; give --overwrite or another output"
        )


def _check_spec(path: Path, spec: FileSpec) -> None:
    names = [layer.name for layer in spec.layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    empty = [block.name for block in spec.blocks if block.row_bytes == 0]
    if twice:
        raise StoreError(f"{path}: layer {plain(twice[0])} is asked for twice; give it once")
    if empty:
        raise StoreError(f"layer {plain(empty[0])}: gives no numbers; leave it out")
    if not spec.blocks:
        raise StoreError(f"{path}: there is nothing to store; choose at least one layer")
    counts = {len(spec.ids), spec.rows, spec.rows if spec.labels is None else len(spec.labels)}
    if len(counts) > 1 or spec.rows == 0:
        raise StoreError(f"{path}: rows, ids and labels must be as many, and not none: {counts}")


def _discard(path: Path) -> None:
    if not path.exists():
        return
    if not _is_ours(path):
        raise StoreError(
            f"{path}: is not an activation file and is not overwritten; give another output"
        )
    # the journal last: without it, what is left could not be told from a foreign file
    for place in (manifest_path(path), path, journal_path(path)):
        remove(place)


def _is_ours(path: Path) -> bool:
    """A journal that knows the file is enough: the file itself may be damaged."""
    try:
        read_journal(journal_path(path))
    except StoreError:
        return is_activation_file(path)
    return True


def _create(path: Path, spec: FileSpec) -> None:
    remove(manifest_path(path))
    unfinished = temporary(path)
    fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        try:
            header = skeleton.create(fd, spec)
        finally:
            os.close(fd)
        vouch(header.skeleton)
        # the journal first: an .h5 file without one is damaged, a journal without one is nothing
        write_atomic(journal_path(path), first_line(header))
        os.replace(unfinished, path)
        sync_folder(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
