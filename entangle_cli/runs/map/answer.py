"""The result of ``entangle map``: rows, coordinates, table and figure."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entangle_cli.results import Result, Row
from entangle_cli.runs.map.found import MapFound, MappedSet
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.tables import new_table, number, percent, plain_text

if TYPE_CHECKING:
    from rich.table import Table

_MEASURED = ("entanglement", "snnl", "temperature", "ceiling", "boundary", "knn_accuracy")


def answer(found: MapFound) -> Result:
    """Everything that is written or printed as JSON and CSV; the coordinates are ``map.csv``."""
    result = Result(command="map", models=[found.model], provenance=dict(found.provenance))
    result.notes = list(dict.fromkeys(found.notes))
    result.rows = [_row(found, one) for one in found.sets]
    parts = [_columns(one) for one in found.sets]
    result.columns["map"] = {key: [v for part in parts for v in part[key]] for key in parts[0]}
    return result


def _row(found: MapFound, one: MappedSet) -> Row:
    row: Row = {
        "set": one.sampled.name,
        "against": one.against,
        "n": len(one.coordinates),
        "layer": found.layer,
        "dim": found.dim,
    }
    row |= {key: getattr(one.in_layer, key, None) for key in _MEASURED}
    return row | {"map_knn_accuracy": one.in_map}


def _columns(one: MappedSet) -> dict[str, list[Any]]:
    count = len(one.coordinates)
    labels = one.labels if one.labels is not None else np.full(count, -1)
    model = [None] * count if one.prediction is None else one.prediction.tolist()
    return {
        "set": [one.sampled.name] * count,
        "index": one.sampled.rows.tolist(),
        "id": [str(identifier) for identifier in one.sampled.part.ids],
        "label": [None if label < 0 else label for label in labels.tolist()],
        "model_prediction": model,
        "x": one.coordinates[:, 0].tolist(),
        "y": one.coordinates[:, 1].tolist(),
    }


def map_table(result: Result) -> "Table":
    """A row per set: what is told apart, how entangled it is, 1-NN accuracy in layer and map."""
    layer, model = result.rows[0]["layer"], result.models[0]["model"]
    table = new_table(f"Map of {layer} of {model}: entanglement 0 apart, 1 mixed")
    for heading in ("set", "told apart from"):
        table.add_column(heading)
    for heading in ("n", "entanglement", "1-NN acc in layer", "1-NN acc in map"):
        table.add_column(heading, justify="right")
    table.add_column("boundary")
    for row in result.rows:
        table.add_row(
            plain_text(row["set"]),
            plain_text(row["against"] or "(its classes)"),
            str(row["n"]),
            number(row["entanglement"]),
            percent(row["knn_accuracy"]),
            percent(row["map_knn_accuracy"]),
            row["boundary"] or "-",
        )
    return table


def draw_map(result: Result, folder: Path, terminal: Terminal) -> list[Path]:
    """``map.svg`` and ``map.png``; without matplotlib a note says so."""
    if find_spec("matplotlib") is None:
        terminal.note("for the picture of the map: pip install 'entangle-cli[report]'")
        return []
    from entangle_cli.report.drawing import draw
    from entangle_cli.report.maps import map_figure

    paths = [folder / "map.svg", folder / "map.png"]
    description = map_figure(result.rows, result.columns["map"], result.provenance["classes"])
    draw(description, paths)
    return paths
