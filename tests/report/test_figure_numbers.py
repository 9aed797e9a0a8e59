"""The CSV of a figure has its numbers: every panel is built anew from the file alone."""

import csv
import io
import json

import numpy as np
import pytest

from entangle_cli.report.panels import Matrix
from entangle_cli.report.runs import read_runs
from entangle_cli.report.sections import sections_of
from entangle_cli.results import rows_to_csv

KEYS = [
    "entanglement", "temperature", "knn-accuracy", "class-pairs", "map", "reliability",
    "credibility", "roc", "scores",
]  # fmt: skip


@pytest.fixture
def figures(write_run):
    """Figures of two runs that differ, by key."""
    second = write_run("entangled")
    result = json.loads((second / "measure.json").read_text())
    for row in result["rows"]:
        row["entanglement"] /= 2
    (second / "measure.json").write_text(json.dumps(result))
    runs = read_runs([write_run("baseline"), second])
    return {figure.key: figure for section in sections_of(runs) for figure in section.figures}


def lines(figure) -> list[dict[str, str]]:
    """The figure's CSV file, read again."""
    return list(csv.DictReader(io.StringIO(rows_to_csv(figure.rows))))


def drawn(panel) -> dict[str, list[tuple[float, float]]]:
    return {s.name: list(zip(s.x, s.y, strict=True)) for s in panel.series}


def by(rows, *keys):
    """Rows in groups of equal ``keys``, in order."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def steps(rows) -> list[tuple[float, float]]:
    """The outline of a histogram from its bins."""
    corners = [(float(rows[0]["from"]), 0.0)]
    for row in rows:
        corners += [(float(row[end]), float(row["share"])) for end in ("from", "to")]
    return [*corners, (corners[-1][0], 0.0)]


def test_every_figure_has_a_test_here(figures):
    assert list(figures) == KEYS


@pytest.mark.parametrize("key", KEYS[:3])
def test_lines_over_steps(figures, key):
    column = key.replace("-", "_")
    groups = by(lines(figures[key]), "run", "layer")
    for panel in figures[key].panels:
        for layer, points in drawn(panel).items():
            rows = [row for row in groups[panel.title, layer] if row[column]]
            assert points == [(float(row["step"]), float(row[column])) for row in rows]
            assert len(points) == (2 if key == "temperature" else 3)


def test_matrices(figures):
    groups = by(lines(figures["class-pairs"]), "run", "layer")
    assert len(figures["class-pairs"].panels) == len(groups) == 4
    for panel, ((run, layer), rows) in zip(
        figures["class-pairs"].panels, groups.items(), strict=True
    ):
        assert isinstance(panel, Matrix)
        assert (panel.title, panel.group) == (f"{run}: {layer}", layer)
        values = {}
        for row in rows:
            value = float(row["entanglement"]) if row["entanglement"] else None
            values[row["name_a"], row["name_b"]] = values[row["name_b"], row["name_a"]] = value
        expected = [[values.get((a, b)) for b in panel.names] for a in panel.names]
        assert [list(cells) for cells in panel.values] == expected


def test_maps(figures):
    groups = by(lines(figures["map"]), "run")
    for panel in figures["map"].panels:
        shown = {(x, y) for points in drawn(panel).values() for x, y in points}
        rows = groups[(panel.title,)]
        assert shown == {(float(row["x"]), float(row["y"])) for row in rows}
        assert sum(len(one.x) for one in panel.series) == len(rows) == 8


def test_reliability(figures):
    groups = by(lines(figures["reliability"]), "run", "set")
    for panel in figures["reliability"].panels:
        points = drawn(panel)
        assert points.pop("accuracy = credibility") == [(0, 0), (1, 1)]
        for name, found in points.items():
            rows = [row for row in groups[panel.title, name] if row["accuracy"]]
            assert found == [(float(r["credibility"]), float(r["accuracy"])) for r in rows]


def test_credibilities(figures):
    groups = by(lines(figures["credibility"]), "run", "set")
    for panel in figures["credibility"].panels:
        for name, points in drawn(panel).items():
            rows = groups[panel.title, name]
            assert points == pytest.approx(np.array(steps(rows)))
            # the inputs of `write_run` have credibilities 0, 1/8, ... 7/8
            filled = [row for row in rows if float(row["share"])]
            assert [float(row["share"]) for row in filled] == [1 / 8] * 8
            assert all(
                float(row["from"]) <= i / 8 < float(row["to"]) for i, row in enumerate(filled)
            )


def test_curves(figures):
    groups = by(lines(figures["roc"]), "run", "out", "detector")
    for panel in figures["roc"].panels:
        run, out = panel.title.split(": ")
        assert out == "odd"
        for one in panel.series:
            rows = groups[run, out, one.name]
            points = [(float(r["false_positive"]), float(r["true_positive"])) for r in rows]
            assert list(zip(one.x, one.y, strict=True)) == points
            if one.name == "knn@fc":
                assert np.trapezoid(one.y, one.x) == pytest.approx(float(one.note)) == 1.0


def test_scores(figures):
    groups = by(lines(figures["scores"]), "run", "out", "set")
    panels = figures["scores"].panels
    assert [panel.title for panel in panels] == ["baseline: odd", "entangled: odd"]
    for panel in panels:
        for name, points in drawn(panel).items():
            rows = groups[*panel.title.split(": "), name]
            assert points == pytest.approx(np.array(steps(rows)))
            assert sum(float(row["share"]) for row in rows) == pytest.approx(1)


def test_numbers_of_a_logarithmic_axis_are_written_plainly(figures):
    """matplotlib's own are mathematics, which would be shown as it is typed."""
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from entangle_cli.report import drawing

    axes = Figure().subplots()
    panel = figures["temperature"].panels[0]
    with matplotlib.rc_context(drawing._SETTINGS):
        drawing._draw_panel(axes, panel)
        axes.figure.canvas.draw()
    assert panel.log_y
    words = [tick.get_text() for tick in axes.get_yticklabels(which="both") if tick.get_text()]
    assert [float(word) for word in words] == sorted(
        10.0 ** round(np.log10(float(w))) for w in words
    )
    assert len(words) >= 2
