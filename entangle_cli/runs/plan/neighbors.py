"""``--dry-run`` of dknn and ood: one model on several sets, and the search for neighbors."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from entangle_cli.measures.ood.catalogue import choose_methods
from entangle_cli.project import Project
from entangle_cli.results import Result
from entangle_cli.runs.dknn.data import data_names
from entangle_cli.runs.ood.data import reachable_neighbors
from entangle_cli.runs.ood.neighbors import metrics_needed
from entangle_cli.runs.plan.plan import Plan
from entangle_cli.runs.plan.planning import Store, plan_store, searching_seconds
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import (
    EXAMPLE_ROWS,
    Prepared,
    open_checkpoint,
    open_data,
    prepare,
)
from entangle_cli.runs.shared.resolving import resolve
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.searching import Searching, SearchOptions
from entangle_cli.runs.shared.sources import choose_checkpoint

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.runs.dknn.run import DkNNOptions
    from entangle_cli.runs.ood.data import OODData
    from entangle_cli.runs.ood.found import OODOptions


def plan_dknn(
    model: str | None,
    data: tuple[str, str, list[str]],
    *,
    project: Project,
    run: RunOptions,
    asked: "DkNNOptions",
    terminal: Terminal,
) -> Result:
    """What ``entangle dknn`` would do."""
    train, calib, tests = data_names(data, project)
    planned = _WithNeighbors("dknn", model, run, project, terminal)
    planned.add([(train, True), (calib, True), *((test, False) for test in tests)], probed=1)
    planned.neighbors(asked.search, [asked.search.metric])
    return planned.plan.finish()


def plan_ood(
    model: str | None,
    data: "OODData",
    *,
    project: Project,
    run: RunOptions,
    asked: "OODOptions",
    terminal: Terminal,
) -> Result:
    """What ``entangle ood`` would do; the time to fit detectors is not in it."""
    methods = choose_methods(asked.detectors)
    planned = _WithNeighbors("ood", model, run, project, terminal)
    known = [(name, True) for name in (data.train, data.calib) if name is not None]
    tests = [(name, False) for name in (data.inside, *data.outside)]
    planned.add([*known, *tests], probed=len(known), features=asked.features, penultimate=True)
    if data.train is not None:
        metrics = metrics_needed(method.needs for method in methods)
        train, *queried = planned.datasets
        k = reachable_neighbors(asked.search.k, train, queried)
        planned.neighbors(replace(asked.search, k=k), metrics)
    planned.plan.result.notes.append(f"the time to fit {len(methods)} detectors is not counted")
    return planned.plan.finish()


class _WithNeighbors:
    """One model on several sets, the first of which is searched for neighbors of the others."""

    def __init__(
        self,
        command: str,
        model: str | None,
        run: RunOptions,
        project: Project,
        terminal: Terminal,
    ) -> None:
        self.plan = Plan(command, run)
        self._project, self._terminal = project, terminal
        checkpoint = choose_checkpoint(model, project, terminal)
        self._model = open_checkpoint(checkpoint, self.plan.run)
        self.datasets: list[Dataset] = []
        self._stores: list[Store] = []
        self._layers: tuple[str, ...] = ()

    def add(
        self,
        sets: Sequence[tuple[str, bool]],
        *,
        probed: int,
        features: str | None = None,
        penultimate: bool = False,
    ) -> None:
        """Sets with whether they are taken whole or up to ``--limit``.

        The preprocessing is found on the set number ``probed``; with ``penultimate`` the layer
        that the last linear one reads, or ``features``, is stored as well.
        """
        run, project = self.plan.run, self._project
        whole = replace(run, limit=None)
        self.datasets = [
            open_data(name, project, whole if all_of_it else run, self._terminal)
            for name, all_of_it in sets
        ]
        resolved = resolve(self._model, self.datasets[probed], project, run)
        self._terminal.start("looking at data sets", len(self.datasets))
        for dataset in self.datasets:
            prepared = prepare(self._model, dataset, project, run, resolved)
            self._layers = prepared.layers
            extra = _penultimate(prepared, features) if penultimate else ()
            prepared = replace(prepared, layers=tuple(dict.fromkeys((*self._layers, *extra))))
            self._stores.append(plan_store(prepared, run))
            self.plan.add(self._model.path.name, prepared, self._stores[-1])
            self._terminal.advance()
        self._terminal.finish()

    def neighbors(self, asked: SearchOptions, metrics: Sequence[str]) -> None:
        """The search in each metric for the lists that are not kept, and what lists take."""
        train, *others = self._stores
        run = self.plan.run
        wanted, missing, lists, seconds = 0, 0, 0, 0.0
        for metric in metrics:
            searching = Searching(run, replace(asked, metric=metric), self._terminal, [])
            queries = dict.fromkeys(self._layers, 0)
            for layer, other in product(self._layers, others):
                wanted += 1
                if not searching.holds(train.identity, other.identity, layer):
                    missing += 1
                    queries[layer] += other.rows
            seconds += searching_seconds(train, queries, run.device)
            lists += sum(queries.values())
        lists *= min(asked.k, train.rows) * 16
        points = train.rows * max((layer.dim for layer in train.layers), default=0) * 4
        self.plan.needs(memory=points, disk=lists, seconds=seconds)
        self.plan.result.provenance |= {
            "neighbors_seconds": seconds,
            "neighbor_lists": wanted,
            "neighbor_lists_kept": wanted - missing,
        }
        self.plan.result.notes.append(
            f"neighbors: {wanted - missing} of {wanted} lists (one per layer and set) are kept"
        )


def _penultimate(prepared: Prepared, features: str | None) -> tuple[str, ...]:
    if features is not None:
        return (features,)
    example = prepared.feed.batch(0, min(EXAMPLE_ROWS, prepared.feed.rows))
    found, _ = prepared.model.head_or_reason(example)
    return () if found is None else (found.features,)
