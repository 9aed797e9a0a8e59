"""``--fail-if "auroc<0.9"``: conditions on results that end a command with exit code 4.

A gate holds for a row when the row's metric is a number and meets the condition: one such row fails
the run. A metric that is missing, null or NaN meets no condition, nor does it pass: those rows are
counted in a note, and a gate that finds no number in any row is an error, not a success. Infinite
numbers are compared. Results are printed and written before the gates are checked.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from operator import ge, gt, le, lt
from typing import Any

from entangle_cli.errors import GateFailed, UsageError
from entangle_cli.results import Row
from entangle_cli.text import suggestion

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_GATE = re.compile(r"\s*([^\s<>=!]+)\s*(<=|>=|<|>)\s*([^\s<>=!]+)\s*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAMED = 4


@dataclass(frozen=True)
class Gate:
    """One condition that must not hold: ``metric`` ``comparison`` ``number``."""

    metric: str
    comparison: str
    number: float

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{repr(self.number).removesuffix('.0')}"

    def failing(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose metric is a number that meets the condition, in their order.

        Raises:
            UsageError: no row has a number there, so the gate says nothing.
        """
        numbers = [_number(row.get(self.metric)) for row in rows]
        if all(number is None for number in numbers):
            found = f"none of the {len(rows)} rows has a number" if rows else "there are no rows"
            raise UsageError(
                f"--fail-if {self}: {found} for {self.metric}, so nothing can be checked; "
                f"gate on a metric that this run computes"
            )
        compare = _COMPARE[self.comparison]
        found = zip(rows, numbers, strict=True)
        return [row for row, n in found if n is not None and compare(n, self.number)]

    def unchecked(self, rows: Sequence[Row]) -> int:
        """How many rows have no number to check."""
        return sum(_number(row.get(self.metric)) is None for row in rows)

    def worst(self, rows: Sequence[Row]) -> Row:
        """Of failing rows, the one farthest beyond the limit; the first of equals."""
        lowest = self.comparison in ("<", "<=")
        return (min if lowest else max)(rows, key=lambda row: row[self.metric])


def parse_gate(text: str, known: Sequence[str]) -> Gate:
    """The gate that a person typed, on one of the ``known`` metrics.

    >>> parse_gate("auroc < .9", ["auroc"])
    Gate(metric='auroc', comparison='<', number=0.9)

    Raises:
        UsageError: it is no condition of this form, or on another metric.
    """
    match = _GATE.fullmatch(text)
    if match is None or _NUMBER.fullmatch(match[1]):
        raise UsageError(_no_gate(text, known))
    metric, comparison, number = match.groups()
    if metric not in known:
        hint = suggestion(metric.lower(), known)
        raise UsageError(
            f"--fail-if {text!r}: no metric {metric!r}{hint}; known are {', '.join(known)}"
        )
    if not _NUMBER.fullmatch(number) or not math.isfinite(float(number)):
        raise UsageError(_no_gate(text, known))
    return Gate(metric, comparison, float(number))


def check_gates(gates: Sequence[Gate], rows: Sequence[Row]) -> list[str]:
    """Notes on rows that could not be checked, where every gate is passed.

    Raises:
        GateFailed: some gates fail; one line names each, how many rows, and the worst.
        UsageError: a gate finds no number in any row, whatever the others say.
    """
    failed = [(gate, gate.failing(rows)) for gate in gates]
    failures = [_failure(gate, found, rows) for gate, found in failed if found]
    if failures:
        raise GateFailed("; ".join(failures))
    return [
        f"--fail-if {gate}: {count} of {len(rows)} rows without {gate.metric}, not checked"
        for gate in gates
        if (count := gate.unchecked(rows))
    ]


def _failure(gate: Gate, failing: Sequence[Row], rows: Sequence[Row]) -> str:
    worst = gate.worst(failing)
    # what a row is about is said by its first cells of text
    texts = [value for value in worst.values() if isinstance(value, str) and value]
    where = f" ({', '.join(texts[:_NAMED])})" if texts else ""
    verb = "fails" if len(failing) == 1 else "fail"
    count = gate.unchecked(rows)
    unchecked = f", {count} could not be checked" if count else ""
    return (
        f"--fail-if {gate}: {len(failing)} of {len(rows)} rows {verb}{unchecked}, "
        f"worst {gate.metric} {_shown(float(worst[gate.metric]), gate)}{where}"
    )


def _shown(value: float, gate: Gate) -> str:
    """Six digits, or all of them where the rounded value would seem to pass."""
    text = f"{value:.6g}"
    return text if _COMPARE[gate.comparison](float(text), gate.number) else repr(value)


def _number(value: Any) -> float | None:
    """The value where it is a number that can be compared."""
    if not isinstance(value, Real) or isinstance(value, bool) or math.isnan(value):
        return None
    # a float32 would be compared with the limit rounded to float32
    return float(value)


def _no_gate(text: str, known: Sequence[str]) -> str:
    example = known[0] if known else "auroc"
    return (
        f"--fail-if {text!r}: not a condition; give a metric, one of < <= > >= and a number, "
        f"quoted for the shell: --fail-if '{example}<0.9'"
    )
