"""Folders that a command writes into; nothing is left of one that failed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from entangle_cli.activations.durable import make_folder


@contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """``folder``, made where it is missing; what was made goes again if the command fails.

    Working copies are nameless files in it, which need no folder of their own.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        make_folder(folder)
        yield folder
    except BaseException:
        for place in missing:
            with suppress(OSError):
                # what is not empty stays: committed rows, or another run in the same folder
                place.rmdir()
        raise
