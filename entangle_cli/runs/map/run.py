"""What ``entangle map`` does, without its options, its table and its figure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.measures.embedding import embed, require_opentsne, require_size
from entangle_cli.measures.protocol import Protocol, measure
from entangle_cli.measures.temperature import MIXED, SEPARATED
from entangle_cli.measures.two_sample import two_sample
from entangle_cli.project import Project
from entangle_cli.results import Row
from entangle_cli.runs.dknn.data import known_labels
from entangle_cli.runs.map.data import Sampled, model_and_data, samples
from entangle_cli.runs.map.found import MapFound, MapOptions, MappedSet
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.folders import working_folder
from entangle_cli.runs.shared.preparing import (
    EXAMPLE_ROWS,
    Prepared,
    activations,
    open_checkpoint,
    open_data,
    prepare,
    resolve_device,
)
from entangle_cli.runs.shared.provenance import described, model_row, provenance, sanity
from entangle_cli.runs.shared.resolving import resolve
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.sources import choose_checkpoint

if TYPE_CHECKING:
    from entangle_cli.activations.file import ActivationFile

# 1-NN accuracy is looked up at one temperature, which it does not depend on
_ANY = Protocol(temperature=1.0)
# what the measure says of classes, said of sets
_AS_SETS = {
    SEPARATED: "every point's nearest neighbor is of its own set",
    MIXED: "near points share a set no more than far ones",
}


def run_map(
    sources: Sequence[str], project: Project, run: RunOptions, asked: MapOptions, terminal: Terminal
) -> MapFound:
    """Map the data in one layer of the model and place the other sets.

    Raises:
        EntangleError: openTSNE is not installed, or something given does not fit.
    """
    require_opentsne()
    model, data = model_and_data(sources, project)
    run = replace(run, device=resolve_device(run.device))
    checkpoint = choose_checkpoint(model, project, terminal)
    datasets = [open_data(name, project, run, terminal) for name in (data, *asked.placed)]
    sets = samples(datasets, asked.sample, run.seed)
    require_size(len(sets[0].rows), asked.perplexity)
    work = _Work(project, run, asked, terminal)
    with working_folder(run.output) as scratch:
        return work.find(checkpoint, sets, scratch)


class _Work:
    """One map: collects notes on the way."""

    def __init__(
        self, project: Project, run: RunOptions, asked: MapOptions, terminal: Terminal
    ) -> None:
        self.project, self.run, self.asked, self.terminal = project, run, asked, terminal
        self.notes: list[str] = []

    def find(self, checkpoint, sets: Sequence[Sampled], scratch: Path) -> MapFound:
        """Activations, map, places and numbers of every set."""
        for one in sets:
            if len(one.part) < len(one.whole):
                self.notes.append(f"{one.name}: {len(one.part)} of {len(one.whole)} samples")
        model = open_checkpoint(checkpoint, self.run)
        resolved = resolve(model, sets[0].whole, self.project, self.run)

        def prepared(one: Sampled) -> Prepared:
            return prepare(model, one.part, self.project, self.run, resolved)

        first = prepared(sets[0])
        layer = self._layer(first)
        stored = [
            activations(
                replace(prepared(one), layers=(layer,)),
                self.run,
                self.terminal,
                notes=self.notes,
            )
            for one in sets
        ]
        accuracy = sanity(stored[0], first, self.terminal)
        points = [file.points(layer) for file in stored]
        self.terminal.note(f"mapping {len(points[0])} points of {layer}")
        places = self._places(points, [f"{one.name}, layer {layer}" for one in sets])
        found = [self._classes(sets[0], stored[0], points[0], places[0], scratch)]
        for number in range(1, len(sets)):
            pair = (points[0], points[number]), (places[0], places[number])
            found.append(self._other(sets, number, stored[number], pair, scratch))
        return MapFound(
            layer=layer,
            dim=points[0].shape[1],
            sets=tuple(found),
            model=model_row(first, accuracy, checkpoint.step),
            provenance=self._provenance(layer, sets),
            notes=self.notes,
        )

    def _places(self, points: Sequence[np.ndarray], names: Sequence[str]) -> list[np.ndarray]:
        """Coordinates of every set; what cannot be mapped is named."""
        places = []
        embedding = None
        for name, own in zip(names, points, strict=True):
            try:
                if embedding is None:
                    perplexity, seed = self.asked.perplexity, self.run.seed
                    embedding = embed(own, perplexity=perplexity, seed=seed)
                    places.append(embedding.coordinates)
                else:
                    places.append(embedding.place(own))
            except MeasureError as error:
                raise MeasureError(f"{name}: {error}") from error
        return places

    def _layer(self, prepared: Prepared) -> str:
        """The layer asked for; else what the last linear layer reads, or the last but one row."""
        from entangle_cli.models.patterns import select_layers

        example = prepared.feed.batch(0, min(EXAMPLE_ROWS, prepared.feed.rows))
        if self.asked.layer is not None:
            chosen = select_layers(prepared.model.layers(example), [self.asked.layer], ())
            if len(chosen) > 1:
                raise UsageError(
                    f"--layer {self.asked.layer}: stands for {len(chosen)} layers; give one"
                )
            return chosen[0]
        head, reason = prepared.model.head_or_reason(example)
        if head is not None:
            return head.features
        layer = prepared.layers[-2:][0]
        self.notes.append(f"mapped layer {layer}: no last linear layer ({reason}); see --layer")
        return layer

    def _classes(
        self,
        one: Sampled,
        stored: "ActivationFile",
        points: np.ndarray,
        places: np.ndarray,
        scratch: Path,
    ) -> MappedSet:
        labels = one.part.labels
        known = np.zeros(len(points), dtype=bool) if labels is None else labels >= 0
        in_layer, in_map = None, None
        if not known.any():
            self.notes.append(f"{one.name}: has no labels; classes are not measured")
        else:
            if not known.all():
                self.notes.append(f"{one.name}: {(~known).sum()} samples without label left out")
            try:
                in_layer = measure(
                    points[known],
                    labels[known],
                    Protocol(),
                    device=self.run.device,
                    scratch=scratch,
                )
                in_map = measure(places[known], labels[known], _ANY).knn_accuracy
                self.notes += [f"{one.name}: {note}" for note in in_layer.notes]
            except MeasureError as error:
                self.notes.append(f"{one.name}: classes are not measured: {error}")
        return MappedSet(one, labels, predictions(stored), places, None, in_layer, in_map)

    def _other(
        self,
        sets: Sequence[Sampled],
        number: int,
        stored: "ActivationFile",
        pair: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
        scratch: Path,
    ) -> MappedSet:
        one, first = sets[number], sets[0]
        points, places = pair
        found = two_sample(*points, Protocol(), device=self.run.device, scratch=scratch).observed
        self.notes += [
            f"{one.name} and {first.name}: {_AS_SETS.get(note, note)}" for note in found.notes
        ]
        return MappedSet(
            sampled=one,
            labels=known_labels(one.part, first.part, self.notes),
            prediction=predictions(stored),
            coordinates=places[1],
            against=first.name,
            in_layer=found,
            in_map=two_sample(*places, _ANY).observed.knn_accuracy,
        )

    def _provenance(self, layer: str, sets: Sequence[Sampled]) -> Row:
        from importlib import metadata

        return provenance(
            openTSNE=metadata.version("openTSNE"),
            layer=layer,
            sample=self.asked.sample,
            perplexity=self.asked.perplexity,
            seed=self.run.seed,
            classes=sets[0].whole.class_names,
            data=described(sets[0].part),
            placed=[described(one.part) for one in sets[1:]],
        )


def predictions(stored: "ActivationFile") -> np.ndarray | None:
    """The class with the largest score ``(n,)``; None where the model has no class scores."""
    return None if stored.logits is None else np.asarray(stored.logits).argmax(axis=1)
