"""All finished claims on one page: Markdown, CSV, and HTML that needs no network.

Everything that goes into the HTML is escaped; figures are embedded as data, never as markup.
"""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entangle_cli.results import Row, rows_to_csv
from entangle_cli.text import plain
from entangle_cli.training.state import replace_file

COLUMNS = ("quantity", "printed", "measured here", "runs", "verdict", "rule")
STEM = "comparison"
_TITLE = "The paper's claims, measured anew"
_INTRODUCTION = (
    "Frosst, Papernot, Hinton: Analyzing and Improving Representations with the Soft Nearest "
    "Neighbor Loss (arXiv 1902.01889). Intervals are Student's t at 95 % over the runs. A verdict "
    "follows from the rule beside it."
)
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;"
    "color:#222;background:#fff}table{border-collapse:collapse;width:100%;font-size:13px}"
    "th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #ddd;"
    "vertical-align:top}img{max-width:100%}.note{color:#555;font-size:13px}"
)


def write_page(folder: Path, finished: Sequence[dict[str, Any]]) -> list[Path]:
    """Write ``comparison.md``, ``.csv`` and ``.html`` from what ``keeping`` wrote of each claim."""
    rows = [row for one in finished for row in comparison_rows(one)]
    texts = {
        "md": _markdown(finished),
        "csv": rows_to_csv(rows),
        "html": _html(folder, finished),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for suffix, text in texts.items():
        written.append(folder / f"{STEM}.{suffix}")
        replace_file(written[-1], text.encode(errors="backslashreplace"))
    return written


def comparison_rows(finished: dict[str, Any]) -> list[Row]:
    """The comparisons of one claim, with its name and scale."""
    where = {"claim": finished["name"], "scale": finished["identity"]["scale"]}
    return [where | row for row in finished["comparisons"]]


def shown(value: Any) -> str:
    """A number to four digits, a text as it is, a dash for nothing."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, (int, float)) else plain(str(value))


def measured(row: Row) -> str:
    """The mean with its interval."""
    if row["low"] is None:
        return shown(row["measured"])
    return f"{shown(row['measured'])} [{shown(row['low'])}, {shown(row['high'])}]"


def _cells(row: Row) -> list[str]:
    texts = (row["quantity"], shown(row["printed"]), measured(row), str(row["runs"]))
    return [plain(text) for text in (*texts, row["verdict"], row["rule"])]


def _facts(one: dict[str, Any]) -> list[str]:
    identity = one["identity"]
    facts = [f"scale {identity['scale']}, seed {identity['seed']}, {one['seconds'] / 60:.1f} min"]
    if identity["scale"] == "quick" and one["quick_cannot"]:
        facts.append(f"Cannot be shown at scale quick: {one['quick_cannot']}")
    return facts + list(one["notes"])


def _heading(one: dict[str, Any]) -> str:
    return f"{', '.join([one['name'], *one['also']])}: {one['title']}"


def _markdown(finished: Sequence[dict[str, Any]]) -> str:
    lines = [f"# {_TITLE}", "", _INTRODUCTION, ""]
    for one in finished:
        lines += [f"## {_cell(_heading(one))}", ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        for row in one["comparisons"]:
            lines.append("| " + " | ".join(map(_cell, _cells(row))) + " |")
        lines.append("")
        lines += [f"- {_cell(fact)}" for fact in _facts(one)]
        if one["figures"]:
            lines += ["", f"![{_cell(one['name'])}]({one['name']}/{one['figures'][-1]})"]
            lines += ["", _cell(one["caption"])] if one["caption"] else []
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that Markdown shows as it is."""
    safe = html.escape(plain(text), quote=False)
    return "".join("\\" + c if c in "\\|`*_[]" else c for c in safe)


def _html(folder: Path, finished: Sequence[dict[str, Any]]) -> str:
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(_TITLE)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(_TITLE)}</h1><p>{html.escape(_INTRODUCTION)}</p>",
    ]
    for one in finished:
        parts.append(f"<section><h2>{_text(_heading(one))}</h2>")
        head = "".join(f"<th>{_text(name)}</th>" for name in COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in _cells(row)) + "</tr>"
            for row in one["comparisons"]
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f'<p class="note">{_text(fact)}</p>' for fact in _facts(one)]
        parts += _image(folder / one["name"], one)
        parts.append("</section>")
    return "\n".join([*parts, "</body></html>", ""])


def _image(folder: Path, one: dict[str, Any]) -> list[str]:
    found = [name for name in one["figures"] if name.endswith(".png")]
    if not found or not (folder / found[0]).is_file():
        return []
    content = base64.b64encode((folder / found[0]).read_bytes()).decode()
    return [
        f'<p><img alt="{_text(one["name"])}" src="data:image/png;base64,{content}"></p>',
        f'<p class="note">{_text(one["caption"])}</p>',
    ]


def _text(text: str) -> str:
    return html.escape(plain(text))
