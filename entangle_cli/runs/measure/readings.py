"""The numbers of ``entangle measure`` by training step and name, as experiment trackers take them.

A reading is ``entanglement/<layer>``, ``snnl/<layer>``, ``temperature/<layer>`` or ``accuracy`` at
a training step; where several series are measured, ``<measure>/<series>/<layer>``. A checkpoint
whose name tells no step has its place in the order. What has no number is left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entangle_cli.models.series import order_checkpoints
from entangle_cli.results import Result

Readings = dict[int, dict[str, float]]
MEASURES = ("entanglement", "snnl", "temperature")


def readings(result: Result, paths: Mapping[str, Path], *, only: str | None = None) -> Readings:
    """What a result says, of one model or of all, by step and name.

    ``paths``: the files behind the models' names.
    """
    rows = _of(result)
    place = {name: number for number, name in enumerate(dict.fromkeys(r["model"] for r in rows))}
    families = {c.path: Path(c.family).name for c in order_checkpoints(list(paths.values()))}
    several = len(set(families.values())) > 1
    found: Readings = {}
    for row in rows:
        name = row["model"]
        if only not in (None, name):
            continue
        series = families[paths[name]] if several and name in paths else ""
        where = "/".join(part for part in (series, row.get("layer")) if part)
        values = found.setdefault(place[name] if row["step"] is None else row["step"], {})
        for measure in (*MEASURES, "accuracy"):
            if row.get(measure) is not None:
                values[f"{measure}/{where}" if where else measure] = float(row[measure])
    return found


def _of(result: Result) -> list[dict[str, Any]]:
    return [*result.models, *result.rows]
