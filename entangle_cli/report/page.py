"""The report as one HTML file: no address in it leads anywhere, and nothing in it is trusted.

The template escapes every value. A content-security policy allows this page's own style and
script, by their checksums, and embedded images; nothing else is loaded or run, whatever a name in
the data says. Needs jinja2.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, select_autoescape
from markupsafe import Markup

from entangle_cli import __version__
from entangle_cli.report.figures.figure import ReportFigure
from entangle_cli.report.panels import Matrix, Panel
from entangle_cli.report.provenance import differently_fed, provenance_of
from entangle_cli.report.runs import Run, number, text
from entangle_cli.report.sections import Section, Table, sections_of
from entangle_cli.report.svg import COLORS, Drawing, draw_matrix, draw_panel
from entangle_cli.results import Row
from entangle_cli.text import plain

# tables that are longer stay in their CSV files
MOST_ROWS = 400
# tables with more rows scroll
LONG_ROWS = 24
SHORT_WORDS = 26
# matrices beyond this number are shown layer by layer at first
MOST_AT_ONCE = 4
_FILES = resources.files("entangle_cli.report") / "page"


def render(runs: Sequence[Run], title: str) -> str:
    """The page of one run, or of several beside each other."""
    environment = Environment(
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    css, script = _own("report.css"), _own("report.js")
    sections = sections_of(runs)
    return environment.from_string(_own("report.html.jinja")).render(
        title=title,
        summary=_summary(runs),
        warnings=differently_fed(runs),
        policy=_policy(css, script),
        css=Markup(css),
        script=Markup(script),
        sections=[_section(section) for section in sections],
        layers=_distinct(runs, "layer"),
        checkpoints=_distinct(runs, "model"),
        provenance=provenance_of(runs),
        version=__version__,
    )


def _policy(css: str, script: str) -> str:
    allowed = {"style-src": css, "script-src": script}
    hashes = " ".join(f"{kind} '{_checksum(body)}';" for kind, body in allowed.items())
    return f"default-src 'none'; {hashes} img-src data:; base-uri 'none'; form-action 'none'"


def _checksum(body: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()


def _own(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _summary(runs: Sequence[Run]) -> str:
    parts = []
    for run in runs:
        models = _distinct([run], "model")
        layers = _distinct([run], "layer")
        commands = ", ".join(run.results)
        parts.append(
            f"{run.name}: {len(models)} checkpoint{'s' * (len(models) != 1)}, "
            f"{len(layers)} layer{'s' * (len(layers) != 1)}; results of {commands}"
        )
    return ". ".join(parts) + "."


def _distinct(runs: Sequence[Run], key: str) -> list[str]:
    rows = (row for run in runs for row in run.rows("measure"))
    return list(dict.fromkeys(text(row.get(key)) for row in rows))


def _section(section: Section) -> dict[str, Any]:
    return {
        "key": section.key,
        "title": section.title,
        "figures": [_figure(figure) for figure in section.figures],
        "tables": [_table(one) for one in section.tables],
        "strips": section.strips,
        "strip_sets": list(dict.fromkeys(strip["set"] for strip in section.strips)),
        "strip_labels": sorted({strip["label"] for strip in section.strips}),
    }


def _figure(figure: ReportFigure) -> dict[str, Any]:
    short = len(figure.rows) <= MOST_ROWS
    legend = _legend(figure)
    return {
        "key": figure.key,
        "title": figure.title,
        "caption": figure.caption,
        "series": figure.series,
        "choose": figure.choose if len(figure.panels) > 1 else "",
        "groups": _groups(figure),
        "all_at_once": len(figure.panels) <= MOST_AT_ONCE,
        "legend": [entry for entry in legend if entry["name"]],
        "panels": [_panel(panel, figure, legend) for panel in figure.panels],
        "table": _table(Table(figure.title, figure.rows)) if short and figure.rows else None,
        "rows": len(figure.rows),
    }


def _groups(figure: ReportFigure) -> list[str]:
    """What panels are chosen by, in order."""
    return list(dict.fromkeys(panel.group for panel in figure.panels if isinstance(panel, Matrix)))


def _legend(figure: ReportFigure) -> list[Row]:
    """An entry for each name of a series, numbered; panels of one figure share their series."""
    colors: dict[str, int] = {}
    for panel in figure.panels:
        for series in panel.series if isinstance(panel, Panel) else ():
            colors.setdefault(series.name, series.color % COLORS)
    return [
        {"number": number, "color": color, "name": name}
        for number, (name, color) in enumerate(colors.items())
    ]


def _panel(panel: Panel | Matrix, figure: ReportFigure, legend: list[Row]) -> dict[str, Any]:
    label = f"{figure.alt}: {panel.title}" if panel.title else figure.alt
    if isinstance(panel, Matrix):
        drawing = draw_matrix(panel, label)
    else:
        numbers = {entry["name"]: entry["number"] for entry in legend}
        drawing = draw_panel(panel, label, numbers)
    group = panel.group if isinstance(panel, Matrix) else ""
    return {"group": group, "svg": Markup(drawing.svg), "points": _as_data(drawing)}


def _as_data(drawing: Drawing) -> Markup:
    body = json.dumps(drawing.points, ensure_ascii=False, separators=(",", ":"))
    # inside a script element, only this could end it
    return Markup(body.replace("<", "\\u003c").replace("\u2028", "\\u2028"))


def _table(table: Table) -> dict[str, Any]:
    names = list(dict.fromkeys(name for row in table.rows for name in row))
    words = {name: _is_words(table.rows, name) for name in names}
    kinds = {name: _kind(table.rows, name) if words[name] else "" for name in names}
    return {
        "title": table.title,
        "long": len(table.rows) > LONG_ROWS,
        "columns": [{"name": name.replace("_", " "), "kind": kinds[name]} for name in names],
        "rows": [
            {
                "layer": text(row.get("layer")),
                "model": text(row.get("model")),
                "cells": [
                    _cell(row.get(name), words=words[name]) | {"kind": kinds[name]}
                    for name in names
                ],
            }
            for row in table.rows
        ],
    }


def _is_words(rows: Sequence[Row], name: str) -> bool:
    known = [row.get(name) for row in rows if row.get(name) not in (None, "")]
    return any(number(value) is None for value in known)


def _kind(rows: Sequence[Row], name: str) -> str:
    """How a column of words is set: short ones are not broken."""
    longest = max(len(text(row.get(name))) for row in rows)
    return "words short" if longest <= SHORT_WORDS else "words"


def _cell(value: object, *, words: bool) -> Row:
    found = None if words else number(value)
    if found is None:
        return {"value": text(value), "shown": text(value) or "-"}
    whole = found == int(found) and abs(found) < 1e15
    shown = f"{found:.0f}" if whole else f"{found:.4g}"
    return {"value": repr(found), "shown": shown}
