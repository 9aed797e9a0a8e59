"""Maps of a layer: points of a class together, foreign sets placed among them."""

from collections.abc import Sequence

from entangle_cli.report.figures.figure import ReportFigure
from entangle_cli.report.panels import Panel, Series
from entangle_cli.report.runs import Run, number, text, typed
from entangle_cli.results import Row

# the palette's first colors are for classes, its last ones for foreign sets
CLASS_COLORS, FOREIGN_COLORS = 10, 3
_WORDS = ("set", "id")


def map_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """The map of every run that has one."""
    panels, rows = [], []
    for run in runs:
        table = run.table("map")
        panel = _panel(run, table)
        if panel.series:
            panels.append(panel)
            rows += [{"run": run.name} | typed(row, _WORDS) for row in table]
    if not panels:
        return []
    return [
        ReportFigure(
            key="map",
            title="Map of a layer",
            caption="t-SNE: points that are near in the layer are near here; distances between "
            "groups mean little. Other sets are placed on the map of the first.",
            alt="Map of the points of a layer, colored by class and set",
            panels=tuple(panels),
            rows=tuple(rows),
            series="class",
        )
    ]


def _panel(run: Run, table: Sequence[Row]) -> Panel:
    first = text(table[0].get("set")) if table else ""
    groups: dict[str, list[tuple[float, float, str]]] = {}
    for row in table:
        x, y = number(row.get("x")), number(row.get("y"))
        if x is None or y is None:
            continue
        name, label = text(row.get("set")), text(row.get("label"))
        group = f"class {label}" if name == first and label else name
        said = f"{text(row.get('id'))} ({name}), class {label or 'unknown'}"
        groups.setdefault(group, []).append((x, y, said))
    # classes first, by their number; foreign sets are drawn on top of them
    order = sorted(groups, key=lambda g: (not g.startswith("class "), _class_number(g), g))
    classes = [group for group in order if group.startswith("class ")]
    series = [
        Series(
            group,
            [x for x, _, _ in groups[group]],
            [y for _, y, _ in groups[group]],
            kind="points",
            color=place % CLASS_COLORS
            if group in classes
            else CLASS_COLORS + (place - len(classes)) % FOREIGN_COLORS,
            names=[said for _, _, said in groups[group]],
        )
        for place, group in enumerate(order)
    ]
    return Panel(run.name, tuple(series), bare=True)


def _class_number(group: str) -> float:
    found = number(group.removeprefix("class "))
    return float("inf") if found is None else found
