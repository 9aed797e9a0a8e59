"""The sections of a report: which figures and tables of the runs belong together, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entangle_cli.report.figures.credibility import credibility_figures
from entangle_cli.report.figures.detection import detection_figures
from entangle_cli.report.figures.figure import ReportFigure
from entangle_cli.report.figures.layers import layer_figures, pair_figures
from entangle_cli.report.figures.maps import map_figures
from entangle_cli.report.runs import Run, number, text
from entangle_cli.results import Row

# inputs of a report at most, over all sets
MOST_STRIPS = 60
_IMAGE = "data:image/png;base64,"
_HIDDEN = {"note"}


@dataclass(frozen=True)
class Table:
    """Rows with their columns in order; ``title`` is its heading."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """Figures, then tables, then the least credible inputs."""

    key: str
    title: str
    figures: tuple[ReportFigure, ...] = ()
    tables: tuple[Table, ...] = ()
    strips: tuple[Row, ...] = ()


def sections_of(runs: Sequence[Run]) -> list[Section]:
    """What the runs hold, in the order of the data flow; empty sections are left out."""
    sections = [
        Section(
            "layers",
            "Layers",
            tuple(layer_figures(runs)),
            (*compared(runs), *_tables(runs, "measure")),
        ),
        Section("classes", "Classes that mix", tuple(pair_figures(runs))),
        Section("map", "Map", tuple(map_figures(runs)), _tables(runs, "map")),
        Section("between", "Sets beside each other", (), _tables(runs, "between")),
        Section(
            "credibility",
            "Credibility",
            tuple(credibility_figures(runs)),
            _tables(runs, "dknn"),
            tuple(_strips(runs)),
        ),
        Section("ood", "Out of distribution", tuple(detection_figures(runs)), _tables(runs, "ood")),
        Section("training", "Training", (), _tables(runs, "train")),
    ]
    return [section for section in sections if section.figures or section.tables]


def compared(runs: Sequence[Run]) -> tuple[Table, ...]:
    """Entanglement of the same layer at the same step in the first run and in each other one."""
    first, *others = runs
    known = _by_place(first)
    tables = []
    for other in others:
        rows = []
        for (step, layer), mine in _by_place(other).items():
            theirs = known.get((step, layer))
            if theirs is not None:
                rows.append(
                    {
                        "step": step,
                        "layer": layer,
                        first.name: theirs,
                        other.name: mine,
                        "difference": mine - theirs,
                    }
                )
        if rows:
            title = f"Entanglement of {other.name} against {first.name}"
            tables.append(Table(title, tuple(rows)))
    return tuple(tables)


def _by_place(run: Run) -> dict[tuple[float | None, str], float]:
    found = {}
    for row in run.rows("measure"):
        value = number(row.get("entanglement"))
        if value is not None:
            found[number(row.get("step")), text(row.get("layer"))] = value
    return found


def _tables(runs: Sequence[Run], command: str) -> tuple[Table, ...]:
    return tuple(
        Table(
            f"All numbers of {run.name}" if len(runs) > 1 else "All numbers",
            tuple({k: v for k, v in row.items() if k not in _HIDDEN} for row in run.rows(command)),
        )
        for run in runs
        if run.rows(command)
    )


def _strips(runs: Sequence[Run]) -> list[Row]:
    found = []
    for run in runs:
        kept = run.json("dknn-strips.json")
        inputs = kept.get("inputs") if isinstance(kept, dict) else None
        of = f"{run.name}: " if len(runs) > 1 else ""
        found += [
            strip | {"set": of + strip["set"]} for strip in map(_strip, _dictionaries(inputs))
        ]
    return found[:MOST_STRIPS]


def _strip(one: Row) -> Row:
    return {
        "set": text(one.get("set")),
        "id": text(one.get("id")),
        "label": text(one.get("label")) or "unknown",
        "model": text(one.get("model_prediction")) or "unknown",
        "prediction": text(one.get("prediction")),
        "credibility": text(one.get("credibility")),
        "image": _image(one.get("image")),
        "layers": [
            {
                "name": text(layer.get("layer")),
                "neighbors": [
                    {
                        "id": text(neighbor.get("id")),
                        "label": text(neighbor.get("label")),
                        "distance": text(neighbor.get("distance")),
                        "image": _image(neighbor.get("image")),
                    }
                    for neighbor in _dictionaries(layer.get("neighbors"))
                ],
            }
            for layer in _dictionaries(one.get("layers"))
        ],
    }


def _dictionaries(value: Any) -> list[Row]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _image(value: object) -> str:
    """An embedded PNG, or nothing: no other address gets into the page."""
    good = isinstance(value, str) and value.startswith(_IMAGE)
    return value if good and value[len(_IMAGE) :].isascii() else ""
