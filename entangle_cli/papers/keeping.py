"""The files of a finished claim, and whether they still answer what is asked.

A folder per claim: ``rows.csv`` (every plotted number), ``compare.csv``, further tables, the figure
as SVG and PNG where matplotlib is there, and last ``claim.json``, whose presence says that the
claim is finished. What a claim is (``identity``): its version, scale, seed, sizes and data.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from entangle_cli import __version__
from entangle_cli.errors import UsageError
from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.results import finite, rows_to_csv
from entangle_cli.training.settings import differences
from entangle_cli.training.state import replace_file

FINISHED = "claim.json"
FIGURES = ("figure.svg", "figure.png")
# what may differ without asking: the claim is then measured anew
_OUTDATED = ("version", "sizes")


def identity_of(claim: Claim, settings: Settings) -> dict[str, Any]:
    """What decides a claim's numbers, as JSON has it."""
    return {
        "version": claim.version,
        "scale": settings.scale,
        "seed": settings.seed,
        "sizes": json.loads(json.dumps(asdict(settings.sizes))),
        "data": settings.shelf.fingerprints(claim.needs),
    }


def read_finished(folder: Path) -> dict[str, Any] | None:
    """What was written of a finished claim, None where there is none.

    Raises:
        UsageError: the file is damaged.
    """
    path = folder / FINISHED
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if {"identity", "comparisons", "title"} <= set(found) else _damaged(path)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return _damaged(path)


def still_holds(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the claim in this folder is finished, and is the one asked for.

    Raises:
        UsageError: it was measured at another scale or seed, or on other data.
    """
    found = read_finished(folder)
    if found is None:
        return False
    changed = differences(_lasting(found["identity"]), _lasting(identity))
    if changed:
        raise UsageError(
            f"{folder}: was measured otherwise ({changed}); give another folder (-o), or "
            "--overwrite"
        )
    return found["identity"] == identity


def write_finished(
    folder: Path,
    claim: Claim,
    identity: Mapping[str, Any],
    result: ClaimResult,
    *,
    seconds: float,
) -> list[Path]:
    """Write everything, ``claim.json`` last; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FINISHED).unlink(missing_ok=True)
    comparisons = [one.to_row() for one in result.comparisons]
    tables = {"rows": result.rows, "compare": comparisons, **result.tables}
    written = []
    for stem, rows in tables.items():
        written.append(folder / f"{stem}.csv")
        replace_file(written[-1], rows_to_csv(rows).encode(errors="backslashreplace"))
    written += _draw(folder, result)
    body = {
        "name": claim.name,
        "also": list(claim.also),
        "title": claim.title,
        "quick_cannot": claim.quick_cannot,
        "caption": result.figure.caption,
        "identity": identity,
        "entangle": __version__,
        "seconds": round(seconds, 1),
        "comparisons": comparisons,
        "notes": result.notes,
        "figures": [path.name for path in written if path.name in FIGURES],
    }
    text = json.dumps(finite(body), allow_nan=False, ensure_ascii=False, indent=1)
    written.append(folder / FINISHED)
    replace_file(written[-1], (text + "\n").encode(errors="backslashreplace"))
    return written


def _draw(folder: Path, result: ClaimResult) -> list[Path]:
    paths = [folder / name for name in FIGURES]
    if find_spec("matplotlib") is None:
        for path in paths:
            # pictures of an earlier run would not be of these numbers
            path.unlink(missing_ok=True)
        return []
    from entangle_cli.report.drawing import draw

    draw(result.figure, paths)
    return paths


def _lasting(identity: Mapping[str, Any]) -> dict[str, Any]:
    lasting = {k: v for k, v in identity.items() if k not in (*_OUTDATED, "data")}
    return lasting | {name: mark[:12] for name, mark in identity["data"].items()}


def _damaged(path: Path) -> None:
    raise UsageError(f"{path}: cannot be read; remove it, or give --overwrite, to start again")
