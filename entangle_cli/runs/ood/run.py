"""What ``entangle ood`` does, without its options and its tables."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from entangle_cli.activations.file import ActivationFile
from entangle_cli.errors import UsageError
from entangle_cli.library.evidence import (
    NeighborsOf,
    Penultimate,
    by_least_squares,
    evidence,
    from_file,
)
from entangle_cli.measures.ood.catalogue import choose_methods
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.fitting import fit_detectors
from entangle_cli.measures.ood.interface import Method
from entangle_cli.project import Project
from entangle_cli.results import Row
from entangle_cli.runs.dknn.data import check_overlap, known_labels
from entangle_cli.runs.ood.data import OODData, has_labels, reachable_neighbors, shared_notes
from entangle_cli.runs.ood.found import OODFound, OODOptions, scored_sets
from entangle_cli.runs.ood.neighbors import metrics_needed, near_training
from entangle_cli.runs.shared.console import Terminal
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
from entangle_cli.runs.shared.searching import Searching
from entangle_cli.runs.shared.sources import choose_checkpoint

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.datasets.probing import Resolved
    from entangle_cli.models import Model


def run_ood(
    model: str | None,
    data: OODData,
    project: Project,
    run: RunOptions,
    asked: OODOptions,
    terminal: Terminal,
) -> OODFound:
    """Fit detectors on what is known, score the inside set and the outside sets.

    Raises:
        EntangleError: something given does not fit, or calibration overlaps other data.
    """
    methods = choose_methods(asked.detectors)
    run = replace(run, device=resolve_device(run.device))
    # --limit is about what is judged; fewer training points would be other detectors
    whole = replace(run, limit=None)
    checkpoint = choose_checkpoint(model, project, terminal)
    train, calib = (
        None if name is None else open_data(name, project, whole, terminal)
        for name in (data.train, data.calib)
    )
    tests = [open_data(name, project, run, terminal) for name in (data.inside, *data.outside)]
    work = _Work(open_checkpoint(checkpoint, run), project, run, asked, terminal)
    work.check(train, calib, tests)
    return work.find(methods, train, calib, tests, checkpoint.step)


class _Work:
    """One model, and what is found about data sets with it."""

    def __init__(
        self,
        model: "Model",
        project: Project,
        run: RunOptions,
        asked: OODOptions,
        terminal: Terminal,
    ) -> None:
        self.model, self.project, self.run, self.asked = model, project, run, asked
        self.terminal = terminal
        self.notes: list[str] = []

    def check(
        self, train: "Dataset | None", calib: "Dataset | None", tests: Sequence["Dataset"]
    ) -> None:
        """Refuse calibration that is not held out; say what else is shared."""
        inside = tests[0]
        trained = [] if train is None else [("training", train)]
        if calib is not None:
            self.notes += check_overlap(
                calib,
                [*trained, ("inside", inside)],
                force=self.asked.force,
                consequence="thresholds and credibilities are not valid",
            )
        self.notes += shared_notes(train, calib, tests)
        if train is not None:
            wanted = self.asked.search.k
            k = reachable_neighbors(wanted, train, (calib, *tests))
            self.asked = replace(self.asked, search=replace(self.asked.search, k=k))
            if k < wanted:
                self.notes.append(f"{len(train)} training samples: {k} neighbors, not {wanted}")

    def find(
        self,
        methods: Sequence[Method],
        train: "Dataset | None",
        calib: "Dataset | None",
        tests: Sequence["Dataset"],
        step: int | None,
    ) -> OODFound:
        """Activations, neighbors, detectors and scores of every set."""
        # probing wants labels; the inside set is what the network was made for
        probed = next((d for d in (tests[0], calib, train) if has_labels(d)), tests[0])
        resolved = resolve(self.model, probed, self.project, self.run)
        prepared = prepare(self.model, tests[0], self.project, self.run, resolved)
        layers = _require_places(methods, prepared.layers)
        penultimate_of, extra = self._penultimate(prepared)
        wanted = tuple(dict.fromkeys((*layers, *extra)))
        *files, train_file, calib_file = (
            None if dataset is None else self._stored(dataset, resolved, wanted)
            for dataset in (*tests, train, calib)
        )
        accuracy = sanity(files[0], prepared, self.terminal)
        first = next(file for file in (train_file, calib_file, files[0]) if file is not None)
        penultimate = penultimate_of(first)
        self.notes += [penultimate.note] if penultimate.note else []
        known, sets = self._evidence(
            methods, layers, penultimate, (train, calib, *tests), (train_file, calib_file, *files)
        )
        fitted = fit_detectors(methods, known, layers, keep=self.asked.keep, progress=self.terminal)
        scored = scored_sets(tests, files, sets, fitted, scratch=self.run.output)
        return OODFound(
            prepared=prepared,
            layers=layers,
            penultimate=penultimate,
            train=train_file,
            fitted=tuple(fitted),
            inside=scored[0],
            outside=tuple(scored[1:]),
            model=model_row(prepared, accuracy, step),
            provenance=self._provenance(layers, penultimate, train, calib, tests),
            notes=self.notes,
        )

    def _stored(
        self, dataset: "Dataset", resolved: "Resolved", layers: tuple[str, ...]
    ) -> ActivationFile:
        prepared = prepare(self.model, dataset, self.project, self.run, resolved)
        prepared = replace(prepared, layers=layers)
        return activations(prepared, self.run, self.terminal, notes=self.notes)

    def _penultimate(self, prepared: Prepared):
        """How to find the last linear layer once activations are stored, and the layer it reads."""
        example = prepared.feed.batch(0, min(EXAMPLE_ROWS, prepared.feed.rows))
        found, reason = self.model.head_or_reason(example)
        named = self.asked.features
        if named is None or (found is not None and found.features == named):
            extra = () if found is None else (found.features,)
            return lambda file: from_file(found, reason, file), extra
        known = [layer.name for layer in self.model.layers(example)]
        if named not in known:
            raise UsageError(f"--features {named}: no such layer; see entangle layers")
        return lambda file: by_least_squares(named, file), (named,)

    def _evidence(
        self,
        methods: Sequence[Method],
        layers: tuple[str, ...],
        penultimate: Penultimate,
        datasets: Sequence["Dataset | None"],
        files: Sequence[ActivationFile | None],
    ) -> tuple[Known, list[Evidence]]:
        """What detectors are fitted on, and the evidence of the inside and outside sets."""
        averaged = any("channels" in method.needs for method in methods)
        train, train_file = datasets[0], files[0]
        near: dict[int, NeighborsOf] = {}
        if train_file is not None:
            queried = [file for file in files[1:] if file is not None]
            metrics = metrics_needed(method.needs for method in methods)
            searching = Searching(self.run, self.asked.search, self.terminal, self.notes)
            lists = near_training(searching, metrics, train_file, queried, layers)
            near = {id(file): found for file, found in zip(queried, lists, strict=True)}

        def of(dataset: "Dataset | None", file: ActivationFile | None) -> Evidence | None:
            if dataset is None or file is None:
                return None
            labels = dataset.labels
            if train is not None and dataset is not train:
                # an outside set has other classes, of course
                labels = known_labels(dataset, train, self.notes if dataset is datasets[1] else [])
            return evidence(
                file,
                penultimate,
                layers,
                labels=labels,
                neighbors=near.get(id(file), {}),
                averaged=averaged,
            )

        found = [of(dataset, file) for dataset, file in zip(datasets, files, strict=True)]
        return Known(found[0], found[1], penultimate.head, self.run.seed), found[2:]

    def _provenance(
        self,
        layers: tuple[str, ...],
        penultimate: Penultimate,
        train: "Dataset | None",
        calib: "Dataset | None",
        tests: Sequence["Dataset"],
    ) -> Row:
        return provenance(
            k=self.asked.search.k,
            method=self.asked.search.method,
            keep=self.asked.keep,
            seed=self.run.seed,
            layers=list(layers),
            features=penultimate.layer,
            train=None if train is None else described(train),
            calib=None if calib is None else described(calib),
            inside=described(tests[0]),
            outside=[described(test) for test in tests[1:]],
        )


def _require_places(methods: Sequence[Method], layers: tuple[str, ...]) -> tuple[str, ...]:
    if not any(method.places(layers) for method in methods):
        names = ", ".join(dict.fromkeys(method.name for method in methods))
        raise UsageError(f"{names}: there is no layer to look at; choose some with --layers")
    return layers
