"""Panels as inline SVG: colors by class (``c0`` to ``c12``), so that the page's theme decides.

A drawing carries no style and no script. ``Drawing.points`` tells the page's script what lies
where, in the drawing's own units; names are escaped here, and shown by the script as text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from entangle_cli.report.panels import Matrix, Panel, Series
from entangle_cli.report.ticks import Axis, axis, written
from entangle_cli.text import plain

WIDTH, HEIGHT = 480, 320
# of a map, which has no axes and needs the room
MAP_HEIGHT = 420
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 44
COLORS = 13
_CHARACTER = 6.2
_LONGEST_NAME = 22
# colors of a matrix, and the room beside it for what they mean
LEVELS = 10
_SCALE_ROOM = 54
# a line with this many points gets no dots
_DOTS = 40

Point = tuple[float, float, str]


@dataclass(frozen=True)
class Drawing:
    """Markup of one panel and, per series, ``(x, y, what is said of it)`` of its points."""

    svg: str
    points: tuple[tuple[Point, ...], ...] = ()


def draw_panel(panel: Panel, label: str, numbers: Mapping[str, int]) -> Drawing:
    """A pair of axes with its series.

    ``label`` is what a screen reader says; ``numbers`` are those of the series by name, the same in
    every panel of a figure.
    """
    height = MAP_HEIGHT if panel.bare else HEIGHT
    bottom = height - (12 if panel.bare else BOTTOM) - _room_for_names(panel)
    x, y = _map_axes(panel, bottom) if panel.bare else _axes(panel, bottom)
    parts = [*_frame(panel, x, y, bottom)]
    points = []
    noted = [series for series in panel.series if series.note]
    for series in panel.series:
        places = _places(series, x, y)
        points.append(tuple(_said(panel, series, places)))
        drawn = [*_series(series, places, x, y)]
        if series.note:
            line = bottom - 10 - 15 * (len(noted) - 1 - noted.index(series))
            name = f"{_short(series.name)} {series.note}"
            drawn.append(_label(WIDTH - RIGHT - 8, line, name, "end", kind="note"))
        parts.append(
            f'<g class="series c{series.color % COLORS}" data-series="{numbers[series.name]}">'
            f"{''.join(drawn)}</g>"
        )
    return Drawing(_svg(parts, label, height), tuple(points))


def draw_matrix(matrix: Matrix, label: str) -> Drawing:
    """Cells colored by their number, with the number in it where there is room."""
    count = max(1, len(matrix.names))
    names = [_short(name) for name in matrix.names]
    left = 12 + _CHARACTER * max(map(len, names), default=0)
    size = min(40.0, (WIDTH - left - RIGHT - _SCALE_ROOM) / count)
    top = TOP + 8
    height = top + size * count + left
    parts = [_title(matrix.title), *_color_scale(matrix.top, top, size * count)]
    points: list[Point] = []
    for row, (name, values) in enumerate(zip(matrix.names, matrix.values, strict=True)):
        y = top + row * size
        parts.append(_label(left - 6, y + size / 2 + 4, names[row], "end"))
        x = left + row * size + size / 2 + 4
        parts.append(_label(x, top + size * count + 8, names[row], "end", turned=True))
        for column, value in enumerate(values):
            if value is None:
                continue
            place = left + column * size
            level = max(0, min(LEVELS - 1, int(LEVELS * value / matrix.top)))
            parts.append(
                f'<rect class="m{level}" x="{place:.1f}" y="{y:.1f}" width="{size:.1f}" '
                f'height="{size:.1f}"/>'
            )
            if size >= 26:
                parts.append(
                    f'<text class="cell t{level}" x="{place + size / 2:.1f}" '
                    f'y="{y + size / 2 + 4:.1f}">{value:.2f}</text>'
                )
            said = f"{plain(name)} and {plain(matrix.names[column])}: {value:.3f}"
            points.append((round(place + size / 2, 1), round(y + size / 2, 1), said))
    return Drawing(_svg(parts, label, height), (tuple(points),))


def _color_scale(most: float, top: float, height: float) -> Iterator[str]:
    """The colors from 0 at the bottom to ``most``, at the right edge."""
    step = height / LEVELS
    left = WIDTH - RIGHT - 36
    for level in range(LEVELS):
        y = top + height - (level + 1) * step
        yield f'<rect class="m{level}" x="{left}" y="{y:.1f}" width="10" height="{step:.1f}"/>'
    for share in (0.0, 0.5, 1.0):
        place = top + height - share * (height - 8)
        yield _label(left + 14, place, f"{share * most:.2g}", "start")


def _map_axes(panel: Panel, bottom: float) -> tuple[Axis, Axis]:
    """Equal units on both axes, the points in the middle."""
    left, top = 12, TOP
    spans = []
    for values in ([v for s in panel.series for v in s.x], [v for s in panel.series for v in s.y]):
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        spans.append(((low + high) / 2, 1.04 * (high - low) or 1.0))
    (x, wide), (y, tall) = spans
    across, down = WIDTH - RIGHT - left, bottom - top
    unit = max(wide / across, tall / down)
    return (
        Axis(x - unit * across / 2, x + unit * across / 2, left, WIDTH - RIGHT),
        Axis(y - unit * down / 2, y + unit * down / 2, bottom, top),
    )


def _axes(panel: Panel, bottom: float) -> tuple[Axis, Axis]:
    xs = [value for series in panel.series for value in series.x]
    ys = [value for series in panel.series for value in (*series.y, *(series.high or ()))]
    if panel.x_names:
        xs = [-0.5, len(panel.x_names) - 0.5]
    x = _ranged(panel.x_range, xs, LEFT, WIDTH - RIGHT, log=panel.log_x)
    y = _ranged(panel.y_range, ys, bottom, TOP, log=panel.log_y)
    return x, y


def _ranged(
    given: tuple[float, float] | None,
    values: list[float],
    start: float,
    stop: float,
    *,
    log: bool,
) -> Axis:
    if given is not None:
        return Axis(*given, start, stop, log)
    return axis(values, start, stop, log=log)


def _room_for_names(panel: Panel) -> float:
    longest = max((len(_short(name)) for name in panel.x_names), default=0)
    return max(0.0, longest * _CHARACTER * 0.8 - 16)


def _frame(panel: Panel, x: Axis, y: Axis, bottom: float) -> Iterator[str]:
    yield _title(panel.title)
    if panel.bare:
        return
    for value in y.ticks():
        place = y.at(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" {_same("y", place)}/>'
        yield _label(LEFT - 6, place + 4, written(value), "end")
    if panel.x_names:
        for place, name in enumerate(panel.x_names):
            yield _label(x.at(place) + 4, bottom + 12, _short(name), "end", turned=True)
    else:
        for value in x.ticks():
            place = x.at(value)
            yield f'<line class="grid" y1="{TOP}" y2="{bottom:.1f}" {_same("x", place)}/>'
            yield _label(place, bottom + 16, written(value), "middle")
    yield f'<path class="axis" d="M{LEFT} {TOP}V{bottom:.1f}H{WIDTH - RIGHT}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield _label(middle, HEIGHT - 8, panel.x_label, "middle", kind="name")
    across = f'transform="translate(12 {(TOP + bottom) / 2:.1f}) rotate(-90)"'
    yield f'<text class="name" text-anchor="middle" {across}>{_safe(panel.y_label)}</text>'


def _places(series: Series, x: Axis, y: Axis) -> list[tuple[float, float]]:
    return [(round(x.at(a), 1), round(y.at(b), 1)) for a, b in zip(series.x, series.y, strict=True)]


def _series(
    series: Series, places: Sequence[tuple[float, float]], x: Axis, y: Axis
) -> Iterator[str]:
    if not places:
        return
    if series.kind == "points":
        # one path for a cloud: ten thousand elements would make the page slow
        yield f'<path class="cloud" d="{"".join(f"M{a:g} {b:g}h0" for a, b in places)}"/>'
        return
    if series.low is not None and series.high is not None:
        upper = [f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in zip(series.x, series.high, strict=True)]
        lower = [f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in zip(series.x, series.low, strict=True)]
        yield f'<path class="band" d="M{"L".join(upper + lower[::-1])}Z"/>'
    dashed = " dashed" * series.dashed
    yield f'<path class="line{dashed}" d="M{"L".join(f"{a:g} {b:g}" for a, b in places)}"/>'
    if len(places) <= _DOTS and not series.dashed:
        yield "".join(f'<circle cx="{a:g}" cy="{b:g}" r="3"/>' for a, b in places)


def _said(
    panel: Panel, series: Series, places: Sequence[tuple[float, float]]
) -> Iterator[tuple[float, float, str]]:
    for number, (a, b) in enumerate(places):
        if series.names:
            said = series.names[number]
        else:
            at = panel.x_names[number] if panel.x_names else written(series.x[number])
            said = f"{series.name}: {series.y[number]:.4g} at {at}"
        yield a, b, plain(said)


def _svg(parts: Sequence[str], label: str, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" tabindex="0" '
        f'aria-label="{escape(plain(label))}">{"".join(parts)}</svg>'
    )


def _title(title: str) -> str:
    return f'<text class="title" x="{LEFT}" y="16">{_safe(title)}</text>'


def _label(
    x: float, y: float, text: str, anchor: str, *, kind: str = "tick", turned: bool = False
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}"'
    if turned:
        place = f'transform="translate({x:.1f} {y:.1f}) rotate(-50)"'
    return f'<text class="{kind}" text-anchor="{anchor}" {place}>{_safe(text)}</text>'


def _same(name: str, place: float) -> str:
    return f'{name}1="{place:.1f}" {name}2="{place:.1f}"'


def _short(name: str) -> str:
    name = plain(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _safe(text: str) -> str:
    return escape(plain(text))
