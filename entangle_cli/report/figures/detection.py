"""Out-of-distribution detectors: ROC curves and score histograms."""

from collections.abc import Iterator, Sequence

import numpy as np

from entangle_cli.report.figures.figure import ReportFigure, histogram, histogram_rows
from entangle_cli.report.panels import Panel, Series
from entangle_cli.report.runs import Run, number, text
from entangle_cli.results import Row

# detectors that are drawn: the best, and no more than can be told apart
MOST_CURVES = 6
# points of a curve
_RESOLUTION = 200
BINS = 30

Scores = dict[str, np.ndarray]
# a panel and the numbers in it
Shown = tuple[Panel, list[Row]]


def detection_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """ROC curves of the best detectors and the scores of the best one, a panel per out set."""
    best = {run.name: _best(run) for run in runs}
    every = [row for _, rows in best.values() for row in rows]
    # a detector and a set have their color in every panel
    colors = {
        kind: {name: place for place, name in enumerate(dict.fromkeys(map(of, every)))}
        for kind, of in (("detector", _column), ("out", lambda row: text(row["out"])))
    }
    found = [
        one for run in runs for one in _of_run(run, *best[run.name], colors, alone=len(runs) == 1)
    ]
    curves = ReportFigure(
        key="roc",
        title="Out-of-distribution detection",
        caption=f"The {MOST_CURVES} detectors that are best on average, with their AUROC: the "
        "share of foreign inputs that is found over the share of known ones that is taken for "
        "foreign.",
        alt="ROC curves, a line for each detector",
        panels=tuple(panel for (panel, _), _ in found if panel.series),
        rows=tuple(row for (_, rows), _ in found for row in rows),
        series="detector",
    )
    histograms = ReportFigure(
        key="scores",
        title="Scores of the best detector",
        caption="Higher scores are more foreign; what overlaps cannot be told apart. The outermost "
        "bins hold everything beyond them.",
        alt="Histograms of the best detector's scores, known inputs against foreign ones",
        panels=tuple(panel for _, (panel, _) in found if panel.series),
        rows=tuple(row for _, (_, rows) in found for row in rows),
        series="set",
    )
    return [figure for figure in (curves, histograms) if figure.panels]


def _of_run(
    run: Run, inside: str, rows: Sequence[Row], colors: dict[str, dict[str, int]], *, alone: bool
) -> Iterator[tuple[Shown, Shown]]:
    """Curves and histogram of each out set of a run."""
    names = list(dict.fromkeys(_column(row) for row in rows))
    scores = _scores(run, names) if names else {}
    # rows of means over sets have no scores of their own
    outside = [out for out in dict.fromkeys(text(row["out"]) for row in rows) if out in scores]
    for out in outside:
        title = out if alone else f"{run.name}: {out}"
        about = {"run": run.name, "out": out}
        shown = [row for row in rows if text(row["out"]) == out]
        curves, points = _roc(title, shown, scores, (inside, out), colors["detector"])
        drawn = {inside: 0, out: 1 + colors["out"][out]}
        outlines, bars = _histogram(title, _column(shown[0]), scores, drawn)
        yield (
            (curves, [about | row for row in points]),
            (outlines, [about | row for row in bars]),
        )


def _best(run: Run) -> tuple[str, list[Row]]:
    """The in-distribution set, and the rows of the detectors that are best on average."""
    rows = [row for row in run.rows("ood") if number(row.get("auroc")) is not None]
    if not rows:
        return "", []
    inside = text(rows[0].get("in"))
    means: dict[str, list[float]] = {}
    for row in rows:
        means.setdefault(_column(row), []).append(number(row["auroc"]))
    best = sorted(means, key=lambda name: -float(np.mean(means[name])))[:MOST_CURVES]
    return inside, sorted(
        (row for row in rows if _column(row) in best), key=lambda row: best.index(_column(row))
    )


def _column(row: Row) -> str:
    """The column of ``ood-scores.csv`` that holds a detector's scores."""
    detector, layer = text(row.get("detector")), text(row.get("layer"))
    return detector if layer in ("", "logits", "features") else f"{detector}@{layer}"


def _scores(run: Run, names: Sequence[str]) -> dict[str, Scores]:
    """Scores by set and detector; a score that is missing is NaN."""
    columns = run.columns("ood-scores", ["set", *names])
    sets = np.array([text(name) for name in columns.get("set", ())], dtype=object)
    found: dict[str, Scores] = {}
    for name in names:
        values = [number(cell) for cell in columns.get(name, ())]
        if len(values) != len(sets):
            continue
        array = np.array([np.nan if value is None else value for value in values])
        for one in dict.fromkeys(sets.tolist()):
            found.setdefault(one, {})[name] = array[sets == one]
    return found


def _roc(
    title: str,
    rows: Sequence[Row],
    scores: dict[str, Scores],
    sets: tuple[str, str],
    colors: dict[str, int],
) -> Shown:
    series, points = [], []
    for row in rows:
        name = _column(row)
        known, foreign = (scores.get(one, {}).get(name) for one in sets)
        if known is None or foreign is None:
            continue
        false, true = roc_curve(known, foreign)
        said = [
            f"{name}: {100 * y:.1f} % found at {100 * x:.1f} % false alarms"
            for x, y in zip(false, true, strict=True)
        ]
        auroc = f"{number(row['auroc']):.4f}"
        series.append(Series(name, false, true, color=colors[name], names=said, note=auroc))
        points += [
            {"detector": name, "false_positive": x, "true_positive": y}
            for x, y in zip(false, true, strict=True)
        ]
    ranges = {"x_range": (0.0, 1.0), "y_range": (0.0, 1.0)}
    return Panel(title, tuple(series), "known taken for foreign", "foreign found", **ranges), points


def roc_curve(known: np.ndarray, foreign: np.ndarray) -> tuple[list[float], list[float]]:
    """False and true positive rates at some hundred thresholds, from (0, 0) to (1, 1)."""
    known, foreign = (np.sort(values[np.isfinite(values)]) for values in (known, foreign))
    if not len(known) or not len(foreign):
        return [0.0, 1.0], [0.0, 1.0]
    both = np.unique(np.concatenate([known, foreign]))
    # ties are passed together, so thresholds are values
    chosen = both[np.unique(np.linspace(0, len(both) - 1, _RESOLUTION).astype(int))][::-1]
    false = 1 - np.searchsorted(known, chosen, side="left") / len(known)
    true = 1 - np.searchsorted(foreign, chosen, side="left") / len(foreign)
    return [0.0, *false.tolist(), 1.0], [0.0, *true.tolist(), 1.0]


def _histogram(title: str, name: str, scores: dict[str, Scores], colors: dict[str, int]) -> Shown:
    """Scores of two sets with their colors, the known one first."""
    values = {one: scores.get(one, {}).get(name, np.empty(0)) for one in colors}
    values = {one: found[np.isfinite(found)] for one, found in values.items()}
    pooled = np.concatenate([*values.values()])
    if not len(pooled):
        return Panel(title, ()), []
    low, high = _range(next(iter(values.values())), pooled)
    bins = {"low": low, "high": high, "bins": BINS}
    series = [histogram(one, found, color=colors[one], **bins) for one, found in values.items()]
    rows = [
        row
        for one, found in values.items()
        for row in histogram_rows(found, detector=name, set=one, **bins)
    ]
    top = 1.05 * max(y for one in series for y in one.y)
    return Panel(title, tuple(series), name, "share of the set", y_range=(0.0, top)), rows


def _range(known: np.ndarray, pooled: np.ndarray) -> tuple[float, float]:
    """Where scores are shown: known ones in several bins, however far foreign ones reach.

    That is all but the outermost 0.2 % of both, and no farther from the middle 98 % of the known
    ones than three times their width.
    """
    low, high = np.quantile(pooled, [0.002, 0.998])
    if len(known):
        least, most = np.quantile(known, [0.01, 0.99])
        room = 3 * (most - least)
        if room > 0:
            low, high = max(low, least - room), min(high, most + room)
    return float(low), float(high) if high > low else float(low) + 1.0
