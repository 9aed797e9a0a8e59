"""What a figure shows, without drawing it: panels of lines, points and images.

*Conventions*: numbers are finite floats; images are ``(h, w)`` or ``(h, w, 3)`` in [0, 1]. Colors
are numbers of a palette, the same number the same color in every panel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Series:
    """One line or cloud of points; ``low`` and ``high`` are the ends of an interval at each x.

    ``names`` says what each point is, to whoever points at it. ``note`` stands beside the name
    where lines are named inside the panel; a panel whose series have notes names them there.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: Literal["line", "points"] = "line"
    color: int = 0
    dashed: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    names: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``bare`` without ticks and with equal units, for maps of points.

    ``x_names`` are written at x = 0, 1, 2, ... instead of numbers; a range without is that of the
    numbers shown.
    """

    title: str
    series: tuple[Series, ...]
    x_label: str = ""
    y_label: str = ""
    bare: bool = False
    log_x: bool = False
    log_y: bool = False
    legend: bool = True
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matrix:
    """Numbers from 0 to ``top`` for pairs of ``names``; None where there is no number.

    ``group`` is what it is chosen by; matrices of one group are shown together.
    """

    title: str
    names: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    top: float = 1.0
    group: str = ""


@dataclass(frozen=True)
class ImageGrid:
    """Images side by side, row by row; shorter rows leave their ends empty."""

    title: str
    rows: tuple[tuple[np.ndarray, ...], ...]


@dataclass(frozen=True)
class FigureDescription:
    """Panels in reading order, ``columns`` to a row, and what a person must know to read them."""

    panels: tuple[Panel | ImageGrid | Matrix, ...]
    columns: int = 3
    caption: str = ""
