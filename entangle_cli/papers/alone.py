"""One process at a time on what claims share: the others wait, and find it done."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Wait until no other process works on what lies at ``place``; the system tells of deaths.

    Where a file system knows no locks nobody waits: networks are then trained more than once, with
    the same numbers, and written as a whole.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    # the file stays: taking it away would let two in, one by the old file and one by a new one
    fd = os.open(place.with_name(f".{place.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
