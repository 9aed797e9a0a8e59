"""The identity of a data set: sha256 over the bytes that are read, streamed."""

import hashlib
from pathlib import Path

from entangle_cli.errors import DataError


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def combined(*parts: str | bytes) -> str:
    """One sha256 over several parts, each preceded by its length so that none runs into the next.

    >>> combined("ab", "c") == combined("a", "bc")
    False
    """
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()
