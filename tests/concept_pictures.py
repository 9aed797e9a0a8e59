"""The pictures of `docs/concepts.md`: run as a script to draw them anew.

Points of two classes, far apart, in small groups, and mixed; their loss over temperature. Numbers
in the titles are measured, not written by hand.
"""

from pathlib import Path

import numpy as np

from entangle_cli import entanglement, soft_nearest_neighbor_loss
from entangle_cli.report.drawing import draw
from entangle_cli.report.panels import FigureDescription, Panel, Series

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
COUNT = 120
TEMPERATURES = np.geomspace(1e-3, 1e3, 61)


def clouds() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three sets of points (n, 2) with labels (n,)."""
    random = np.random.default_rng(0)
    labels = np.arange(COUNT) % 2
    noise = random.normal(size=(COUNT, 2))
    apart = np.stack([4.0 * labels - 2.0, np.zeros(COUNT)], axis=1) + 0.7 * noise
    # groups on a ring, their classes in turn: near points agree, far ones do not
    group = (np.arange(COUNT) // 2) % 4 * 2 + labels
    angle = 2 * np.pi * group / 8
    grouped = 2.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.35 * noise
    return {
        "apart": (apart, labels),
        "in groups": (grouped, labels),
        "mixed": (1.4 * noise, labels),
    }


def points_figure() -> FigureDescription:
    """Each set with its measured entanglement."""
    panels = []
    for name, (points, labels) in clouds().items():
        found = entanglement(points, labels)
        title = f"{name}: entanglement {found.entanglement:.2f}"
        series = tuple(
            Series(f"class {c}", *points[labels == c].T.tolist(), kind="points", color=c)
            for c in (0, 1)
        )
        panels.append(Panel(title, series, bare=True, legend=False))
    return FigureDescription(tuple(panels), columns=3)


def loss_figure() -> FigureDescription:
    """The loss of each set over temperature, divided by the ceiling; the minimum is marked."""
    lines = []
    for color, (name, (points, labels)) in enumerate(clouds().items()):
        found = entanglement(points, labels)
        values = [
            soft_nearest_neighbor_loss(points, labels, temperature=t) / found.ceiling
            for t in TEMPERATURES
        ]
        lines.append(Series(name, TEMPERATURES.tolist(), values, color=color))
        if found.boundary == "none":
            lines.append(
                Series("", [found.temperature], [found.entanglement], "points", color=color)
            )
    panel = Panel(
        "Loss / ceiling, its least value marked",
        tuple(lines),
        x_label="temperature",
        y_label="loss / ceiling",
        log_x=True,
        y_range=(0.0, 2.0),
    )
    return FigureDescription((panel,), columns=1)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw(points_figure(), [FOLDER / "clouds.svg"])
    draw(loss_figure(), [FOLDER / "temperature.svg"])
