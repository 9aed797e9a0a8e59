"""Writing that survives: a call that returned is on the disk, or it raised."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from entangle_cli import scratch
from entangle_cli.errors import StoppedEarly, StoreError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_WRONG_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOENT,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
}

# macOS has no fdatasync
sync_data = getattr(os, "fdatasync", os.fsync)


def sync_folder(folder: Path) -> None:
    """Make creations, renames and removals in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """``folder`` and what is missing above it, each durable in its own parent."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        sync_folder(place.parent)


def write_all(fd: int, data: bytes) -> None:
    """``os.write`` until nothing is left."""
    view = memoryview(data)
    while view:
        view = view[_progress(os.write(fd, view)) :]


def pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """``os.pwrite`` until nothing is left."""
    view = memoryview(data)
    while view:
        written = _progress(os.pwrite(fd, view, offset))
        view, offset = view[written:], offset + written


def _progress(written: int) -> int:
    if written == 0:
        raise OSError(errno.EIO, "nothing was written")
    return written


def pread_chunks(fd: int, start: int, stop: int, chunk: int = 1 << 20) -> Iterator[bytes]:
    """The bytes ``start`` to ``stop`` of a file in pieces; shorter where the file ends."""
    while start < stop:
        piece = os.pread(fd, min(chunk, stop - start), start)
        if not piece:
            return
        yield piece
        start += len(piece)


def write_atomic(path: Path, data: bytes) -> None:
    """The file at ``path`` has its old content or all of ``data``, never a part of it."""
    unfinished = temporary(path)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def temporary(path: Path) -> Path:
    """Where a file grows before it takes its name."""
    return path.with_name(path.name + ".tmp")


def remove(path: Path) -> None:
    """Unlink ``path`` if it is there, durably."""
    if path.is_symlink() or path.exists():
        path.unlink()
        sync_folder(path.parent)


@contextmanager
def writing(path: Path, needed: int) -> Iterator[None]:
    """Turn the operating system's refusals into ours.

    Args:
        path: the file being written.
        needed: bytes it takes when complete.

    Raises:
        StoppedEarly: the disk is full or failing; the same command resumes.
        StoreError: nothing can be written at this place.
    """
    try:
        yield
    except OSError as error:
        raise _refusal(path, needed, error) from error


def _refusal(path: Path, needed: int, error: OSError) -> StoppedEarly | StoreError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _NO_SPACE:
        return StoppedEarly(
            f"{path}: the disk is full: {amount(needed)} needed, {_left(path.parent)} free; "
            "make room and run the same command again"
        )
    if error.errno in _WRONG_PLACE:
        return StoreError(f"{path}: cannot be written: {reason}; give another output")
    return StoppedEarly(
        f"{path}: writing failed: {reason}; what is committed is kept, "
        "run the same command again to resume"
    )


def _left(folder: Path) -> str:
    try:
        return amount(scratch.free_bytes(os.statvfs(folder)))
    except OSError:
        return "an unknown amount"


def amount(size: int) -> str:
    """A number of bytes for people: ``512 bytes``, ``1.5 GB`` (powers of ten)."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
