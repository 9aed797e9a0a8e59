"""What ``entangle report`` writes."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from entangle_cli.errors import UsageError
from entangle_cli.report.figures.figure import ReportFigure
from entangle_cli.report.panels import FigureDescription
from entangle_cli.report.runs import Run
from entangle_cli.report.sections import sections_of
from entangle_cli.results import rows_to_csv, write_text

COLUMNS = 3


def write_page(runs: Sequence[Run], path: Path, title: str) -> int:
    """Write the page, as a whole; returns its size in bytes.

    Raises:
        UsageError: the place is a folder.
    """
    from entangle_cli.report.page import render

    if path.is_dir():
        raise UsageError(f"-o {path}: is a folder; give the name of a file, such as report.html")
    body = render(runs, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, body)
    return len(body.encode("utf-8", "backslashreplace"))


def need_matplotlib() -> None:
    """Refuse to draw files without what draws them.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("--figures needs matplotlib: pip install 'entangle-cli[report]'")


def write_figures(runs: Sequence[Run], folder: Path) -> list[Path]:
    """SVG, PNG and CSV of every figure; see `need_matplotlib`."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = [figure for section in sections_of(runs) for figure in section.figures]
    return [path for figure in figures for path in _write_figure(figure, folder)]


def _write_figure(figure: ReportFigure, folder: Path) -> list[Path]:
    from entangle_cli.report.drawing import draw

    pictures = [folder / f"{figure.key}.{kind}" for kind in ("svg", "png")]
    columns = min(COLUMNS, max(1, len(figure.panels)))
    draw(FigureDescription(figure.panels, columns, figure.caption), pictures)
    table = write_text(folder / f"{figure.key}.csv", rows_to_csv(figure.rows))
    return [*pictures, table]
