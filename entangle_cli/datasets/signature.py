"""What lies at a path, told by its first bytes: which reader answers, and what is refused."""

import gzip
import os
import re
import stat
import zlib
from pathlib import Path
from typing import Literal

from entangle_cli.errors import DataError

Signature = Literal[
    "zip", "npy", "hdf5", "idx", "matlab", "pickle", "image", "gzip", "tar", "text", "unknown"
]

_MAGIC: tuple[tuple[bytes, Signature], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x93NUMPY", "npy"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"MATLAB 5.0", "matlab"),
    (b"\x89PNG\r\n\x1a\n", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"II*\x00", "image"),
    (b"MM\x00*", "image"),
    (b"II+\x00", "image"),
    (b"MM\x00+", "image"),
    (b"\x1f\x8b", "gzip"),
    (b"\x80\x02", "pickle"),
    (b"\x80\x03", "pickle"),
    (b"\x80\x04", "pickle"),
    (b"\x80\x05", "pickle"),
)
# portable bitmaps: a digit, then the width or a comment
_PORTABLE = re.compile(rb"P[1-6]\s+[#0-9]")
_IDX_TYPES = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)
_HEAD = 512


def regular_file(path: Path) -> Path:
    """The path itself if it is an ordinary file that may be read.

    A pipe or a device would hang whoever opens it; links to ordinary files are followed.

    Raises:
        DataError: it is something else, is absent, or cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file; give a file or a folder of files")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: no permission to read it; change its permissions")
    return path


def read_head(path: Path, n: int = _HEAD) -> bytes:
    """The first ``n`` bytes of a regular file."""
    with regular_file(path).open("rb") as stream:
        return stream.read(n)


def signature_of(path: Path) -> Signature:
    """What kind of file this is.

    Raises:
        DataError: the file is empty, a Git LFS pointer, or a web page saved under this name.
    """
    head = read_head(path)
    refuse_stand_ins(head, path)
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return "idx" if found == "gzip" and is_idx(_gunzipped(path)) else found
    if _PORTABLE.match(head) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    if is_idx(head):
        return "idx"
    if head[257:262] == b"ustar":
        return "tar"
    return "unknown" if b"\0" in head else "text"


def is_idx(head: bytes) -> bool:
    """Whether these first bytes open an IDX file: two zeros, a known type, 1 to 4 axes."""
    return len(head) >= 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 4


def refuse_stand_ins(head: bytes, where: object) -> None:
    """Refuse what is often found in place of the file that was meant.

    Raises:
        DataError: nothing at all, a Git LFS pointer, or HTML.
    """
    if not head:
        raise DataError(f"{where}: the file is empty; get it again")
    if head.startswith(b"version https://git-lfs"):
        raise DataError(f"{where}: a Git LFS pointer, not the file itself; run 'git lfs pull'")
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(f"{where}: a web page, not data; download the file itself again")


def _gunzipped(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as stream:
            return stream.read(16)
    except (OSError, EOFError, zlib.error):
        return b""
