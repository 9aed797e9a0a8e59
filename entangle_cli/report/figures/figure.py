"""A figure of the report, before it is drawn, and what several of them share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entangle_cli.report.panels import Matrix, Panel, Series
from entangle_cli.results import Row


@dataclass(frozen=True)
class ReportFigure:
    """Panels side by side with one legend.

    ``key`` names its files. ``rows`` are all numbers that are shown, for its CSV and its table.
    ``alt`` says in words what is to be seen. ``series`` is what a line or cloud stands for; with
    ``choose`` the panels of one group at a time can be shown.
    """

    key: str
    title: str
    caption: str
    alt: str
    panels: tuple[Panel | Matrix, ...]
    rows: tuple[Row, ...]
    series: str = ""
    choose: str = ""


def steps_of(values: Sequence[float], low: float, high: float, bins: int) -> np.ndarray:
    """Shares of ``values`` in equal bins between two numbers, ``(bins,)``; they sum to 1."""
    counts, _ = np.histogram(np.clip(values, low, high), bins=bins, range=(low, high))
    return counts / max(1, len(values))


def histogram(
    name: str, values: Sequence[float], *, low: float, high: float, bins: int, color: int
) -> Series:
    """The outline of a histogram as a line."""
    shares = steps_of(values, low, high, bins)
    edges = np.linspace(low, high, bins + 1)
    x = [low, *np.repeat(edges, 2)[1:-1].tolist(), high]
    y = [0.0, *np.repeat(shares, 2).tolist(), 0.0]
    said = [
        f"{name}: {100 * share:.1f} % in {a:.3g} to {b:.3g}"
        for share, a, b in zip(shares, edges[:-1], edges[1:], strict=True)
    ]
    names = [said[0], *[s for text in said for s in (text, text)], said[-1]]
    return Series(name, x, y, color=color, names=names)


def histogram_rows(
    values: Sequence[float], *, low: float, high: float, bins: int, **about: str
) -> list[Row]:
    """The same as rows: bin, share."""
    edges = np.linspace(low, high, bins + 1)
    shares = steps_of(values, low, high, bins)
    return [
        {**about, "from": float(a), "to": float(b), "share": float(share)}
        for a, b, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]
