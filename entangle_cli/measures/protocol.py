"""How entanglement is measured: over all points or as a mean over batches, at which temperature.

Values are comparable only at the same number of points, class balance, metric and temperature
policy; a `Protocol` is stored with every result.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from entangle_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.measures.temperature import Entanglement
    from entangle_cli.measures.visits import Elsewhere

_BATCHES = re.compile(r"batches:(\d+)x(\d+)")
_MEDIAN = re.compile(r"(\d*\.?\d+(?:[eE][-+]?\d+)?)x?median|median")


@dataclass(frozen=True)
class Protocol:
    """One way of measuring.

    With neither ``temperature`` nor ``relative_temperature`` the loss is minimized over
    temperature (arXiv 1902.01889, eq. 2). ``relative_temperature`` is a multiple of the median
    squared distance. ``batch_size`` and ``batches`` give the papers' mean over batches.
    """

    metric: Literal["euclidean", "cosine"] = "euclidean"
    temperature: float | None = None
    relative_temperature: float | None = None
    batch_size: int | None = None
    batches: int | None = None
    seed: int = 0

    def to_json(self) -> Mapping[str, Any]:
        """The protocol as plain values, for provenance."""
        return asdict(self)


def parse_protocol(protocol: str, temperature: str, *, metric: str, seed: int) -> Protocol:
    """``all`` or ``batches:128x64``; ``min``, a number, or ``0.1xmedian``.

    Raises:
        UsageError: anything else.
    """
    size, count = _parse_batches(protocol)
    fixed, relative = _parse_temperature(temperature)
    return Protocol(metric, fixed, relative, size, count, seed)


def _parse_batches(text: str) -> tuple[int | None, int | None]:
    if text == "all":
        return None, None
    match = _BATCHES.fullmatch(text)
    if not match or int(match[1]) < 2 or int(match[2]) < 1:
        raise UsageError(
            f"--protocol {text}: give 'all' or 'batches:SIZExCOUNT', such as batches:128x64"
        )
    return int(match[1]), int(match[2])


def _parse_temperature(text: str) -> tuple[float | None, float | None]:
    if text == "min":
        return None, None
    match = _MEDIAN.fullmatch(text)
    try:
        value = float(match[1] or 1) if match else float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(
            f"--temperature {text}: give 'min', a positive number, or a multiple of the median "
            "squared distance such as 0.1xmedian"
        )
    return (None, value) if match else (value, None)


def measure(
    points: "np.ndarray",
    labels: "np.ndarray",
    protocol: Protocol,
    *,
    device: str = "cpu",
    scratch: Path | None = None,
    elsewhere: "Elsewhere | None" = None,
) -> "Entanglement":
    """The entanglement of points (n, d) with labels (n,) under a protocol.

    ``scratch`` is a folder for temporary memory-mapped files, which keeps memory bounded
    whatever n x d is. ``elsewhere``: who visits the pairs of a large set, None: this process.

    Raises:
        MeasureError: the measure is not defined for these points and labels.
    """
    from entangle_cli.measures.batches import batch_entanglement
    from entangle_cli.measures.temperature import entanglement

    temperature = {
        "temperature": protocol.temperature,
        "relative_temperature": protocol.relative_temperature,
    }
    if protocol.batch_size is None:
        return entanglement(
            points,
            labels,
            metric=protocol.metric,
            device=device,
            scratch=scratch,
            elsewhere=elsewhere,
            **temperature,
        )
    return batch_entanglement(
        points,
        labels,
        size=protocol.batch_size,
        count=protocol.batches,
        seed=protocol.seed,
        metric=protocol.metric,
        **temperature,
    )
