"""``--dry-run`` of dump and measure; nothing is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entangle_cli.datasets.points import raw_points
from entangle_cli.errors import EntangleError, UsageError
from entangle_cli.measures.protocol import Protocol
from entangle_cli.models.series import distinct_names, order_checkpoints
from entangle_cli.project import Project
from entangle_cli.results import Result
from entangle_cli.runs.measure.layer_points import every_label
from entangle_cli.runs.measure.measured import MeasuredLayers
from entangle_cli.runs.plan.plan import Plan
from entangle_cli.runs.plan.planning import (
    measuring_seconds,
    pair_memory,
    plan_store,
)
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import (
    INPUT,
    Prepared,
    family_preprocessing,
    open_checkpoint,
    open_data,
    open_one_model,
    prepare,
)
from entangle_cli.runs.shared.provenance import described
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.sources import is_stored, split_sources

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset


def plan_dump(
    model: str,
    data: str,
    file: Path | None,
    *,
    project: Project,
    run: RunOptions,
    terminal: Terminal,
) -> Result:
    """What ``entangle dump`` would do."""
    plan = Plan("dump", run)
    opened = open_one_model(model, project, plan.run)
    prepared = prepare(opened, open_data(data, project, plan.run, terminal), project, plan.run)
    plan.add(opened.path.name, prepared, plan_store(prepared, plan.run, file))
    return plan.finish()


def plan_measure(
    sources: Sequence[str],
    *,
    project: Project,
    run: RunOptions,
    protocol: Protocol,
    terminal: Terminal,
) -> Result:
    """What ``entangle measure`` would do; a checkpoint that cannot be used is a note."""
    plan = Plan("measure", run)
    models, data = split_sources(sources, project)
    if not models and is_stored(data):
        raise UsageError(f"{data}: --dry-run has nothing to say about stored activations")
    dataset = open_data(data, project, plan.run, terminal)
    plan.result.provenance["data"] = described(dataset)
    every_label(dataset.labels, dataset.name)
    planned = _Measured(plan, protocol, dataset)
    if models:
        planned.checkpoints(models, project, terminal)
    else:
        planned.raw(dataset.name)
    return plan.finish()


class _Measured:
    """What would be measured of one data set."""

    def __init__(self, plan: Plan, protocol: Protocol, dataset: "Dataset") -> None:
        self.plan, self.protocol, self.dataset = plan, protocol, dataset
        run = plan.run
        self._classes = len(set(dataset.labels.tolist()))
        self._kept = MeasuredLayers(
            run.output / "measured",
            protocol,
            dataset.labels,
            device=run.device,
            fresh=run.overwrite,
        )

    def checkpoints(self, models: Sequence[Path], project: Project, terminal: Terminal) -> None:
        """Each of them; the first error, where none can be used."""
        run, found = self.plan.run, order_checkpoints(models)
        fed = family_preprocessing(found, self.dataset, project, run)
        names = distinct_names([one.path for one in found])
        failed: list[EntangleError] = []
        terminal.start("looking at checkpoints", len(found))
        for checkpoint, name in zip(found, names, strict=True):
            try:
                opened = open_checkpoint(checkpoint, run)
                prepared = prepare(opened, self.dataset, project, run, fed.get(checkpoint.family))
                self._checkpoint(name, prepared)
            except EntangleError as error:
                failed.append(error)
                line = str(error) if name in str(error) else f"{name}: {error}"
                self.plan.result.notes.append(f"would fail: {line}")
            terminal.advance()
        terminal.finish()
        if failed and not self.plan.result.rows:
            raise failed[0]

    def _checkpoint(self, name: str, prepared: Prepared) -> None:
        if INPUT in self.plan.run.layers:
            self.raw(name)
        if not prepared.layers:
            return
        store = plan_store(prepared, self.plan.run)
        left = [one for one in store.layers if not self._kept.read(store.spec.identity, one.name)]
        self.plan.add(
            name,
            prepared,
            store,
            measured=f"{len(store.layers) - len(left)} of {len(store.layers)}",
            pairs_seconds=self._seconds([layer.dim for layer in left]),
        )

    def raw(self, name: str) -> None:
        """The raw input."""
        dim = raw_points(self.dataset.take([0])).shape[1]
        kept = self._kept.read({"data_fingerprint": self.dataset.fingerprint}, INPUT)
        self.plan.add_raw(
            name,
            self.dataset,
            dim,
            measured=f"{int(kept is not None)} of 1",
            pairs_seconds=self._seconds([] if kept else [dim]),
        )

    def _seconds(self, dims: Sequence[int]) -> float:
        if not dims:
            return 0.0
        run = self.plan.run
        count = len(self.dataset)
        self.plan.needs(memory=pair_memory(self.protocol.batch_size or count, max(dims)))
        return measuring_seconds(count, dims, self._classes, self.protocol, run.device)
