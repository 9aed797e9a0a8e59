"""Explanations of ``entangle dknn`` as figures, where the data are images."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from entangle_cli.measures.exemplars import exemplars
from entangle_cli.runs.dknn.answer import explained, explanation_title, name_of
from entangle_cli.runs.dknn.run import Found, JudgedSet
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.text import file_stem

_SHOWN = 8


def draw_explanations(
    found: Found, explain: Sequence[int], worst: int, folder: Path, terminal: Terminal
) -> list[Path]:
    """One PNG per explained input below ``folder``; without matplotlib a note says so."""
    chosen = explained(found, explain, worst)
    images = found.train.kind == "images"
    if not chosen or not images:
        return []
    if find_spec("matplotlib") is None:
        terminal.note("for figures of the explanations: pip install 'entangle-cli[report]'")
        return []
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(found, judged, index, folder) for judged, rows in chosen for index in rows]


def _draw(found: Found, judged: JudgedSet, index: int, folder: Path) -> Path:
    from entangle_cli.report.strips import Strip, draw_strips

    strips = []
    names = found.train.class_names
    for one in exemplars(judged.neighbors, found.train.labels, index, count=_SHOWN):
        captions = [
            f"{name_of(label, names)}  {distance:.3g}"
            for label, distance in zip(one.labels, one.distances, strict=True)
        ]
        strips.append(Strip(one.layer, found.train.images(one.indices), captions))
    path = folder / f"dknn-{file_stem(judged.dataset.name)}-{index}.png"
    title = explanation_title(found, judged, index)
    draw_strips(path, title, judged.dataset.images([index])[0], strips)
    return path
