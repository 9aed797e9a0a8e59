"""Tables for the terminal, made from a `Result` alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from entangle_cli.results import Result, Row
from entangle_cli.runs.shared.console import speaks_unicode
from entangle_cli.text import plain

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*#@"
_WIDEST_SERIES = 8


def sparkline(values: Sequence[float | None]) -> str:
    """A trend in one character per value, from the lowest value (lowest glyph) to the highest."""
    glyphs = _BLOCKS if speaks_unicode() else _ASCII
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, width = min(known), max(known) - min(known)
    top = len(glyphs) - 1
    levels = [0 if v is None or not width else round((v - low) / width * top) for v in values]
    return "".join(" " if v is None else glyphs[i] for v, i in zip(values, levels, strict=True))


def measure_table(result: Result) -> "Table":
    """Layers down; one checkpoint in full, several as entanglement over steps with the trend."""
    models = list(dict.fromkeys(row["model"] for row in result.rows))
    return _one_model(result.rows) if len(models) < 2 else _series(result.rows, models)


def _one_model(rows: Sequence[Row]) -> "Table":
    title = rows[0]["model"] if rows else ""
    table = new_table(f"Entanglement of {title}: 0 separated, 1 mixed" if title else None)
    table.add_column("layer")
    for heading in ("dim", "n", "entanglement", "SNNL", "ceiling", "temperature", "1-NN acc"):
        table.add_column(heading, justify="right")
    table.add_column("boundary")
    for row in rows:
        table.add_row(
            plain_text(row["layer"]),
            str(row["dim"]),
            str(row["n"]),
            number(row["entanglement"]),
            number(row["snnl"]),
            number(row["ceiling"]),
            number(row["temperature"]),
            percent(row["knn_accuracy"]),
            row["boundary"],
        )
    return table


def _series(rows: Sequence[Row], models: Sequence[str]) -> "Table":
    table = new_table("Entanglement by checkpoint: 0 separated, 1 mixed")
    table.add_column("layer")
    table.add_column("dim", justify="right")
    shown = _shown(models)
    steps = {row["model"]: row["step"] for row in rows}
    # several models at one step, or at none, are no development over time
    one_series = None not in steps.values() and len(set(steps.values())) == len(steps)
    for model in shown:
        heading = plain_text(f"step {steps[model]}" if one_series else model)
        table.add_column(heading, justify="right", overflow="fold")
    if one_series:
        table.add_column("trend")
    table.add_column("SNNL (last)", justify="right")
    table.add_column("1-NN acc (last)", justify="right")
    for layer in dict.fromkeys(row["layer"] for row in rows):
        by_model = {row["model"]: row for row in rows if row["layer"] == layer}
        last = by_model[max(by_model, key=models.index)]
        series = [by_model.get(model, {}).get("entanglement") for model in models]
        table.add_row(
            plain_text(layer),
            str(last["dim"]),
            *(number(by_model.get(model, {}).get("entanglement")) for model in shown),
            *([sparkline(series)] if one_series else []),
            number(last["snnl"]),
            percent(last["knn_accuracy"]),
        )
    return table


def _shown(models: Sequence[str]) -> list[str]:
    """At most a handful of columns: the first, the last and evenly spaced ones between."""
    if len(models) <= _WIDEST_SERIES:
        return list(models)
    last = len(models) - 1
    picks = {round(i * last / (_WIDEST_SERIES - 1)) for i in range(_WIDEST_SERIES)}
    return [model for i, model in enumerate(models) if i in picks]


def plain_table(rows: Sequence[Row], title: str | None = None) -> "Table":
    """Any rows as they are, a column per key."""
    table = new_table(title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        numeric = all(isinstance(row.get(column), (int, float, type(None))) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_shown_value(row.get(column)) for column in columns))
    return table


def facts_and_rows(result: Result) -> "Group":
    """The provenance as one fact a line, then the rows."""
    from rich.console import Group

    facts = [plain_text(f"{key}: {value}") for key, value in result.provenance.items()]
    return Group(*facts, plain_table(result.rows))


def new_table(title: str | None = None) -> "Table":
    """An empty table in the house style, plain ASCII where stdout speaks nothing else."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(
        title=Text(plain(title), style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if speaks_unicode() else box.ASCII2,
        safe_box=True,
        pad_edge=False,
    )


def plain_text(name: str) -> "Text":
    """A name from a file, with neither markup nor escapes obeyed."""
    from rich.text import Text

    return Text(plain(name))


def number(value: float | None) -> str:
    """Four significant digits; a dash where there is no number."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e4:
        return f"{value:.3e}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def percent(value: float | None) -> str:
    """A fraction as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.2f} %"


def _shown_value(value: Any) -> Any:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return plain_text(", ".join(str(v) for v in value))
    return plain_text(str(value))
