"""The rows of ``entangle measure``: layer by layer, kept for the next run, with what failed."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from entangle_cli.errors import (
    EntangleError,
    MeasureError,
    UsageError,
)
from entangle_cli.measures.class_pairs import class_pairs
from entangle_cli.measures.protocol import Protocol, measure
from entangle_cli.results import Result, Row, finite
from entangle_cli.runs.measure.measured import MeasuredLayers
from entangle_cli.runs.measure.pairs import TABLE, pair_notes, pair_rows
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.scratch import give_back

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.measures.temperature import Entanglement
    from entangle_cli.runs.measure.layer_points import Layers


_COMPARED = ("entanglement", "snnl", "temperature", "knn_accuracy")


class Measuring:
    """One call of ``entangle measure``: collects rows, models, notes and what failed."""

    def __init__(
        self, run: RunOptions, protocol: Protocol, terminal: Terminal, *, pairs: bool = False
    ) -> None:
        self.run, self.protocol, self.terminal, self.pairs = run, protocol, terminal, pairs
        self.class_names: tuple[str, ...] | None = None
        self.result = Result(command="measure")
        self.failed: list[str] = []
        self._held: list[tuple[str, EntangleError]] = []
        # files in it are unlinked as soon as they are open, so nothing is left behind
        self.scratch = run.output
        self.noted: dict[str, list[str]] = {}
        # layers of activation files that ended the workers of an engine
        self.given_up: Mapping[tuple[str, str], EntangleError] = {}

    def ours(self, layers: Sequence[str], place: int = 0, places: int = 1) -> list[str]:
        """Those of the layers of a checkpoint, number ``place`` of ``places``, to measure here."""
        shard = self.run.shard
        return list(layers) if shard is None else shard.of_items(layers, place, places)

    def add_rows(
        self, layers: "Layers", labels: "np.ndarray", model: str, step: int | None = None
    ) -> None:
        """Measure each layer and append its row.

        A layer that the measure is not defined for is reported; the others are measured.
        """
        kept = MeasuredLayers(
            self.run.output / "measured",
            self.protocol,
            labels,
            device=self.run.device,
            fresh=self.run.overwrite,
        )
        for name, identity, uncached in layers:
            read = cache(uncached)
            found = kept.read(identity, name)
            try:
                if found is None:
                    found = self._measure(read(), labels)
                    kept.write(identity, name, found)
                    give_back()
            except MeasureError as error:
                self.fail(f"{model}, layer {name}", error)
                continue
            self._say_held()
            of = {"model": model, "step": step, "layer": name}
            self.result.rows.append(of | _row(found))
            notes = list(found.notes)
            if self.pairs:
                notes += self._add_pairs(kept, identity, read, labels, of)
            for note in notes:
                self.noted.setdefault(note, []).append(name if step is None else f"{name}@{step}")
            self.terminal.advance()

    def _add_pairs(
        self,
        kept: MeasuredLayers,
        identity: Mapping[str, Any],
        read: "Callable[[], np.ndarray]",
        labels: "np.ndarray",
        of: Row,
    ) -> list[str]:
        """Append a layer's row per pair of classes; returns what is missing."""
        pairs = kept.read_pairs(identity, of["layer"])
        if pairs is None:
            run = self.run
            pairs = class_pairs(
                read(), labels, self.protocol, device=run.device, scratch=self.scratch
            )
            kept.write_pairs(identity, of["layer"], pairs)
        rows = pair_rows(pairs, self.class_names, of)
        self.result.tables.setdefault(TABLE, []).extend(rows)
        return pair_notes(pairs, labels, self.class_names)

    def _measure(self, points: "np.ndarray", labels: "np.ndarray") -> "Entanglement":
        return measure(points, labels, self.protocol, device=self.run.device, scratch=self.scratch)

    def fail(self, what: str, error: EntangleError) -> None:
        """Report something that could not be measured and go on.

        Failures are held back until something is measured: where nothing is, they often have one
        reason, which is then the answer.
        """
        self._held.append((what, error))
        self.failed.append(what)
        if self.result.rows:
            self._say_held()

    def _say_held(self) -> None:
        for what, error in self._held:
            self.terminal.error(_about(what, error))
        self._held.clear()

    def finish(self) -> Result:
        """The result, with equal notes of several layers said once.

        Raises:
            EntangleError: nothing at all was measured.
        """
        if self._held and len({str(error) for _, error in self._held}) == 1:
            what, error = self._held[0]
            others = len(self._held) - 1
            raise type(error)(_about(what + f" and {others} more" * (others > 0), error))
        self._say_held()
        if not self.result.rows and (self.failed or self.run.shard is None):
            raise UsageError(f"none of {len(self.failed)} was measured; each is named above")
        for note, places in self.noted.items():
            shown = ", ".join(places[:6]) + f" and {len(places) - 6} more" * (len(places) > 6)
            self.result.notes.append(f"{shown}: {note}")
        self.result.files["metrics.json"] = _metrics(self.result.rows)
        return self.result


def _metrics(rows: Sequence[Row]) -> str:
    """The last checkpoint's numbers as a tree by layer, as DVC and its like compare them."""
    last = {row["layer"]: {key: row[key] for key in _COMPARED} for row in rows}
    return json.dumps(finite(last), indent=1) + "\n"


def _about(what: str, error: EntangleError) -> str:
    return str(error) if what in str(error) else f"{what}: {error}"


def _row(found: Any) -> Row:
    keys = (
        "dim", "n", "classes", "snnl", "temperature", "ceiling", "entanglement", "boundary",
        "knn_accuracy",
    )  # fmt: skip
    return {key: getattr(found, key) for key in keys}
