"""Ranges of the queries of one layer: searched one by one, put together as one list.

The exact search gives the same neighbors and distances however the queries are cut, so a list that
is put together has the bytes of one that was found at once. What a range has found waits below
``.ranges`` in the folder of the lists, and a command that was killed finds it there again.

*Cost*: every worker makes an index of its own, which costs about as much as 200 queries where
coordinates are coded one by one, and as up to 2,000 where directions are (the formula is in
``neighbors.certified``). Hence ranges are long, and few to a layer.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.pointset import zero_vector_text
from entangle_cli.neighbors.store import NeighborStore
from entangle_cli.results import Row
from entangle_cli.runs.spread.latest import Latest
from entangle_cli.scratch import give_back

if TYPE_CHECKING:
    from entangle_cli.runs.shared.searching import Searching

# what makes an index worth its cost, and enough for any number of workers to end together
FEWEST_QUERIES = 8192
MOST_RANGES = 8
# multiplications of a range, some seconds; a score costs as much as SCORE entries
FEWEST_PRODUCTS = 1 << 36
SCORE = 60
_BLOCK_CELLS = 1 << 20


@dataclass(frozen=True)
class Part:
    """The rows ``start`` to ``stop`` of an activation file, asked about."""

    file: str
    start: int
    stop: int


@dataclass(frozen=True)
class RangeTask:
    """The neighbors of ``parts`` among ``train`` in a layer; ``identities`` are those of lists."""

    train: str
    layer: str
    parts: tuple[Part, ...]
    identities: tuple[Row, ...]
    output: str
    device: str


def cut(train: ActivationFile, others: Sequence[ActivationFile], layer: str) -> list[list[Part]]:
    """The ranges of a layer, on a grid that depends on the data alone; one where it is short."""
    count, dimension = train.points(layer).shape
    total = sum(other.rows for other in others)
    products = total * count * (dimension + SCORE)
    ranges = max(1, min(MOST_RANGES, total // FEWEST_QUERIES, products // FEWEST_PRODUCTS))
    edges = [total * number // ranges for number in range(ranges + 1)]
    found: list[list[Part]] = [[] for _ in range(ranges)]
    first = 0
    for other in others:
        for number in range(ranges):
            start, stop = max(edges[number], first), min(edges[number + 1], first + other.rows)
            if start < stop:
                found[number].append(Part(str(other.path), start - first, stop - first))
        first += other.rows
    return found


def search_range(task: RangeTask) -> None:
    """Search a range, and keep what it found until its list is put together."""
    metric = task.identities[0]["metric"]
    index, notes = _index(task.train, task.layer, metric, task.device, task.output)
    train, store = ActivationFile.open(task.train), range_store(Path(task.output))
    for part, identity in zip(task.parts, task.identities, strict=True):
        if store.read(part_identity(identity, part)) is not None:
            continue
        other = ActivationFile.open(part.file)
        points = other.points(task.layer)[part.start : part.stop]
        same = other.identity == train.identity
        exclude = np.arange(part.start, part.stop) if same else None
        found = index.query(points, k=identity["k"], exclude=exclude)
        told = [str(_zero_vectors(points)), *notes]
        store.write(part_identity(identity, part), found, told)
    give_back()


def range_store(output: Path) -> NeighborStore:
    """Where ranges wait."""
    return NeighborStore(output / "neighbors" / ".ranges")


def part_identity(identity: Row, part: Part) -> Row:
    """What tells a part of the list with this identity from all others."""
    return {**identity, "rows": [part.start, part.stop]}


def put_together(
    searching: "Searching",
    train: ActivationFile,
    others: Sequence[ActivationFile],
    layer: str,
    ranges: Sequence[Sequence[Part]],
) -> None:
    """Write the lists of a layer whose ranges are all there, with what one process would note.

    Lists of which something is missing are left out: the command looks for them itself.
    """
    store, notes = range_store(searching.run.output), []
    for other in others:
        identity = searching.identity(train.identity, other.identity, layer)
        kept = searching.store.read(identity)
        if kept is not None:
            notes += kept[1]
            continue
        parts = [part for parts in ranges for part in parts if part.file == str(other.path)]
        found = [store.read(part_identity(identity, part)) for part in parts]
        if None in found:
            return
        lists = Neighbors.room(other.rows, identity["k"], searching.run.output)
        for part, (piece, _) in zip(parts, found, strict=True):
            lists.indices[part.start : part.stop] = piece.indices
            lists.distances[part.start : part.stop] = piece.distances
        zero = sum(int(told[0]) for _, told in found) if identity["metric"] == "cosine" else 0
        notes += [*found[0][1][1:], *zero_vector_text(zero, other.rows, "queries")]
        searching.store.write(identity, lists, list(dict.fromkeys(notes)))
        for part in parts:
            store.remove(part_identity(identity, part))
    with contextlib.suppress(OSError):
        store.folder.rmdir()
    give_back()


def _make_index(
    train: str, layer: str, metric: str, device: str, output: str
) -> tuple[ExactIndex, list[str]]:
    notes: list[str] = []
    options: Mapping[str, Any] = {"metric": metric, "device": device, "scratch": Path(output)}
    index = ExactIndex(ActivationFile.open(train).points(layer), notes=notes, **options)
    # what it says later is about queries
    return index, list(notes)


_index = Latest(_make_index)


def _zero_vectors(points: np.ndarray) -> int:
    step = max(1, _BLOCK_CELLS // points.shape[1])
    starts = range(0, len(points), step)
    return sum(int((~points[start : start + step].any(1)).sum()) for start in starts)
