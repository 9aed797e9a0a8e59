"""A TorchScript file as a `Model`: layers from a probe run, values through taps."""

import hashlib
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from entangle_cli.errors import ModelError
from entangle_cli.models import Layer, TensorSpec
from entangle_cli.models.head import HeadSearch, LinearHead
from entangle_cli.models.safety import refusal
from entangle_cli.models.torchscript.catalog import (
    Catalog,
    Tappable,
    recorded_catalog,
    static_catalog,
)
from entangle_cli.models.torchscript.extras import extra_texts
from entangle_cli.models.torchscript.head import find_head
from entangle_cli.models.torchscript.inputs import candidates
from entangle_cli.models.torchscript.network import Network
from entangle_cli.models.torchscript.taps import Firing, Firings
from entangle_cli.models.torchscript.trial import Trial, try_out
from entangle_cli.models.torchscript.values import activation, batch_size, outputs, take_rows

if TYPE_CHECKING:
    from entangle_cli.models import Sink


class TorchScriptModel(HeadSearch):
    """A traced, scripted or frozen network that names its layers and returns their outputs.

    Loading refuses files that would reach outside the network (see `safety`) unless ``trust`` is
    set. The network runs in inference mode, on ``device`` and nowhere else; its outputs are those
    of the plain module, bit for bit. Raises ModelError for anything that cannot be loaded.
    """

    format: Literal["torchscript"] = "torchscript"

    def __init__(self, path: str | Path, *, device: str = "cpu", trust: bool = False) -> None:
        self.path = Path(path)
        self.device = device
        if (reason := refusal(self.path, trust=trust)) is not None:
            raise ModelError(f"{self.path}: {reason}")
        self._network = Network(self.path, device)
        self.inputs: tuple[TensorSpec, ...] = self._network.inputs
        self.notes: list[str] = list(self._network.notes)
        self._catalog: Catalog | None = None
        self._recorded = False
        self._fixed: int | None = None

    @cached_property
    def sha256(self) -> str:
        """The checksum of the file, hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The texts saved inside the file, by name."""
        return extra_texts(self.path)

    def candidate_examples(self) -> Iterator[list[np.ndarray]]:
        """Small made-up batches to try where there is no data, the most usual sizes first."""
        return candidates(self.inputs, self._network.needs)

    def layers(self, example: Sequence[np.ndarray] | None = None) -> tuple[Layer, ...]:
        """Every tappable layer in execution order.

        ``example`` is a small batch of inputs; the network runs on it to find its main flow and
        the shapes. Without one the made-up candidates are tried; where none runs, the layers are
        read from the graph alone, without a default selection, and a note says so.
        Raises ModelError when the network does not run on ``example`` or has no layers at all.
        """
        if example is not None:
            self._adopt(try_out(self._network, example))
        elif self._catalog is None:
            self._guess()
        if not self._catalog.entries:
            raise ModelError(
                f"{self.path.name} has no layers: it computes no tensor from its input that "
                "could be tapped"
            )
        return self._catalog.layers

    def run(
        self, inputs: Sequence[np.ndarray], layers: Sequence[str], sink: "Sink"
    ) -> list[np.ndarray]:
        """Run one batch: each of ``layers`` goes to ``sink`` once, the outputs are returned.

        An exception of the sink stops the run and comes out of here unchanged. Raises ModelError
        for an unknown layer, one without a batch axis, or one that this input does not reach, and
        MemoryError when the device has no memory left.
        """
        if not self._recorded:
            self._adopt(try_out(self._network, inputs))
        wanted = self._catalog.find(layers, self.path.name)
        rows = batch_size(inputs)
        if self._fixed is None or rows == self._fixed:
            return self._run_whole(inputs, rows, wanted, sink)
        return self._run_in_pieces(inputs, rows, wanted, sink)

    def _find_head(self, example: Sequence[np.ndarray]) -> LinearHead:
        if not self._recorded:
            self._adopt(try_out(self._network, example))
        given = batch_size(example)
        batch = take_rows(list(example), np.arange(self._fixed or given) % given, given)
        return find_head(self, self._network, self._catalog, batch)

    def _guess(self) -> None:
        second_choice = None
        for example in self.candidate_examples():
            try:
                trial = try_out(self._network, example, resize=False)
            except ModelError:
                continue
            if trial.gives_rows:
                return self._adopt(trial, _made_up(example))
            # a reshape may fold a wrong image size into more rows
            second_choice = second_choice or (trial, _made_up(example))
        if second_choice is not None:
            return self._adopt(*second_choice)
        self._catalog = static_catalog(self._network.graph)
        self.notes.append(
            "no made-up input runs through this network: the layers are those in its code, and "
            "the default selection needs data or --input-shape"
        )
        return None

    def _adopt(self, trial: Trial, *notes: str) -> None:
        found = [*trial.notes, *notes]
        self._catalog = recorded_catalog(
            self._network.graph, trial.recording, trial.rows, trial.wider, found
        )
        self._fixed, self._recorded = trial.fixed, True
        # what an earlier example showed no longer holds
        self.notes[len(self._network.notes) :] = found

    def _run_whole(
        self,
        inputs: Sequence[np.ndarray],
        rows: int,
        wanted: dict[Firing, Tappable],
        sink: "Sink",
    ) -> list[np.ndarray]:
        missing = dict(wanted)
        count = Firings()

        def receive(site: int, value: object) -> None:
            for firing, tensor in count(site, value):
                entry = missing.pop(firing, None)
                if entry is not None:
                    sink(entry.layer.name, self._in_rows(entry, activation(tensor), rows))

        sites: Set[int] = frozenset(site for site, _, _ in wanted)
        result = self._network.run(inputs, sites, receive)
        if missing:
            names = ", ".join(entry.layer.name for entry in missing.values())
            raise ModelError(f"{self.path.name} did not reach {names} on this input")
        return outputs(result)

    def _in_rows(self, entry: Tappable, array: np.ndarray, rows: int) -> np.ndarray:
        if array.shape[:1] != (rows,):
            raise ModelError(
                f"{self.path.name}, layer {entry.layer.name}: shape {list(array.shape)} for a "
                f"batch of {rows}; its first axis is not the batch, choose another layer"
            )
        return array

    def _run_in_pieces(
        self,
        inputs: Sequence[np.ndarray],
        rows: int,
        wanted: dict[Firing, Tappable],
        sink: "Sink",
    ) -> list[np.ndarray]:
        """Run batches of the one size that the network takes; the last is padded and trimmed.

        Outputs without a batch axis belong to one piece only and are left out.
        """
        size = self._fixed
        parts: dict[str, list[np.ndarray]] = {}
        results: list[list[np.ndarray]] = []
        for start in range(0, rows, size):
            keep = min(size, rows - start)

            def collect(name: str, array: np.ndarray, keep: int = keep) -> None:
                parts.setdefault(name, []).append(array[:keep].copy())

            piece = take_rows(list(inputs), np.minimum(np.arange(size) + start, rows - 1), rows)
            whole = self._run_whole(piece, size, wanted, collect)
            results.append([x[:keep] for x in whole if x.shape[:1] == (size,)])
        for name, arrays in parts.items():
            sink(name, np.concatenate(arrays))
        return [np.concatenate(x) for x in zip(*results, strict=False)]


def _made_up(example: Sequence[np.ndarray]) -> str:
    shapes = ", ".join(str(list(array.shape)) for array in example)
    return f"no data given: the shapes are those of a made-up input {shapes}"
