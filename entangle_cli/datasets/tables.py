"""``labels.csv`` or ``metadata.csv``: one row per file, with its label."""

import csv
import io
from dataclasses import dataclass

from entangle_cli.datasets.trees import Tree
from entangle_cli.errors import DataError
from entangle_cli.text import suggestion

LABELS = "labels.csv"
NAMES = (LABELS, "metadata.csv")
LACKS = "its first line names no file_name and label columns; add them, separated by a comma"
_FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
_LABEL_COLUMNS = ("label", "labels", "class", "target")


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table: file names, label texts, and splits where it has such a column."""

    files: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...] | None


def read_table(tree: Tree, name: str) -> LabelTable | None:
    """The table of this name, or None if it has no file and label columns.

    Columns: ``file_name`` and ``label`` (also ``filename``, ``path``, ``class``, ``target``), and
    ``split`` if there is one, separated by commas, semicolons or tabs.

    Raises:
        DataError: not text, or a row that is cut short, names no file, or names one twice.
    """
    where = f"{tree.where}/{name}"
    try:
        text = tree.read(name).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), strict=True, delimiter=_delimiter(text)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: not a table in UTF-8 ({error}); save it as plain CSV") from None
    header = [column.strip().lower() for column in rows[0]] if rows else []
    file_column = next((header.index(c) for c in _FILE_COLUMNS if c in header), None)
    label_column = next((header.index(c) for c in _LABEL_COLUMNS if c in header), None)
    if file_column is None or label_column is None:
        return None
    body = [(line, row) for line, row in enumerate(rows[1:], start=2) if row]
    for line, row in body:
        if len(row) != len(header):
            raise DataError(
                f"{where}: line {line} has {len(row)} cells, the header {len(header)}; correct it"
            )
    files = tuple(row[file_column].strip().removeprefix("./") for _, row in body)
    _refuse_bad_names(files, [line for line, _ in body], tree, where)
    split = header.index("split") if "split" in header else None
    return LabelTable(
        files,
        tuple(row[label_column].strip() for _, row in body),
        None if split is None else tuple(row[split].strip() for _, row in body),
    )


def _delimiter(text: str) -> str:
    """What separates the columns of the first line, as spreadsheets of some countries write it."""
    header = text.partition("\n")[0]
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _refuse_bad_names(files: tuple[str, ...], lines: list[int], tree: Tree, where: str) -> None:
    known = frozenset(tree.names)
    seen: set[str] = set()
    for file, line in zip(files, lines, strict=True):
        if file not in known:
            hint = suggestion(file, tree.names[:5000])
            raise DataError(f"{where}: line {line} names {file!r}, which is not there{hint}")
        if file in seen:
            raise DataError(f"{where}: line {line} names {file!r} a second time; remove it")
        seen.add(file)
