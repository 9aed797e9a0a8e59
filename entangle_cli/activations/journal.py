"""The journal of a store: which rows are committed, and their checksums.

Text, one line after another, each ``JSON crc32\\n``. The first line describes the store; every
further line commits the next rows of all blocks and is written after their bytes are on the
disk. A line that is cut or damaged ends the journal: what follows it does not count.
"""

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from entangle_cli.activations.durable import sync_data, sync_folder, write_all
from entangle_cli.activations.schema import canonical
from entangle_cli.errors import StoreError

JOURNAL_FORMAT = "entangle-activations-journal"


@dataclass(frozen=True)
class Header:
    """What the journal says of the HDF5 file it belongs to.

    ``identity`` and ``skeleton`` are sha256 digests: of the identity, and of every byte outside
    the blocks. ``blocks`` are (offset, bytes per row) in ascending order; ``size`` is the file's.
    """

    identity: str
    skeleton: str
    size: int
    rows: int
    line_rows: int
    blocks: tuple[tuple[int, int], ...]

    def fits(self) -> bool:
        """Whether the blocks lie one after another inside the file."""
        if any(type(number) is not int for number in (self.size, self.rows, self.line_rows)):
            return False
        if not (self.rows > 0 and self.line_rows > 0):
            return False
        end = 0
        for offset, row_bytes in self.blocks:
            if offset < end or row_bytes <= 0:
                return False
            end = offset + row_bytes * self.rows
        return end <= self.size


@dataclass(frozen=True)
class Entry:
    """Rows ``start`` to ``stop`` are committed.

    ``crc`` has one CRC-32 per block, ``nonfinite`` the count of NaN and infinities per block.
    """

    start: int
    stop: int
    crc: tuple[int, ...]
    nonfinite: tuple[int, ...]


@dataclass(frozen=True)
class Journal:
    """A journal as read; ``good`` bytes of ``size`` can be trusted."""

    header: Header
    entries: tuple[Entry, ...]
    good: int
    size: int

    @property
    def rows(self) -> int:
        """Committed rows."""
        return self.entries[-1].stop if self.entries else 0


def first_line(header: Header) -> bytes:
    """The journal of a store without rows."""
    return _line({"format": JOURNAL_FORMAT} | asdict(header))


def _line(value: dict) -> bytes:
    body = canonical(value).encode()
    return body + b" %08x\n" % zlib.crc32(body)


def read_journal(path: Path) -> Journal:
    """Read a journal up to the first line that cannot be trusted.

    Raises:
        StoreError: there is none, or its first line is damaged.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise StoreError(
            f"{path}: this journal is missing; it belongs beside the .h5 file, copy both"
        ) from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    lines = raw.split(b"\n")[:-1]
    header = _header(lines[0]) if lines else None
    if header is None:
        raise StoreError(f"{path}: damaged in its first line; dump again with --overwrite")
    good = len(lines[0]) + 1
    entries: list[Entry] = []
    for line in lines[1:]:
        entry = _entry(line, header, entries[-1].stop if entries else 0)
        if entry is None:
            break
        entries.append(entry)
        good += len(line) + 1
    return Journal(header, tuple(entries), good, len(raw))


def _content(line: bytes) -> dict | None:
    body, _, crc = line.rpartition(b" ")
    if crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _header(line: bytes) -> Header | None:
    value = _content(line)
    if value is None or value.pop("format", None) != JOURNAL_FORMAT:
        return None
    try:
        value["blocks"] = tuple((int(offset), int(row)) for offset, row in value["blocks"])
        header = Header(**value)
        return header if header.fits() else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _entry(line: bytes, header: Header, start: int) -> Entry | None:
    """The entry in a line, if it is whole and continues at row ``start``."""
    value = _content(line)
    if value is None:
        return None
    try:
        entry = Entry(
            value["start"],
            value["stop"],
            tuple(int(crc, 16) for crc in value["crc"]),
            tuple(map(int, value.get("nonfinite", [0] * len(value["crc"])))),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    stop = min(start + header.line_rows, header.rows)
    fits = (entry.start, entry.stop) == (start, stop) and start < stop
    # 3.0 is equal to 3, and no place in a file
    fits = fits and type(entry.start) is type(entry.stop) is int
    return entry if fits and len(entry.crc) == len(header.blocks) == len(entry.nonfinite) else None


class JournalAppender:
    """A journal open for appending; a tail that cannot be trusted is cut first."""

    def __init__(self, path: Path, good: int) -> None:
        self._fd = os.open(path, os.O_WRONLY)
        os.ftruncate(self._fd, good)
        os.lseek(self._fd, 0, os.SEEK_END)
        # the run before may have ended before its own renames were durable
        sync_folder(path.parent)

    def append(self, entries: Iterable[Entry]) -> None:
        """Commit ``entries``, whose rows must be on the disk already."""
        lines = []
        for entry in entries:
            value = {
                "start": entry.start,
                "stop": entry.stop,
                "crc": [f"{crc:08x}" for crc in entry.crc],
            }
            if any(entry.nonfinite):
                value["nonfinite"] = list(entry.nonfinite)
            lines.append(_line(value))
        write_all(self._fd, b"".join(lines))
        sync_data(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
