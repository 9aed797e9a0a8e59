"""The result of ``entangle ood``: rows, scores, tables."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from entangle_cli.measures.bootstrap import bootstrap_intervals
from entangle_cli.measures.detection import detection
from entangle_cli.measures.ood.fitting import Key, column_name
from entangle_cli.progress import Progress, silent
from entangle_cli.results import Result, Row
from entangle_cli.runs.ood.found import MEAN, OODFound, ScoredSet
from entangle_cli.runs.shared.columns import Joined, label_column, repeated
from entangle_cli.runs.shared.tables import new_table, number, percent, plain_text

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95_in", "fpr95_out", "dtacc")
# rows that a person reads; all of them are in the CSV
_SHOWN = 40


def answer(found: OODFound, *, resamples: int, seed: int, progress: Progress = silent) -> Result:
    """Everything that is written or printed as JSON and CSV; the best mean AUROC comes first."""
    result = Result(command="ood", models=[found.model], provenance=dict(found.provenance))
    result.notes = list(dict.fromkeys(found.notes))
    by_key: dict[Key, list[Row]] = {one.key: [] for one in found.fitted}
    for outside in found.outside:
        for key, row in _rows(found, outside, resamples, seed, progress).items():
            by_key[key].append(row)
    if len(found.outside) > 1:
        for rows in by_key.values():
            rows.append(_mean_row(rows))
    for rows in sorted(by_key.values(), key=_best_first):
        result.rows += rows
    result.notes += _row_notes(result.rows)
    result.columns["ood-scores"] = score_columns(found)
    return result


def _rows(
    found: OODFound, outside: ScoredSet, resamples: int, seed: int, progress: Progress
) -> dict[Key, Row]:
    inside = found.inside
    both = [key for key in inside.scores if key in outside.scores]
    intervals = bootstrap_intervals(
        {key: inside.scores[key] for key in both},
        {key: outside.scores[key] for key in both},
        samples=resamples,
        progress=progress,
        seed=seed,
    )
    rows = {}
    for fitted in found.fitted:
        key = fitted.key
        row: Row = {
            "detector": fitted.name,
            "layer": fitted.place,
            "in": inside.dataset.name,
            "out": outside.dataset.name,
            "n_in": len(inside.dataset),
            "n_out": len(outside.dataset),
        }
        if key in both:
            row |= vars(detection(inside.scores[key], outside.scores[key]))
            row["auroc_low"], row["auroc_high"] = intervals[key]
        else:
            row |= dict.fromkeys((*METRICS, "auroc_low", "auroc_high"))
        row["threshold"] = fitted.threshold
        reasons = (
            f"{one.dataset.name}: {one.reasons[key]}"
            for one in (inside, outside)
            if key in one.reasons
        )
        row["note"] = "; ".join(filter(None, (fitted.note, *reasons)))
        rows[key] = row
    return rows


def _mean_row(rows: Sequence[Row]) -> Row:
    """Plain means over the outside sets; a detector that fails on one has none."""
    first = rows[0]
    mean = {key: first[key] for key in ("detector", "layer", "in")} | {"out": MEAN}
    mean |= {"n_in": first["n_in"], "n_out": sum(row["n_out"] for row in rows)}
    for metric in METRICS:
        values = [row[metric] for row in rows]
        mean[metric] = None if None in values else math.fsum(values) / len(values)
    # an interval of a mean over sets is not the mean of their intervals
    mean |= {"auroc_low": None, "auroc_high": None, "threshold": first["threshold"]}
    without = (row["note"] for row in rows if row["auroc"] is None)
    return mean | {"note": next(without, first["note"])}


def _row_notes(rows: Sequence[Row]) -> list[str]:
    """What is to be known of detectors that do have numbers; equal notes once."""
    about: dict[str, list[str]] = {}
    for row in rows:
        if row["note"] and row["auroc"] is not None:
            names = about.setdefault(row["note"], [])
            name = column_name((row["detector"], row["layer"]))
            if name not in names:
                names.append(name)
    return [
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}: {note}"
        for note, names in about.items()
    ]


def _best_first(rows: Sequence[Row]) -> tuple[float, str, str]:
    """Order of the last row, which is the mean or the only one; what has no AUROC comes last."""
    auroc = rows[-1]["auroc"]
    return 1.0 if auroc is None else -auroc, rows[0]["detector"], rows[0]["layer"]


def score_columns(found: OODFound) -> dict[str, Sequence[object]]:
    """Outlier scores, a row per input: set, index, id, label, then a column per detector."""
    sets = (found.inside, *found.outside)
    data = [one.dataset for one in sets]
    columns: dict[str, Sequence[object]] = {
        "set": Joined([repeated(one.name, len(one)) for one in data]),
        "index": Joined([range(len(one)) for one in data]),
        "id": Joined([one.ids for one in data]),
        "label": Joined([label_column(one.labels, len(one)) for one in data]),
    }
    for fitted in found.fitted:
        key = fitted.key
        if any(key in one.scores for one in sets):
            columns[column_name(key)] = Joined(
                [one.scores.get(key, repeated(None, len(one.dataset))) for one in sets]
            )
    return columns


def tables(result: Result) -> "Group":
    """The best detectors first, and what could not be computed."""
    from rich.console import Group

    done = [row for row in result.rows if row["auroc"] is not None]
    missing = [row for row in result.rows if row["auroc"] is None]
    outsides = list(dict.fromkeys(row["out"] for row in done))
    parts: list[object] = []
    if done:
        several = MEAN in outsides
        parts.append(_several(result, done, outsides) if several else _one(result, done))
        hidden = len({(row["detector"], row["layer"]) for row in done}) - _SHOWN
        if hidden > 0:
            parts.append(plain_text(f"... and {hidden} more detectors in ood.csv"))
    if missing:
        parts.append(_missing(missing))
    return Group(*parts)


def _title(result: Result, rows: Sequence[Row]) -> str:
    return (
        f"{result.models[0]['model']}, {rows[0]['in']} in-distribution: outlier scores, "
        "higher = more out of distribution"
    )


def _one(result: Result, rows: Sequence[Row]) -> "Table":
    table = new_table(_title(result, rows))
    for heading in ("", "detector", "layer", "out"):
        table.add_column(heading)
    for heading in ("AUROC", "95 % interval", "AUPR in", "AUPR out", "FPR95 in", "FPR95 out"):
        table.add_column(heading, justify="right")
    best = max(row["auroc"] for row in rows)
    for row in rows[:_SHOWN]:
        table.add_row(
            "*" if row["auroc"] == best else "",
            row["detector"],
            plain_text(row["layer"]),
            plain_text(row["out"]),
            number(row["auroc"]),
            f"{row['auroc_low']:.4f}-{row['auroc_high']:.4f}",
            number(row["aupr_in"]),
            number(row["aupr_out"]),
            percent(row["fpr95_in"]),
            percent(row["fpr95_out"]),
        )
    return table


def _several(result: Result, rows: Sequence[Row], outsides: Sequence[str]) -> "Table":
    table = new_table(f"AUROC of {_title(result, rows)}")
    for heading in ("", "detector", "layer"):
        table.add_column(heading)
    for name in outsides:
        table.add_column(plain_text(name), justify="right")
    by_key: dict[Key, dict[str, float]] = {}
    for row in rows:
        by_key.setdefault((row["detector"], row["layer"]), {})[row["out"]] = row["auroc"]
    best = {name: max(values.get(name, -1.0) for values in by_key.values()) for name in outsides}
    for (detector, layer), values in list(by_key.items())[:_SHOWN]:
        cells = [_marked(values.get(name), best[name]) for name in outsides]
        mark = "*" if values.get(MEAN) == best[MEAN] else ""
        table.add_row(mark, detector, plain_text(layer), *cells)
    return table


def _marked(value: float | None, best: float) -> str:
    return number(value) + ("*" if value == best else "")


def _missing(rows: Sequence[Row]) -> "Table":
    """Equal reasons of several layers in one line."""
    table = new_table("Not computed")
    table.add_column("detector")
    table.add_column("layer")
    table.add_column("why")
    seen: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        # the place is in the column beside it
        why = row["note"].removeprefix(f"layer {row['layer']}: ")
        places = seen.setdefault((row["detector"], why), [])
        if row["layer"] not in places:
            places.append(row["layer"])
    for (detector, note), places in seen.items():
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        shown = ", ".join(places[:3]) + more
        table.add_row(detector, plain_text(shown), plain_text(note))
    return table
