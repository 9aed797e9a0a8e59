"""Layers over checkpoints, or over depth where there is one checkpoint; classes that mix."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from entangle_cli.report.figures.figure import ReportFigure
from entangle_cli.report.panels import Matrix, Panel, Series
from entangle_cli.report.runs import Run, number, text, typed
from entangle_cli.results import Row

_COLUMNS = ("model", "step", "layer", "dim", "n", "snnl", "temperature", "entanglement", "boundary")
_WORDS = ("model", "layer", "name_a", "name_b", "boundary")
# matrices beyond this number of layers make the page heavy
_MOST_MATRICES = 40


def layer_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Entanglement, temperature and 1-NN accuracy of every layer, a panel per run."""
    measured = [run for run in runs if run.rows("measure")]
    if not measured:
        return []
    layers = _in_order(row["layer"] for run in measured for row in _rows(run))
    rows = tuple(
        {"run": run.name} | {name: row.get(name) for name in (*_COLUMNS, "knn_accuracy")}
        for run in measured
        for row in run.rows("measure")
    )
    series = partial(_figure, measured, layers, rows)
    return [
        series(
            "entanglement",
            "Entanglement",
            "Near 1 the classes lie mixed in a layer, near 0 they are apart.",
        ),
        series(
            "temperature",
            "Temperature",
            "The temperature at which the loss is lowest: a squared distance within which points "
            "count as neighbors. Layers without one (0 or infinity) have no mark.",
        ),
        series(
            "knn_accuracy",
            "1-NN accuracy",
            "Share of the points whose nearest other point has their class.",
        ),
    ]


def pair_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Which classes mix with which, a matrix per layer of the last checkpoint of every run."""
    panels: list[Matrix] = []
    rows: list[Row] = []
    for run in runs:
        # pairs of an earlier call may have been left behind
        measured = set(_checkpoints(run))
        table = [row for row in run.table("measure-pairs") if text(row.get("model")) in measured]
        last = [row for row in table if row.get("model") == table[-1].get("model")]
        rows += [{"run": run.name} | typed(row, _WORDS) for row in last]
        for layer in _in_order(text(row.get("layer")) for row in last):
            chosen = [row for row in last if text(row.get("layer")) == layer]
            title = layer if len(runs) == 1 else f"{run.name}: {layer}"
            panels.append(replace(_matrix(title, chosen), group=layer))
    if not panels:
        return []
    known = [v for panel in panels for cells in panel.values for v in cells if v is not None]
    # one scale for all layers and runs, so that their colors can be compared
    top = max(known, default=0.0) or 1.0
    return [
        ReportFigure(
            key="class-pairs",
            title="Classes that mix",
            caption="Entanglement of two classes alone at the last checkpoint: near 1 a layer does "
            f"not tell them apart. Colors go from 0 to {top:.2f}, the largest of all.",
            alt="Matrix of the entanglement of every pair of classes",
            panels=tuple(replace(panel, top=top) for panel in panels[:_MOST_MATRICES]),
            rows=tuple(rows),
            choose="layer",
        )
    ]


def _figure(
    runs: Sequence[Run], layers: list[str], rows: tuple[Row, ...], value: str, title: str, how: str
) -> ReportFigure:
    deep = all(len(_checkpoints(run)) < 2 for run in runs)
    span = _span(runs, value)
    panels = tuple(
        replace(
            _profile(run, value) if deep else _series(run, layers, value),
            y_label=title if title[0].isdigit() else title.lower(),
            log_y=_log(value),
            y_range=span,
        )
        for run in runs
    )
    over = "layers, from the input to the output" if deep else "checkpoints"
    return ReportFigure(
        key=value.replace("_", "-"),
        title=title,
        caption=how,
        alt=f"{title} over {over}, for {', '.join(run.name for run in runs)}",
        panels=panels,
        rows=rows,
        series="" if deep else "layer",
    )


def _series(run: Run, layers: list[str], value: str) -> Panel:
    rows = _rows(run)
    order = {model: place for place, model in enumerate(_checkpoints(run))}
    stepped = all(number(row.get("step")) is not None for row in rows)
    lines = []
    for color, layer in enumerate(layers):
        found = [(row, number(row.get(value))) for row in rows if row["layer"] == layer]
        shown = [(row, y) for row, y in found if y is not None and (y > 0 or not _log(value))]
        x = [number(row["step"]) if stepped else float(order[row["model"]]) for row, _ in shown]
        names = [f"{layer}, {row['model']}: {y:.4g}" for row, y in shown]
        lines.append(Series(layer, x, [y for _, y in shown], color=color, names=names))
    return Panel(
        run.name,
        tuple(lines),
        x_label="step" if stepped else "checkpoint",
        x_names=() if stepped else tuple(order),
    )


def _profile(run: Run, value: str) -> Panel:
    rows = _rows(run)
    shown = [(place, number(row.get(value))) for place, row in enumerate(rows)]
    shown = [(place, y) for place, y in shown if y is not None and (y > 0 or not _log(value))]
    names = [f"{rows[place]['layer']}: {y:.4g}" for place, y in shown]
    line = Series("", [float(p) for p, _ in shown], [y for _, y in shown], names=names)
    return Panel(
        run.name,
        (line,),
        x_label="",
        x_names=tuple(row["layer"] for row in rows),
    )


def _matrix(title: str, rows: Sequence[Row]) -> Matrix:
    names: dict[str, str] = {}
    values: dict[tuple[str, str], float | None] = {}
    for row in rows:
        pair = tuple(text(row.get(f"class_{side}")) for side in "ab")
        for side, one in zip("ab", pair, strict=True):
            names[one] = text(row.get(f"name_{side}")) or one
        values[pair] = values[pair[::-1]] = number(row.get("entanglement"))
    order = sorted(names, key=lambda one: (number(one) is None, number(one) or 0.0, one))
    cells = tuple(tuple(values.get((a, b)) for b in order) for a in order)
    return Matrix(title, tuple(names[one] for one in order), cells)


def _rows(run: Run) -> list[Row]:
    return [
        row | {"layer": text(row.get("layer")), "model": text(row.get("model"))}
        for row in run.rows("measure")
    ]


def _checkpoints(run: Run) -> list[str]:
    return _in_order(row["model"] for row in _rows(run))


def _in_order(values: object) -> list[str]:
    return list(dict.fromkeys(values))


def _span(runs: Sequence[Run], value: str) -> tuple[float, float] | None:
    """The same for all runs: from 0, or the least for a logarithm, to a little above the largest.

    None for a logarithm without numbers.
    """
    found = [number(row.get(value)) for run in runs for row in run.rows("measure")]
    known = [y for y in found if y is not None and (y > 0 or not _log(value))]
    if _log(value):
        return (min(known) / 1.3, max(known) * 1.3) if known else None
    top = max(known, default=1.0)
    return 0.0, min(1.0, max(0.05, 1.1 * top)) if top <= 1.0 else 1.1 * top


def _log(value: str) -> bool:
    return value == "temperature"
