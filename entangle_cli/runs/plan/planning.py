"""``--dry-run``: what a command would do with one model and one data set, and what that may cost.

*Time of the network*: one batch of the size that would be used, run twice; the second is timed.
*Time of measuring*: the loss of m made-up points of few and of many entries is timed, and taken to
grow with m^2 (a + b d). *Time of a neighbor search*: the cost model of the exact search, with the
rate of products measured now. Each is what this machine does at this moment, so the whole is right
within a factor of about three.

*Memory*: the most that this process has taken so far, with the model, the data and a batch in it,
and what the pairs take beyond; not the pages of files, which the system takes back. *Bytes* are
those of the rows; a store has some kilobytes more.
"""

import resource
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from entangle_cli.activations.dump import auto_batch_size
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.identity import content_identity, provenance
from entangle_cli.activations.schema import FileSpec, StoredLayer
from entangle_cli.activations.skeleton import needed_bytes
from entangle_cli.activations.starting import refuse_other
from entangle_cli.activations.trial import try_out
from entangle_cli.measures.protocol import Protocol, measure
from entangle_cli.measures.stored import MOST_POINTS
from entangle_cli.measures.streamed import KEEP_BYTES
from entangle_cli.neighbors.opening import exact_seconds, product_rate
from entangle_cli.runs.shared.preparing import Prepared, default_path
from entangle_cli.runs.shared.run_options import RunOptions

# made-up points: enough for the way in which as many or more are measured
SMALL, LARGE = 800, MOST_POINTS + 300
NARROW, WIDE = 16, 768
HOW = (
    "network: one timed batch; pairs: timed on made-up points, scaled with their number squared; "
    "neighbors: the exact search at the rate of products measured now; right within a factor of "
    "about 3"
)


@dataclass(frozen=True)
class Store:
    """The activations of one model on one set: what they are, and how much of them is there.

    ``seconds_per_row`` is the network's, 0 where nothing is left to compute.
    """

    spec: FileSpec
    path: Path
    rows_kept: int
    seconds_per_row: float

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the activations."""
        return self.spec.identity

    @property
    def rows(self) -> int:
        """Samples in all."""
        return self.spec.rows

    @property
    def layers(self) -> tuple[StoredLayer, ...]:
        """What is stored of a sample."""
        return self.spec.layers

    @property
    def seconds(self) -> float:
        """The network's time for what is left."""
        return (self.rows - self.rows_kept) * self.seconds_per_row

    @property
    def bytes(self) -> int:
        """What all rows take on the disk."""
        return needed_bytes(self.spec)

    @property
    def state(self) -> str:
        """``new``, ``kept``, or how far it is."""
        if self.rows_kept == self.rows:
            return "kept"
        return f"resumed at {self.rows_kept}" if self.rows_kept else "new"


def plan_store(prepared: Prepared, run: RunOptions, path: Path | None = None) -> Store:
    """Look at what is stored, run a batch where something is missing; nothing is written.

    Raises:
        StoreError: what is there is damaged or something else, which the command refuses as well.
        ModelError: the network fails.
    """
    model, feed, layers = prepared.model, prepared.feed, prepared.layers
    identity = content_identity(model, feed, layers, reduce=run.reduce, dtype=run.dtype)
    path = path or default_path(prepared, run)
    trial = try_out(model, feed, layers, run.reduce, run.dtype)
    kept = ActivationFile.open(path) if path.exists() and not run.overwrite else None
    size = run.batch_size or auto_batch_size(trial.row_bytes)
    if kept is not None and run.batch_size is None:
        size = kept.identity.get("batch_size", size)
    identity |= {"batch_size": size}
    if kept is not None:
        refuse_other(kept, identity)
    rows_kept = 0 if kept is None else kept.rows
    seconds = 0.0 if rows_kept == feed.rows else _seconds_per_row(prepared, min(size, feed.rows))
    spec = trial.specification(feed, size, identity, provenance(model, feed))
    return Store(spec, path, rows_kept, seconds)


def _seconds_per_row(prepared: Prepared, size: int) -> float:
    for _ in range(2):
        start = time.perf_counter()
        inputs = prepared.feed.batch(0, size)
        prepared.model.run(inputs, prepared.layers, lambda name, values: None)
        taken = time.perf_counter() - start
    return taken / size


def measuring_seconds(
    count: int, dims: Iterable[int], classes: int, protocol: Protocol, device: str
) -> float:
    """Seconds to measure layers of ``count`` points with these numbers of entries."""
    points, times = count, 1
    if protocol.batch_size is not None:
        points, times = protocol.batch_size, protocol.batches or 1
    base, per_entry = _pair_rates(points > MOST_POINTS, max(2, classes), protocol.metric, device)
    return times * points**2 * sum(base + per_entry * dim for dim in dims)


@cache
def _pair_rates(many: bool, classes: int, metric: str, device: str) -> tuple[float, float]:
    """Seconds for one pair, and for one entry of one pair."""
    count = LARGE if many else SMALL
    narrow, wide = (_seconds_to_measure(count, d, classes, metric, device) for d in (NARROW, WIDE))
    per_entry = max(0.0, wide - narrow) / (WIDE - NARROW)
    return max(0.0, narrow - NARROW * per_entry) / count**2, per_entry / count**2


def _seconds_to_measure(count: int, dim: int, classes: int, metric: str, device: str) -> float:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    centers = random.normal(size=(classes, dim)).astype(np.float32)
    points = random.normal(size=(count, dim)).astype(np.float32) + 0.5 * centers[labels]
    best = float("inf")
    # the first run also loads what it needs
    for _ in range(2):
        start = time.perf_counter()
        measure(points, labels, Protocol(metric=metric), device=device)
        best = min(best, time.perf_counter() - start)
    return best


def searching_seconds(train: Store, queries: Mapping[str, int], device: str) -> float:
    """Seconds of the exact search for so many neighbor lists, by layer, among ``train``."""
    where = torch.device(device)
    total = 0.0
    for layer in train.layers:
        if count := queries.get(layer.name, 0):
            rate = _rate(min(layer.dim, 2048), device)
            total += exact_seconds(train.rows, layer.dim, count, rate=rate, device=where.type)
    return total


@cache
def _rate(dim: int, device: str) -> float:
    return product_rate(dim, torch.device(device))


def peak_memory() -> int:
    """The most bytes that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def pair_memory(points: int, dim: int) -> int:
    """About what measuring points (n, d) takes: a copy of them, kept distances and tiles.

    Where the copy lies in a file, the passes over wide points take as much again, as measured for
    n = 10,000 and d = 21,632.
    """
    pairs = 12 * points**2 if points <= MOST_POINTS else KEEP_BYTES + (1 << 27)
    return 4 * points * dim + pairs


def layer_rows(layers: Sequence[StoredLayer]) -> list[dict[str, Any]]:
    """Layers with their shapes and sizes."""
    return [
        {
            "layer": layer.name,
            "shape": "x".join(map(str, layer.shape)),
            "dim": layer.dim,
            "bytes_per_sample": layer.dim * np.dtype(layer.dtype).itemsize,
        }
        for layer in layers
    ]
