"""What a command found: rows with provenance, written as JSON and CSV.

Rendering reads only these; nothing here computes. JSON has no NaN: a number that is not finite
becomes null, and a note says which.
"""

import csv
import fcntl
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entangle_cli import __version__
from entangle_cli.text import csv_cell

Row = dict[str, Any]
# the command line that asked for results, where there is one; kept beside them
invocation: ContextVar[str | None] = ContextVar("invocation", default=None)
_ROWS_AT_A_TIME = 4096
# seconds; a file of results is written in less
_PATIENCE = 2.0


@dataclass
class Result:
    """The outcome of one command; the object that ``--json`` prints.

    ``tables`` holds further tables by file stem (``{"dknn-test": rows}``), ``columns`` those with a
    row per input, by file stem and column: they become CSV files and stay out of the JSON, as do
    ``files``, further texts by file name.
    """

    command: str
    rows: list[Row] = field(default_factory=list)
    models: list[Row] = field(default_factory=list)
    provenance: Row = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    columns: dict[str, dict[str, Sequence[Any]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def to_json(self, *, indent: int | None = None, ascii: bool = False) -> str:
        """The result as one JSON object (RFC 8259: no NaN, no Infinity)."""
        notes = list(self.notes)
        body = {
            "command": self.command,
            "version": __version__,
            "models": _finite(self.models, "models", notes),
            "rows": _finite(self.rows, "rows", notes),
            "provenance": _finite(self.provenance, "provenance", notes),
            "notes": notes,
        }
        return json.dumps(body, allow_nan=False, ensure_ascii=ascii, indent=indent)

    def to_csv(self) -> str:
        """The rows as CSV, one column per key."""
        return rows_to_csv(self.rows)

    def write(self, folder: Path) -> list[Path]:
        """Write ``results.json``, ``<command>.json``, ``<command>.csv`` and the further tables.

        ``results.json`` is always the latest command's; each file is replaced as a whole.
        """
        folder.mkdir(parents=True, exist_ok=True)
        body = self.to_json(indent=1) + "\n"
        files = {"results.json": body, f"{self.command}.json": body}
        # columns of this name are what the file is for; the rows are in the JSON
        if self.rows and self.command not in self.columns:
            files[f"{self.command}.csv"] = self.to_csv()
        files |= {f"{stem}.csv": rows_to_csv(rows) for stem, rows in self.tables.items()}
        files |= self.files
        if (asked := invocation.get()) is not None:
            files[f"{self.command}.command.txt"] = asked + "\n"
        written = [_replace(folder / name, [text]) for name, text in files.items()]
        return written + [
            _replace(folder / f"{stem}.csv", columns_to_csv(columns))
            for stem, columns in self.columns.items()
        ]


def write_text(path: Path, text: str) -> Path:
    """Put a text file in place as a whole: it has its old content or all of the new one."""
    return _replace(path, [text])


def rows_to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; keys of later rows become further columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([csv_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return out.getvalue()


def columns_to_csv(columns: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Columns of one length as CSV with a header, in pieces; NaN is an empty cell."""
    names = list(columns)
    yield rows_to_csv([dict.fromkeys(names)]).partition("\n")[0] + "\n"
    count = len(columns[names[0]]) if names else 0
    for start in range(0, count, _ROWS_AT_A_TIME):
        rows = zip(
            *(_plain(columns[n][start : start + _ROWS_AT_A_TIME]) for n in names), strict=True
        )
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([_cell(v) for v in row] for row in rows)
        yield out.getvalue()


def _plain(values: Any) -> Sequence[Any]:
    """Python's own numbers, which print in full; None for NaN."""
    own = values.tolist() if hasattr(values, "tolist") else values
    return [None if value != value else value for value in own]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, (list, tuple, dict)):
        return csv_cell(json.dumps(value, ensure_ascii=False))
    return csv_cell(value)


def finite(value: Any) -> Any:
    """``value`` with every number that is not finite replaced by None."""
    return _finite(value, "", [])


def _finite(value: Any, where: str, notes: list[str]) -> Any:
    """``value`` with every non-finite number replaced by None, each named in ``notes``."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v, f"{where}.{k}", notes) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v, f"{where}[{i}]", notes) for i, v in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and not math.isfinite(number):
        notes.append(f"{where} is null because its value is {number}")
        return None
    return number


def replace_whole(path: Path, write: Callable[[Path], None]) -> Path:
    """The file at ``path`` is what ``write`` makes at another path, or stays as it was.

    Two runs in one folder do not get into each other's way: each file is one run's.

    Raises:
        OSError: no space or no permission; nothing is left behind.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # under one name for all, what a killed run has left is used up by the next one
        own = "" if _locked(folder) else f".{os.getpid()}"
        temporary = path.with_name(f"{path.name}{own}.tmp")
        try:
            write(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)
    return path


def _replace(path: Path, pieces: Iterable[str]) -> Path:
    return replace_whole(path, lambda temporary: _write(temporary, pieces))


def _write(path: Path, pieces: Iterable[str]) -> None:
    # a file name need not be text: what UTF-8 cannot hold becomes an escape, as JSON has it too
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())


def _locked(folder: int) -> bool:
    """Whether nobody else writes results here until ``folder`` is closed; waits a moment for it."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        except OSError:
            # a file system without locks
            return False
        else:
            return True
