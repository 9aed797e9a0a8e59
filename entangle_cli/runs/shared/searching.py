"""Nearest neighbors of stored activations, layer by layer, kept for the next question."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.schema import digest
from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.opening import build_index
from entangle_cli.neighbors.store import NeighborStore
from entangle_cli.results import Row
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.scratch import give_back

if TYPE_CHECKING:
    from entangle_cli.neighbors.interface import NeighborIndex

# how notes on what everybody takes for granted begin
_EXPECTED = "exact"


@dataclass(frozen=True)
class SearchOptions:
    """Which neighbors, and how they are found."""

    k: int = 75
    metric: str = "cosine"
    method: str = "auto"


class Searching:
    """Searches under one set of options; an index is built only when a list is not on disk."""

    def __init__(
        self, run: RunOptions, asked: SearchOptions, terminal: Terminal, notes: list[str]
    ) -> None:
        self.run, self.asked, self.terminal, self.notes = run, asked, terminal, notes
        self.store = NeighborStore(run.output / "neighbors")

    def neighbors(
        self, train: ActivationFile, others: Sequence[ActivationFile], layers: Sequence[str]
    ) -> list[dict[str, Neighbors]]:
        """The neighbors of each of ``others`` among ``train``, per layer.

        Raises:
            ShareDone: only a shard's layers were asked for; they are on disk.
        """
        if self.run.shard is not None:
            self._share([self.asked.metric], train, others, layers)
        if self.run.engine is not None:
            from entangle_cli.runs.spread.searching import spread_search

            spread_search(self, train, others, layers)
        found: list[dict[str, Neighbors]] = [{} for _ in others]
        self.terminal.start("looking for neighbors", len(layers) * len(others))
        queries = sum(other.rows for other in others)
        for layer in layers:
            index, notes = None, []
            give_back()
            for by_layer, other in zip(found, others, strict=True):
                identity = self.identity(train.identity, other.identity, layer)
                kept = self.store.read(identity)
                if kept is None:
                    index = index or self._index(train, layer, queries, notes)
                    lists = self._query(index, train, other, layer)
                    told = [n for n in dict.fromkeys(notes) if not n.startswith(_EXPECTED)]
                    self.store.write(identity, lists, told)
                    # from its file, so that the room of the search is given back
                    kept = self.store.read(identity)
                    by_layer[layer] = lists if kept is None else kept[0]
                else:
                    by_layer[layer], told = kept
                    notes += told
                self.terminal.advance()
            self._note(layer, list(dict.fromkeys(notes)))
        self.terminal.finish()
        self._note_missing(found)
        return found

    def by_metric(
        self,
        metrics: Sequence[str],
        train: ActivationFile,
        others: Sequence[ActivationFile],
        layers: Sequence[str],
    ) -> list[dict[str, dict[str, Neighbors]]]:
        """The same in several metrics: for each of ``others`` by metric and layer.

        Where there are fewer training points than neighbors wanted, all of them are neighbors.
        """
        k = min(self.asked.k, train.rows)
        if k < self.asked.k:
            self.notes.append(f"{train.rows} training samples: {k} neighbors, not {self.asked.k}")
        if self.run.shard is not None:
            reachable = Searching(self.run, replace(self.asked, k=k), self.terminal, self.notes)
            reachable._share(metrics, train, others, layers)
        found: list[dict[str, dict[str, Neighbors]]] = [{} for _ in others]
        for metric in metrics:
            options = replace(self.asked, metric=metric, k=k)
            searching = Searching(self.run, options, self.terminal, self.notes)
            lists = searching.neighbors(train, others, layers)
            for by_metric, by_layer in zip(found, lists, strict=True):
                by_metric[metric] = by_layer
        return found

    def _share(
        self,
        metrics: Sequence[str],
        train: ActivationFile,
        others: Sequence[ActivationFile],
        layers: Sequence[str],
    ) -> None:
        """Look for a shard's part of these lists, and end there."""
        from entangle_cli.runs.merge.share import ShareDone

        alone = replace(self.run, shard=None)
        items = [(metric, layer) for metric in metrics for layer in layers]
        for metric, layer in self.run.shard.of_items(items):
            options = replace(self.asked, metric=metric)
            searching = Searching(alone, options, self.terminal, self.notes)
            searching.neighbors(train, others, [layer])
        identities = [file.identity for file in (train, *others)]
        raise ShareDone({"activations": list(map(digest, identities))})

    def holds(self, train: Row, other: Row, layer: str) -> bool:
        """Whether this list is on disk; ``train`` and ``other`` are identities of activations."""
        return self.store.read(self.identity(train, other, layer)) is not None

    def _note(self, layer: str, texts: Sequence[str]) -> None:
        """Say what matters; that a search is exact is what everybody expects."""
        for text in texts:
            if text.startswith(_EXPECTED):
                self.terminal.detail(f"layer {layer}: {text}")
            else:
                self.notes.append(f"layer {layer}: {text}")

    def _index(
        self, train: ActivationFile, layer: str, queries: int, notes: list[str]
    ) -> "NeighborIndex":
        return build_index(
            train.points(layer),
            metric=self.asked.metric,
            method=self.asked.method,
            queries=queries,
            device=self.run.device,
            seed=self.run.seed,
            notes=notes,
            scratch=self.run.output,
        )

    def _query(
        self, index: "NeighborIndex", train: ActivationFile, other: ActivationFile, layer: str
    ) -> Neighbors:
        same = other.identity == train.identity
        exclude = np.arange(other.rows) if same else None
        try:
            return index.query(other.points(layer), k=self.asked.k, exclude=exclude)
        except MeasureError as error:
            raise MeasureError(f"layer {layer}: {error}") from error

    def identity(self, train: Row, other: Row, layer: str) -> Row:
        """What a list is found again by; ``train`` and ``other`` are identities of activations."""
        return {
            "train": train,
            "query": other,
            "layer": layer,
            "k": self.asked.k,
            "metric": self.asked.metric,
            "method": self.asked.method,
            "seed": self.run.seed,
        }

    def _note_missing(self, found: Sequence[dict[str, Neighbors]]) -> None:
        missing = sum(n.missing for by_layer in found for n in by_layer.values())
        if missing:
            total = sum(n.indices.size for by_layer in found for n in by_layer.values())
            self.notes.append(
                f"{missing} of {total} neighbors were not found by the approximate search; they "
                "count against every label"
            )
