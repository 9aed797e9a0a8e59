"""What ``entangle measure --class-pairs`` adds: the table of pairs, its notes and its summary."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import UsageError
from entangle_cli.measures.class_pairs import MOST_CLASSES, ClassPair, paired_classes
from entangle_cli.measures.protocol import Protocol
from entangle_cli.results import Result, Row
from entangle_cli.runs.dknn.answer import name_of
from entangle_cli.runs.shared.tables import new_table, number, plain_text
from entangle_cli.text import read_cell

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

TABLE = "measure-pairs"
# pairs shown at either end
_SHOWN = 3
_NAMED = 6
_WORDS = ("model", "layer", "name_a", "name_b")


def check_protocol(protocol: Protocol) -> None:
    """Refuse pairs in batches.

    Raises:
        UsageError: the protocol has batches.
    """
    if protocol.batch_size is not None:
        raise UsageError(
            "--class-pairs with --protocol batches: a batch holds few points of two classes; "
            "leave one of them out"
        )


def pair_rows(pairs: Sequence[ClassPair], names: tuple[str, ...] | None, of: Row) -> list[Row]:
    """A row per pair of one layer; ``of`` says which model, step and layer."""
    return [
        of
        | {
            "class_a": pair.class_a,
            "class_b": pair.class_b,
            "name_a": name_of(pair.class_a, names),
            "name_b": name_of(pair.class_b, names),
            "n_a": pair.n_a,
            "n_b": pair.n_b,
            "snnl": pair.snnl,
            "entanglement": pair.entanglement,
            "boundary": pair.boundary,
        }
        for pair in pairs
    ]


def parsed_pair(cells: Mapping[str, str]) -> Row:
    """A row as `pair_rows` made it, from its line of the CSV file.

    Raises:
        KeyError, ValueError: a column is missing, or a number is none.
    """
    row: Row = dict(cells)
    for name in ("class_a", "class_b", "n_a", "n_b"):
        row[name] = int(cells[name])
    row["step"] = int(cells["step"]) if cells["step"] else None
    for name in ("snnl", "entanglement"):
        row[name] = float(cells[name]) if cells[name] else None
    row["boundary"] = cells["boundary"] or None
    return row | {name: read_cell(cells[name]) for name in _WORDS}


def pair_notes(
    pairs: Sequence[ClassPair], labels: np.ndarray, names: tuple[str, ...] | None
) -> list[str]:
    """What is missing: classes that were not paired, and pairs without numbers by their reason."""
    notes = []
    classes = np.unique(labels)
    left_out = len(classes) - len(paired_classes(labels))
    if left_out:
        notes.append(
            f"pairs of classes: the {MOST_CLASSES} largest of {len(classes)} classes are paired, "
            f"{left_out} are not"
        )
    if len(classes) == 1:
        notes.append("pairs of classes: there is one class only")
    by_reason: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.reason is not None:
            pair_name = f"{name_of(pair.class_a, names)} / {name_of(pair.class_b, names)}"
            by_reason.setdefault(pair.reason, []).append(pair_name)
    for reason, found in by_reason.items():
        rest = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        notes.append(f"pairs without numbers: {', '.join(found[:_NAMED])}{rest}: {reason}")
    return notes


def with_pairs(table: "Table", result: Result) -> "Table | Group":
    """The table of layers, and below it the ends of the last layer's pairs if there are any."""
    from rich.console import Group

    pairs = pairs_table(result)
    return table if pairs is None else Group(table, pairs)


def pairs_table(result: Result) -> "Table | None":
    """The most and the least mixed pairs of the last layer; None where no pair has a number."""
    rows = [row for row in result.tables.get(TABLE, ()) if row["entanglement"] is not None]
    if not rows:
        return None
    where = rows[-1]["model"], rows[-1]["layer"]
    last = [row for row in rows if (row["model"], row["layer"]) == where]
    last.sort(key=lambda row: -row["entanglement"])
    table = new_table(f"Pairs of classes in {where[1]} of {where[0]}: 0 apart, 1 mixed")
    for heading in ("class", "and class"):
        table.add_column(heading)
    for heading in ("n", "entanglement", "SNNL"):
        table.add_column(heading, justify="right")
    table.add_column("boundary")
    cut = len(last) > 2 * _SHOWN
    shown = [*last[:_SHOWN], None, *last[-_SHOWN:]] if cut else last
    for row in shown:
        if row is None:
            table.add_row("...", f"{len(last) - 2 * _SHOWN} more", "", "", "", "")
            continue
        table.add_row(
            plain_text(row["name_a"]),
            plain_text(row["name_b"]),
            str(row["n_a"] + row["n_b"]),
            number(row["entanglement"]),
            number(row["snnl"]),
            row["boundary"],
        )
    return table
