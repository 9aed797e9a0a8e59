"""The map of a layer as a figure: by class, and by set where others are placed on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row
from entangle_cli.text import shortened

# numbers of the palette: gray, and as many others
GRAY = 7
_OTHERS = tuple(color for color in range(10) if color != GRAY)
# characters of a name above or below a panel
_LONGEST = 36

CAPTION = (
    "t-SNE keeps neighbors, not distances: sizes of clusters and gaps between them mean nothing. "
    "Entanglement and 1-NN accuracy are of the layer itself."
)


def map_figure(
    rows: Sequence[Row], columns: Mapping[str, Sequence[Any]], classes: Sequence[str] | None
) -> FigureDescription:
    """A panel of the mapped set by class and, with further sets, one panel per such set.

    ``rows`` and ``columns`` are those of ``map.json`` and ``map.csv``; the first row is the mapped
    set. ``classes`` names the labels. Beyond nine classes the smaller ones share a gray.
    """
    by_set = {row["set"]: _of_set(columns, row["set"]) for row in rows}
    first = rows[0]["set"]
    panels = [_panel(rows[0], _by_class(by_set[first], classes))]
    background = _series(first, by_set[first], GRAY)
    for color, row in enumerate(rows[1:]):
        name = row["set"]
        placed = _series(name, by_set[name], _OTHERS[color % len(_OTHERS)])
        panels.append(_panel(row, (background, placed)))
    return FigureDescription(tuple(panels), columns=min(len(panels), 3), caption=CAPTION)


_Points = list[tuple[float, float, Any]]


def _of_set(columns: Mapping[str, Sequence[Any]], name: str) -> _Points:
    values = zip(columns["set"], columns["x"], columns["y"], columns["label"], strict=True)
    return [(x, y, label) for of, x, y, label in values if of == name]


def _by_class(points: _Points, classes: Sequence[str] | None) -> tuple[Series, ...]:
    labels = [label for _, _, label in points if label is not None]
    sizes = {label: labels.count(label) for label in sorted(set(labels))}
    shown = sorted(sizes, key=lambda label: -sizes[label])
    if len(shown) > len(_OTHERS) + 1:
        shown = shown[: len(_OTHERS)]
    colors = dict(zip(sorted(shown), (*_OTHERS, GRAY), strict=False))
    rest = [point for point in points if point[2] not in colors]
    series = [_series(_rest_name(rest, len(sizes) - len(colors)), rest, GRAY)] if rest else []
    for label, color in colors.items():
        name = classes[label] if classes is not None and label < len(classes) else str(label)
        series.append(_series(name, [point for point in points if point[2] == label], color))
    return tuple(series)


def _rest_name(rest: _Points, classes: int) -> str:
    unlabeled = any(label is None for _, _, label in rest)
    parts = [f"{classes} more classes"] * (classes > 0) + ["no label"] * unlabeled
    return ", ".join(parts)


def _series(name: str, points: _Points, color: int) -> Series:
    return Series(name, [p[0] for p in points], [p[1] for p in points], "points", color)


def _panel(row: Row, series: tuple[Series, ...]) -> Panel:
    what = row["set"] if row["against"] is None else f"{row['set']} on {row['against']}"
    title, where = shortened(what, _LONGEST), shortened(row["layer"], _LONGEST)
    if row["entanglement"] is not None:
        title += f": entanglement {row['entanglement']:.3g}"
        where += (
            f": 1-NN {100 * row['knn_accuracy']:.1f} %, "
            f"in the map {100 * row['map_knn_accuracy']:.1f} %"
        )
    return Panel(title, series, x_label=where, bare=True)
