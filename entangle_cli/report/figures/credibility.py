"""How far credibility can be relied on, and how it is distributed over sets."""

from collections.abc import Sequence
from dataclasses import replace

from entangle_cli.report.figures.figure import ReportFigure, histogram, histogram_rows
from entangle_cli.report.panels import Panel, Series
from entangle_cli.report.runs import Run, number, text, typed
from entangle_cli.results import Row
from entangle_cli.text import file_stem

BINS = 20


def credibility_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Reliability and histograms of the DkNN credibility."""
    judged = [run for run in runs if run.rows("dknn")]
    return [figure for make in (_reliability, _histograms) for figure in make(judged)]


def _reliability(runs: Sequence[Run]) -> list[ReportFigure]:
    panels, rows = [], []
    for run in runs:
        table = run.table("dknn-reliability")
        rows += [{"run": run.name} | typed(row, ("set",)) for row in table]
        sets = list(dict.fromkeys(text(row.get("set")) for row in table))
        lines = [_line(table, name, color) for color, name in enumerate(sets)]
        if any(line.x for line in lines):
            even = Series("accuracy = credibility", [0.0, 1.0], [0.0, 1.0], color=9, dashed=True)
            panels.append(
                Panel(
                    run.name,
                    (*lines, even),
                    x_label="credibility",
                    y_label="DkNN accuracy",
                    x_range=(0.0, 1.0),
                    y_range=(0.0, 1.0),
                )
            )
    if not panels:
        return []
    return [
        ReportFigure(
            key="reliability",
            title="Credibility against accuracy",
            caption="Inputs in ten groups by credibility. One that can be relied on rises "
            "with the accuracy; a group without inputs has no mark.",
            alt="Accuracy of the deep k-nearest neighbors by credibility, a line for each set",
            panels=tuple(panels),
            rows=tuple(rows),
            series="set",
        )
    ]


def _line(table: Sequence[Row], name: str, color: int) -> Series:
    found = []
    for row in table:
        x, y, count = (number(row.get(key)) for key in ("credibility", "accuracy", "count"))
        if text(row.get("set")) == name and x is not None and y is not None:
            said = f"{name}: accuracy {100 * y:.1f} % of {count:.0f} at credibility {x:.2f}"
            found.append((x, y, said))
    return Series(
        name,
        [x for x, _, _ in found],
        [y for _, y, _ in found],
        color=color,
        names=[said for _, _, said in found],
    )


def _histograms(runs: Sequence[Run]) -> list[ReportFigure]:
    panels, rows = [], []
    for run in runs:
        series = []
        for color, row in enumerate(run.rows("dknn")):
            name = text(row.get("set"))
            column = run.columns(f"dknn-{file_stem(name)}", ["credibility"]).get("credibility", ())
            values = [value for value in map(number, column) if value is not None]
            if not values:
                continue
            bins = {"low": 0.0, "high": 1.0, "bins": BINS}
            series.append(histogram(name, values, color=color, **bins))
            rows += histogram_rows(values, run=run.name, set=name, **bins)
        if series:
            panels.append(
                Panel(
                    run.name, tuple(series), "credibility", "share of the set", x_range=(0.0, 1.0)
                )
            )
    if not panels:
        return []
    # one scale for all runs
    top = 1.05 * max(y for panel in panels for one in panel.series for y in one.y)
    panels = [replace(panel, y_range=(0.0, top)) for panel in panels]
    return [
        ReportFigure(
            key="credibility",
            title="Credibility of the sets",
            caption="Clean inputs of the kind that was trained on should be spread over all "
            "credibilities; adversarial and foreign ones should gather near 0.",
            alt="Histograms of the credibility, an outline for each set",
            panels=tuple(panels),
            rows=tuple(rows),
            series="set",
        )
    ]
