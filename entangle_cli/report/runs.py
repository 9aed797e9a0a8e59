"""The output folders of earlier commands, as a report reads them.

A folder holds the latest result of every command that wrote into it (``measure.json``,
``dknn.json``, ...) and tables beside them. Nothing in it is trusted: numbers are numbers or
missing, everything else is text.
"""

import csv
import json
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entangle_cli.errors import UsageError
from entangle_cli.results import Row
from entangle_cli.text import read_cell

COMMANDS = ("measure", "between", "dknn", "ood", "map", "train")
# where commands write unless they are told
UNNAMED = "entangle-out"
LARGEST_JSON = 256 << 20
LONGEST_COMMAND = 10_000


@dataclass(frozen=True)
class Run:
    """One output folder; ``results`` are the JSON objects by command."""

    name: str
    folder: Path
    results: Mapping[str, Row] = field(default_factory=dict)

    def rows(self, command: str) -> list[Row]:
        """The rows of a command's result, none where it has not been run."""
        return _rows(self.results.get(command, {}).get("rows"))

    def models(self, command: str) -> list[Row]:
        """What a command's result says of its models."""
        return _rows(self.results.get(command, {}).get("models"))

    def provenance(self, command: str) -> Row:
        """Where a command's numbers come from."""
        found = self.results.get(command, {}).get("provenance")
        return found if isinstance(found, dict) else {}

    def table(self, stem: str) -> list[Row]:
        """A CSV file of the folder, a dictionary per line; empty where it is missing."""
        return list(self._lines(stem))

    def columns(self, stem: str, names: Sequence[str]) -> dict[str, list[str]]:
        """Some columns of a CSV file, as text; those that it does not have are left out."""
        found: dict[str, list[str]] = {}
        for line in self._lines(stem):
            for name in names:
                if line.get(name) is not None:
                    found.setdefault(name, []).append(line[name])
        return found

    def json(self, name: str) -> Any:
        """A JSON file of the folder, None where it is missing or damaged."""
        return _read_json(self.folder / name)

    def command_line(self, command: str) -> str:
        """The command line that made a result, empty where it was not kept."""
        path = self.folder / f"{command}.command.txt"
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read(LONGEST_COMMAND).strip()
        except OSError:
            return ""

    def _lines(self, stem: str) -> Iterator[dict[str, str]]:
        path = self.folder / f"{stem}.csv"
        if not path.is_file():
            return
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            yield from csv.DictReader(file)


def read_run(folder: Path, name: str | None = None) -> Run:
    """The run in ``folder``.

    Raises:
        UsageError: there is no result in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give the output folder of an earlier command")
    found = {command: _read_json(folder / f"{command}.json") for command in COMMANDS}
    results = {command: body for command, body in found.items() if isinstance(body, dict)}
    if not results:
        raise UsageError(
            f"{folder}: holds no results; give the folder that measure, dknn, ood, between or map "
            "wrote into (entangle-out unless -o said otherwise)"
        )
    return Run(name or _name(folder.resolve()), folder, results)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Several runs with different names, in the order given.

    Raises:
        UsageError: one is no run, or one is given twice.
    """
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise UsageError(f"{', '.join(map(str, folders))}: a run is given twice")
    names = [_name(place) for place in places]
    # runs of the same name are told apart by what they lie in
    if len(set(names)) < len(names):
        names = [f"{place.parent.name}/{place.name}" for place in places]
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def _name(place: Path) -> str:
    """The folder's name; of one that nobody has named, that of the folder it lies in."""
    return place.parent.name if place.name == UNNAMED and place.parent.name else place.name


def number(value: object) -> float | None:
    """A finite number, also one written as text; None for anything else."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and not isinstance(value, bool) else None


def typed(row: Row, words: Container[str]) -> Row:
    """A line of a CSV file with its numbers as numbers; ``words`` are columns that hold text."""
    return {
        name: text(value) if name in words or number(value) is None else _as_number(text(value))
        for name, value in row.items()
    }


def _as_number(value: str) -> int | float:
    try:
        return int(value)
    except ValueError:
        return float(value)


def text(value: object) -> str:
    """A value as text; nothing for None. A quote that protects a spreadsheet is taken off."""
    return "" if value is None else read_cell(str(value))


def _rows(value: object) -> list[Row]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_JSON:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
