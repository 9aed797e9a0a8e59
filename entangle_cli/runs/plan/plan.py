"""The plan of a command (``--dry-run``) as a `Result`, and its table.

A row is one model on one data set: ``model, data, samples, measured, network_seconds,
pairs_seconds, layers, dims, bytes, activations``. ``activations`` says what is there already
(``new``, ``kept``, ``resumed at N``), ``measured`` how many layers are, ``bytes`` what is still to
be written.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from entangle_cli.results import Result, Row
from entangle_cli.runs.plan.planning import HOW, Store, layer_rows, peak_memory
from entangle_cli.runs.shared.console import Terminal, duration, show
from entangle_cli.runs.shared.preparing import INPUT, Prepared, resolve_device
from entangle_cli.runs.shared.provenance import provenance
from entangle_cli.runs.shared.run_options import Format, RunOptions
from entangle_cli.runs.shared.tables import new_table, number, plain_table, plain_text

if TYPE_CHECKING:
    from rich.console import Group

    from entangle_cli.datasets.dataset import Dataset


class Plan:
    """Collects what would be done."""

    def __init__(self, command: str, run: RunOptions) -> None:
        self.run = replace(run, device=resolve_device(run.device))
        self.result = Result(command=command)
        self.result.provenance = provenance(dry_run=True, output=str(run.output))
        self._layers: dict[str, Row] = {}
        self._extra_memory = self._extra_disk = 0
        self._extra_seconds = 0.0

    def add(self, model: str, prepared: Prepared, store: Store, **more: Any) -> None:
        """One model on one data set."""
        dataset = prepared.feed.dataset
        self._layers |= {row["layer"]: row for row in layer_rows(store.layers)}
        per_row = store.bytes // max(1, store.rows)
        self._put(
            model=model,
            dataset=dataset,
            layers=len(store.layers),
            dims=sum(layer.dim for layer in store.layers),
            bytes=per_row * (store.rows - store.rows_kept),
            activations=store.state,
            network_seconds=store.seconds,
            **more,
        )

    def _put(self, *, model: str, dataset: "Dataset", **row: Any) -> None:
        empty = {"measured": None, "network_seconds": 0.0, "pairs_seconds": 0.0}
        place = {"model": model, "data": dataset.name, "samples": len(dataset)}
        self.result.rows.append(place | empty | row)

    def add_raw(self, model: str, dataset: "Dataset", dim: int, **more: Any) -> None:
        """The raw input of a set, which is measured and not stored."""
        self._layers[INPUT] = {"layer": INPUT, "shape": str(dim), "dim": dim, "bytes_per_sample": 0}
        of = {"layers": 1, "dims": dim, "bytes": 0, "activations": "not stored"}
        self._put(model=model, dataset=dataset, **of, **more)

    def needs(self, *, memory: int = 0, disk: int = 0, seconds: float = 0.0) -> None:
        """What is needed beyond the rows, in bytes and seconds."""
        self._extra_memory = max(self._extra_memory, memory)
        self._extra_disk += disk
        self._extra_seconds += seconds

    def finish(self) -> Result:
        """The plan with its totals."""
        rows = self.result.rows
        seconds = sum(row["network_seconds"] + row["pairs_seconds"] for row in rows)
        self.result.provenance |= {
            "layers": list(self._layers.values()),
            "bytes": sum(row["bytes"] for row in rows) + self._extra_disk,
            "memory": peak_memory() + self._extra_memory,
            "seconds": seconds + self._extra_seconds,
            "estimate": HOW,
        }
        return self.result


def show_plan(result: Result, format: Format, terminal: Terminal) -> None:
    """Print a plan; nothing is written."""
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, format, plan_table(result))
    terminal.note("dry run: nothing was written")


def plan_table(result: Result) -> "Group":
    """The layers, what is done with each set, and the totals."""
    from rich.console import Group

    totals = result.provenance
    table = new_table(f"entangle {result.command} would do")
    for heading, justify in (
        ("model", "left"), ("data", "left"), ("samples", "right"), ("layers", "right"),
        ("to write", "right"), ("activations", "left"), ("measured", "left"),
        ("network", "right"), ("pairs", "right"),
    ):  # fmt: skip
        table.add_column(heading, justify=justify)
    for row in result.rows:
        table.add_row(
            plain_text(row["model"]),
            plain_text(row["data"]),
            str(row["samples"]),
            str(row["layers"]),
            size(row["bytes"]),
            row["activations"],
            row["measured"] or "-",
            duration(row["network_seconds"]),
            duration(row["pairs_seconds"]),
        )
    lines = [
        f"disk: {size(totals['bytes'])} in {totals['output']}",
        f"memory: about {size(totals['memory'])}",
        f"time: {'about ' * (totals['seconds'] >= 1)}{duration(totals['seconds'])}",
        f"how the time is estimated: {totals['estimate']}",
    ]
    layers = plain_table(totals["layers"], "Layers")
    return Group(layers, table, *(plain_text(line) for line in lines))


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return (
                f"{count:.0f} {unit}" if unit == "B" else f"{number(count)[:4].rstrip('.')} {unit}"
            )
        count /= 1000
    return f"{count:.1f} TB"
