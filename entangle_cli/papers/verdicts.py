"""Rules that hold a measured number against a printed one; no verdict is given by hand.

*Conventions*: ``values`` are one number per independent run. Intervals are those of Student's t at
95 %; they cover the runs (seeds), not the choice of test data. Printed numbers that the paper does
not give are None.

    reproduced                  the rule holds for the whole interval
    direction                   it holds for the mean, the interval reaches across the limit
    not reproduced              it does not hold for the mean
    cannot show at this scale   the claim says that this scale has no say in it

A single run can only show a direction, unless the claim says that one is enough (``single``), as
where a number has no chance in it that other seeds would show. Where what is printed is itself a
single run, it is held against the interval of one further run (`like_a_run`), which is wider than
that of the mean.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import stats

from entangle_cli.errors import MeasureError

LEVEL = 0.95


class Verdict(StrEnum):
    """How a measured number stands to the printed one."""

    reproduced = "reproduced"
    direction = "direction"
    not_reproduced = "not reproduced"
    cannot_show = "cannot show at this scale"


@dataclass(frozen=True)
class Interval:
    """Mean of ``runs`` numbers and the ends of its interval, None for a single run."""

    mean: float
    low: float | None
    high: float | None
    runs: int


@dataclass(frozen=True)
class Comparison:
    """One row "quantity / printed / measured here / verdict", with the rule of the verdict."""

    quantity: str
    printed: float | str | None
    measured: float
    low: float | None
    high: float | None
    runs: int
    verdict: Verdict
    rule: str

    def to_row(self) -> dict[str, Any]:
        """The comparison by column."""
        return asdict(self) | {"verdict": self.verdict.value}


def interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Mean and Student's t interval of independent runs.

    Raises:
        MeasureError: no values, or one that is not finite.
    """
    numbers = np.asarray(list(values), dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise MeasureError(f"runs with the values {numbers.tolist()}; give finite numbers")
    mean, runs = float(numbers.mean()), len(numbers)
    if runs == 1:
        return Interval(mean, None, None, 1)
    half = float(stats.t.ppf((1 + level) / 2, runs - 1) * numbers.std(ddof=1) / np.sqrt(runs))
    return Interval(mean, mean - half, mean + half, runs)


def above(
    quantity: str,
    values: Sequence[float],
    limit: float,
    *,
    printed: float | str | None = None,
    single: bool = False,
    shown: bool = True,
) -> Comparison:
    """The claim holds where the values lie above ``limit``; ``shown``: whether this scale tells."""
    rule = f"above {limit:g}, with its interval"
    return _judged(quantity, values, (limit, np.inf), printed, rule, single, shown)


def below(
    quantity: str,
    values: Sequence[float],
    limit: float,
    *,
    printed: float | str | None = None,
    single: bool = False,
    shown: bool = True,
) -> Comparison:
    """The claim holds where the values lie below ``limit``."""
    rule = f"below {limit:g}, with its interval"
    return _judged(quantity, values, (-np.inf, limit), printed, rule, single, shown)


def near(
    quantity: str,
    values: Sequence[float],
    printed: float,
    *,
    tolerance: float,
    single: bool = True,
    shown: bool = True,
) -> Comparison:
    """The mean is to lie within ``tolerance`` of the printed value, the interval aside."""
    rule = f"mean within {tolerance:g} of {printed:g}"
    found = interval(values)
    inside = abs(found.mean - printed) <= tolerance
    verdict = Verdict.not_reproduced
    if inside:
        verdict = Verdict.reproduced if single or found.runs > 1 else Verdict.direction
    return _row(quantity, found, printed, verdict if shown else Verdict.cannot_show, rule)


def further_run(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Where one more run would lie: mean +- t s sqrt(1 + 1/n), s the deviation of the n runs.

    Raises:
        MeasureError: no values, or one that is not finite.
    """
    of_mean = interval(values, level=level)
    if of_mean.low is None or of_mean.high is None:
        return of_mean
    half = (of_mean.high - of_mean.mean) * math.sqrt(of_mean.runs + 1)
    return Interval(of_mean.mean, of_mean.mean - half, of_mean.mean + half, of_mean.runs)


def like_a_run(
    quantity: str, values: Sequence[float], printed: tuple[float, float], *, shown: bool = True
) -> Comparison:
    """The printed run may be one of ours: it lies in the interval of `further_run`.

    ``printed``: the lowest and the highest value that the printed run may have had. Without a
    second run there is no spread to hold it against.
    """
    found = further_run(values)
    rule = f"the printed run within the {LEVEL:.0%} interval of one further run"
    low, high = printed
    named = low if low == high else f"{low:g} to {high:g}"
    if found.low is None or found.high is None or not shown:
        return _row(quantity, found, named, Verdict.cannot_show, rule)
    inside = found.low <= high and low <= found.high
    verdict = Verdict.reproduced if inside else Verdict.not_reproduced
    return _row(quantity, found, named, verdict, rule)


def _judged(  # noqa: PLR0913 - what the rules above have in common
    quantity: str,
    values: Sequence[float],
    bounds: tuple[float, float],
    printed: float | str | None,
    rule: str,
    single: bool,
    shown: bool,
) -> Comparison:
    found = interval(values)

    def inside(value: float) -> bool:
        return bounds[0] < value < bounds[1]

    verdict = Verdict.not_reproduced
    if inside(found.mean):
        ends = (found.low, found.high)
        whole = single if None in ends else all(map(inside, ends))
        verdict = Verdict.reproduced if whole else Verdict.direction
    return _row(quantity, found, printed, verdict if shown else Verdict.cannot_show, rule)


def _row(
    quantity: str, found: Interval, printed: float | str | None, verdict: Verdict, rule: str
) -> Comparison:
    return Comparison(
        quantity, printed, found.mean, found.low, found.high, found.runs, verdict, rule
    )
