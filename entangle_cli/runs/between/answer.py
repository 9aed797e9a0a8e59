"""The table of ``entangle between``."""

from typing import TYPE_CHECKING

from entangle_cli.results import Result
from entangle_cli.runs.shared.tables import new_table, number, percent, plain_text, sparkline

if TYPE_CHECKING:
    from rich.table import Table


def between_table(result: Result) -> "Table":
    """One comparison in full; a series as entanglement per set with the trend."""
    sets = list(dict.fromkeys(row["b"] for row in result.rows))
    return _one(result) if len(sets) < 2 else _series(result, sets)


def _one(result: Result) -> "Table":
    first = result.rows[0]
    permuted = "permuted" in first
    table = new_table(
        f"Entanglement of {first['a']} ({first['n_a']}) and {first['b']} ({first['n_b']}): "
        "0 apart, 1 not to be told apart"
    )
    table.add_column("layer")
    headings = ["dim", "entanglement", "SNNL", "ceiling", "temperature", "1-NN acc"]
    for heading in (*headings, *(["shuffled", "p-value"] if permuted else [])):
        table.add_column(heading, justify="right")
    table.add_column("boundary")
    for row in result.rows:
        table.add_row(
            plain_text(row["layer"]),
            str(row["dim"]),
            number(row["entanglement"]),
            number(row["snnl"]),
            number(row["ceiling"]),
            number(row["temperature"]),
            percent(row["knn_accuracy"]),
            *([number(row["permuted"]), number(row["p_value"])] if permuted else []),
            row["boundary"],
        )
    return table


def _series(result: Result, sets: list[str]) -> "Table":
    table = new_table(f"Entanglement with {result.rows[0]['a']}: 0 apart, 1 not to be told apart")
    steps = {row["b"]: row["step"] for row in result.rows}
    table.add_column("layer")
    for name in sets:
        heading = name if steps[name] is None else f"step {steps[name]}"
        table.add_column(plain_text(heading), justify="right", overflow="fold")
    table.add_column("trend")
    for layer in dict.fromkeys(row["layer"] for row in result.rows):
        found = {row["b"]: row["entanglement"] for row in result.rows if row["layer"] == layer}
        values = [found.get(name) for name in sets]
        table.add_row(plain_text(layer), *map(number, values), sparkline(values))
    return table
