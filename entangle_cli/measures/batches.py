"""Entanglement as a mean over stratified batches of fixed size, the protocol of the papers.

*Conventions*: each batch holds every class in proportion to the whole set and has its own minimum
over temperature ("per batch", as arXiv 1902.01889 does at every evaluation). The choice of points
depends on the labels, size, count and seed alone: every layer and checkpoint sees the same batches.
Batches of one size are comparable between sets of different size; they are not comparable with the
value over all points, which falls with their number.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from entangle_cli.errors import MeasureError
from entangle_cli.measures.given import as_labels, as_source
from entangle_cli.measures.snnl import Precision
from entangle_cli.measures.temperature import Boundary, Entanglement, entanglement


@dataclass(frozen=True)
class BatchEntanglement(Entanglement):
    """Means over batches in the fields of ``Entanglement``, and how far batches differ.

    ``n`` is the size of a batch, ``total`` the number of points it was drawn from, ``count`` the
    number of batches. ``temperature`` is the lower median over batches, where boundary ``zero``
    counts as 0 and ``infinity`` as infinity; ``boundary`` says which of them it is.
    ``classes, singletons, zero_vectors, duplicates, local_minima`` are the most in one batch,
    ``passes`` the sum. ``sd`` is the standard deviation of the loss over batches; ``low`` and
    ``high`` bound its mean over all batches that could be drawn (95 %, Student's t; None for a
    single batch). ``boundaries`` counts the batches by boundary.
    """

    sd: float | None
    low: float | None
    high: float | None
    count: int
    total: int
    boundaries: dict[str, int]


def stratified_batches(
    labels: np.ndarray | Tensor, *, size: int, count: int, seed: int = 0
) -> list[np.ndarray]:
    """Row numbers of ``count`` batches of ``size`` points, ascending in each.

    Every class has its share of ``size``, rounded down or up anew for each batch so that it is the
    share on average (systematic sampling of the remainders). No point appears twice in a batch.

    Raises:
        MeasureError: a size below 2 or above the number of points, or a count below 1.
    """
    labels = as_labels(labels)
    if not 2 <= size <= len(labels):
        raise MeasureError(f"batches of {size} from {len(labels)} points; give 2 to {len(labels)}")
    if count < 1:
        raise MeasureError(f"{count} batches; give at least 1")
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(sizes)[:-1])
    generator = np.random.default_rng(seed)
    batches = []
    for _ in range(count):
        quotas = _quotas(sizes * size / len(labels), size, generator)
        chosen = [
            generator.choice(rows, quota, replace=False)
            for rows, quota in zip(members, quotas, strict=True)
        ]
        batches.append(np.sort(np.concatenate(chosen)))
    return batches


def _quotas(shares: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    whole = np.floor(shares).astype(int)
    shuffled = generator.permutation(len(shares))
    reached = np.concatenate([[0.0], np.cumsum((shares - whole)[shuffled])])
    reached[-1] = size - whole.sum()  # an integer, but for rounding
    whole[shuffled] += np.diff(np.floor(reached + generator.random())).astype(int)
    return whole


def batch_entanglement(  # noqa: PLR0913 - the options of one measure
    points: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    *,
    size: int,
    count: int,
    seed: int = 0,
    metric: str = "euclidean",
    precision: Precision = "auto",
    device: str | torch.device = "cpu",
    temperature: float | None = None,
    relative_temperature: float | None = None,
    scratch: Path | None = None,
) -> BatchEntanglement:
    """Mean over ``count`` stratified batches of ``size`` points of their own entanglement.

    ``mean_b min_T L_b(T)``, which is at most ``min_T mean_b L_b(T)``. Points ``(n, d)``, labels
    ``(n,)``; the other options are those of ``entanglement`` and hold for every batch.

    Raises:
        MeasureError: as ``entanglement`` and ``stratified_batches``.

    Reference: arXiv 1902.01889, section 3 and table 2 (batches of 128 test points).
    """
    points, labels = as_source(points), as_labels(labels)
    if len(points) != len(labels):
        raise MeasureError(f"{len(points)} points but {len(labels)} labels; give one per point")
    results = [
        entanglement(
            points[rows],
            labels[rows],
            metric=metric,
            precision=precision,
            device=device,
            temperature=temperature,
            relative_temperature=relative_temperature,
            scratch=scratch,
        )
        for rows in stratified_batches(labels, size=size, count=count, seed=seed)
    ]
    return _summary(results, total=len(points))


def _summary(results: list[Entanglement], *, total: int) -> BatchEntanglement:
    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    def most(name: str) -> int:
        return max(getattr(result, name) for result in results)

    snnl, sd, margin = _mean_and_margin([result.snnl for result in results])
    temperature, boundary = _median_temperature(results)
    ratios = [result.entanglement for result in results if result.entanglement is not None]
    minima = [result.local_minima for result in results if result.local_minima is not None]
    return BatchEntanglement(
        snnl=snnl,
        temperature=temperature,
        ceiling=mean([result.ceiling for result in results]),
        entanglement=mean(ratios) if len(ratios) == len(results) else None,
        boundary=boundary,
        knn_accuracy=mean([result.knn_accuracy for result in results]),
        n=results[0].n,
        dim=results[0].dim,
        classes=most("classes"),
        singletons=most("singletons"),
        zero_vectors=most("zero_vectors"),
        duplicates=most("duplicates"),
        local_minima=max(minima, default=None),
        passes=sum(result.passes for result in results),
        notes=_notes(results),
        sd=sd,
        low=None if margin is None else snnl - margin,
        high=None if margin is None else snnl + margin,
        count=len(results),
        total=total,
        boundaries=dict(Counter(result.boundary for result in results)),
    )


def _mean_and_margin(losses: list[float]) -> tuple[float, float | None, float | None]:
    """Mean, standard deviation, and half the width of the 95 % interval of the mean."""
    from scipy.special import stdtrit

    count, mean = len(losses), math.fsum(losses) / len(losses)
    if count == 1:
        return mean, None, None
    sd = math.sqrt(math.fsum((loss - mean) ** 2 for loss in losses) / (count - 1))
    return mean, sd, float(stdtrit(count - 1, 0.975)) * sd / math.sqrt(count)


def _median_temperature(results: list[Entanglement]) -> tuple[float | None, Boundary]:
    known = [
        math.inf if result.boundary == "infinity" else result.temperature for result in results
    ]
    known = sorted(temperature for temperature in known if temperature is not None)
    median = known[(len(known) - 1) // 2] if known else None
    if median == math.inf:
        return None, "infinity"
    return median, "zero" if median == 0 else "none"


def _notes(results: list[Entanglement]) -> tuple[str, ...]:
    tally = Counter(note for result in results for note in result.notes)
    notes = [f"{times} of {len(results)} batches: {note}" for note, times in tally.items()]
    if len(results) == 1:
        notes.append("a single batch has no interval")
    return tuple(notes)
