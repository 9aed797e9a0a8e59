"""Figures from their description, with matplotlib; equal descriptions give equal bytes."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from entangle_cli.report.panels import FigureDescription, ImageGrid, Matrix, Panel, Series
from entangle_cli.report.ticks import written
from entangle_cli.text import plain

# of inches: the width and height of one panel
PANEL = (3.6, 3.0)
_WITH_LEGEND = 1.4
_SETTINGS = {
    "text.parse_math": False,
    "svg.hashsalt": "entangle",
    "svg.fonttype": "path",
    "font.size": 8,
    "legend.fontsize": 7,
}
_PALETTE = (*matplotlib.colormaps["tab10"].colors, "#101010", "#e6007e", "#7d5a00")


def draw(description: FigureDescription, paths: Sequence[Path]) -> None:
    """Write the figure to every path, in the format that the path's suffix names.

    The panels are drawn alone: the caption is for whatever shows the figure.
    """
    count = max(1, len(description.panels))
    columns = min(description.columns, count)
    rows = math.ceil(count / columns)
    width = PANEL[0] * (_WITH_LEGEND if any(map(_legend_beside, description.panels)) else 1.0)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width * columns, PANEL[1] * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes[len(description.panels) :]:
            axis.set_axis_off()
        for axis, panel in zip(axes, description.panels, strict=False):
            _DRAW[type(panel)](axis, panel)
        for path in paths:
            kept = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=110, metadata=kept)


def _draw_panel(axis: Any, panel: Panel) -> None:
    axis.set_title(plain(panel.title), fontsize=8)
    for series in panel.series:
        _draw_series(axis, series)
    axis.set_xlabel(plain(panel.x_label))
    axis.set_ylabel(plain(panel.y_label))
    if panel.bare:
        axis.set_aspect("equal", adjustable="datalim")
        axis.set_xticks([])
        axis.set_yticks([])
    else:
        axis.grid(alpha=0.25, linewidth=0.5)
        _scale(axis, panel)
    if panel.legend and any(series.name for series in panel.series):
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "markerscale": 2}
        axis.legend(frameon=False, **(beside if _legend_beside(panel) else {}))


def _legend_beside(panel: Panel | ImageGrid | Matrix) -> bool:
    """A map has points everywhere, so its legend stands beside it."""
    return isinstance(panel, Panel) and panel.bare and panel.legend


def _scale(axis: Any, panel: Panel) -> None:
    if panel.log_x:
        axis.set_xscale("log")
        _plain_powers(axis.xaxis)
    if panel.log_y:
        axis.set_yscale("log")
        _plain_powers(axis.yaxis)
    if panel.x_range:
        axis.set_xlim(panel.x_range)
    if panel.y_range:
        axis.set_ylim(panel.y_range)
    if panel.x_names:
        places = range(len(panel.x_names))
        axis.set_xticks(places, [plain(name) for name in panel.x_names], rotation=60, ha="right")


def _plain_powers(axis: Any) -> None:
    """Numbers as they are: matplotlib's own are mathematics, which is not parsed here."""
    axis.set_major_formatter(FuncFormatter(lambda value, place: written(value)))
    axis.set_minor_formatter(NullFormatter())


def _draw_series(axis: Any, series: Series) -> None:
    color = _PALETTE[series.color % len(_PALETTE)]
    label = plain(f"{series.name} {series.note}".rstrip()) or None
    if series.kind == "points":
        axis.scatter(series.x, series.y, s=6, color=color, label=label, linewidths=0)
        return
    style = "--" if series.dashed else "-"
    axis.plot(series.x, series.y, style, color=color, label=label, linewidth=1.2)
    if series.low is not None and series.high is not None:
        axis.fill_between(series.x, series.low, series.high, color=color, alpha=0.2, linewidth=0)


def _draw_images(axis: Any, grid: ImageGrid) -> None:
    axis.set_title(plain(grid.title), fontsize=8)
    axis.set_axis_off()
    if not grid.rows or not grid.rows[0]:
        return
    height, width = grid.rows[0][0].shape[:2]
    columns = max(map(len, grid.rows))
    sheet = np.ones((len(grid.rows) * (height + 1), columns * (width + 1), 3))
    for r, row in enumerate(grid.rows):
        for c, image in enumerate(row):
            shown = image[..., None] if image.ndim == 2 else image
            top, left = r * (height + 1), c * (width + 1)
            sheet[top : top + height, left : left + width] = np.clip(shown, 0, 1)
    axis.imshow(sheet, interpolation="nearest")


def _draw_matrix(axis: Any, matrix: Matrix) -> None:
    axis.set_title(plain(matrix.title), fontsize=8)
    values = [[math.nan if v is None else v for v in row] for row in matrix.values]
    shown = axis.imshow(np.array(values, dtype=float), vmin=0, vmax=matrix.top, cmap="viridis")
    axis.figure.colorbar(shown, ax=axis, shrink=0.8)
    names = [plain(name) for name in matrix.names]
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
    axis.set_yticks(range(len(names)), names)


_DRAW = {Panel: _draw_panel, ImageGrid: _draw_images, Matrix: _draw_matrix}
