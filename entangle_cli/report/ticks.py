"""Where an axis is marked, and what is written there."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """Numbers from ``low`` to ``high`` laid along pixels from ``start`` to ``stop``."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a number; numbers outside stay outside."""
        low, high, value = (_logarithm(v) if self.log else v for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round numbers within, about five."""
        return _decades(self.low, self.high) if self.log else _round_steps(self.low, self.high)


def axis(values: list[float], start: float, stop: float, *, log: bool = False) -> Axis:
    """An axis that holds all values, with a little room; logarithmic only for positive ones."""
    values = [value for value in values if not log or value > 0]
    if not values:
        return Axis(1.0 if log else 0.0, 10.0 if log else 1.0, start, stop, log)
    low, high = min(values), max(values)
    if log:
        return Axis(low / 1.3, high * 1.3, start, stop, log)
    room = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(low - room, high + room, start, stop)


def written(value: float) -> str:
    """A number as short as it is told from its neighbors.

    >>> [written(v) for v in (0.30000000000000004, 20_000.0, 0.00001, 0.0, 2_500_000)]
    ['0.3', '20000', '1e-05', '0', '2.5e+06']
    """
    return f"{value:.6g}" if value else "0"


def _logarithm(value: float) -> float:
    return math.log10(max(value, 1e-300))


def _round_steps(low: float, high: float) -> list[float]:
    width = high - low
    if not 0 < width < math.inf:
        return [low]
    step = 10 ** math.floor(math.log10(width / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if width / (factor * step) <= 5.5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 1:
        return [low, high]
    step = max(1, round((last - first) / 5))
    return [10.0**power for power in range(first, last + 1, step)]
