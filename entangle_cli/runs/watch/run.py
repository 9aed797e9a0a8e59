"""``entangle measure --watch`` from the command line to its last line."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from entangle_cli.errors import StoppedEarly, UsageError
from entangle_cli.measures.protocol import Protocol
from entangle_cli.project import Project
from entangle_cli.runs.measure.layer_points import every_label
from entangle_cli.runs.measure.measuring import Measuring
from entangle_cli.runs.measure.pairs import check_protocol
from entangle_cli.runs.measure.trackers import Trackers
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.folders import working_folder
from entangle_cli.runs.shared.live import Board, board
from entangle_cli.runs.shared.preparing import open_data, resolve_device
from entangle_cli.runs.shared.provenance import described, provenance
from entangle_cli.runs.shared.run_options import Format, RunOptions
from entangle_cli.runs.shared.sources import names_model
from entangle_cli.runs.watch.results import Pieces
from entangle_cli.runs.watch.watching import Watch, Watching

if TYPE_CHECKING:
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.results import Row


def watch_and_show(
    watch: Watch,
    sources: Sequence[str],
    *,
    project: Project,
    run: RunOptions,
    protocol: Protocol,
    pairs: bool,
    log_to: Sequence[str],
    format: Format,
    terminal: Terminal,
) -> None:
    """Measure what comes into a folder; show and write it as it grows.

    Raises:
        StoppedEarly: some checkpoints could not be measured; the others were.
        UsageError: nothing was measured.
    """
    if pairs:
        check_protocol(protocol)
    run = replace(run, device=resolve_device(run.device))
    dataset = open_data(_data(sources, project), project, run, terminal)
    every_label(dataset.labels, dataset.name)
    shown = board(format, quiet=terminal.quiet, verbose=terminal.verbose)
    trackers = Trackers(log_to, run.output, shown.terminal)

    def new() -> Measuring:
        piece = Measuring(run, protocol, shown.terminal, pairs=pairs)
        piece.class_names = dataset.class_names
        return piece

    made = _provenance(watch, dataset, run, protocol)
    pieces = Pieces(watch.folder.path, new=new, provenance=made)
    watching = Watching(watch, dataset, project, pieces=pieces, board=shown, trackers=trackers)
    with working_folder(run.output):
        terminal.note(f"watching {watch.folder}; results go to {run.output}; Ctrl-C ends")
        ended = False
        try:
            with shown:
                watching.run()
            ended = True
            _finish(watch, watching, pieces, shown)
        finally:
            pieces.write()
            files = [run.output / name for name in ("measure.json", "measure.csv")]
            trackers.close(files if len(pieces) else [], complete=ended)


def _provenance(watch: Watch, dataset: "Dataset", run: RunOptions, protocol: Protocol) -> "Row":
    return provenance(
        protocol=protocol.to_json(),
        seed=run.seed,
        data=described(dataset),
        watch={"folder": str(watch.folder)} | _asked(run),
    )


def _finish(watch: Watch, watching: Watching, pieces: Pieces, shown: Board) -> None:
    waiting = watching.waiting
    if not len(pieces):
        why = "; ".join(waiting) or "none came"
        if watching.failed:
            why = f"{', '.join(watching.failed)}: named above"
        raise UsageError(
            f"{watch.folder}: no checkpoint was measured ({why}); wait longer with --watch-idle, "
            "or watch another folder"
        )
    pieces.notes += [f"not measured, could not be opened by the end: {one}" for one in waiting]
    result = pieces.result()
    written = pieces.write(always=True)
    for note in result.notes:
        shown.terminal.note(f"note: {note}")
    shown.end(result)
    shown.terminal.note(f"wrote {', '.join(str(path) for path in written)}")
    if watching.failed:
        raise StoppedEarly(
            f"{len(watching.failed)} could not be measured: {', '.join(watching.failed)}; "
            f"{len(pieces)} checkpoints are complete"
        )


def _data(sources: Sequence[str], project: Project) -> str:
    """The one word of the command line that is left: the data."""
    models = [word for word in sources if names_model(word, project)]
    if models or len(sources) > 1:
        given = models[0] if models else sources[0]
        raise UsageError(
            f"{given}: --watch takes the checkpoints from its folder; give one data set only"
        )
    if sources:
        return sources[0]
    if "test" in project.data:
        return "test"
    raise UsageError(
        "no data given: put a folder or file after --watch DIR, or name a data set 'test' in "
        "entangle.toml"
    )


def _asked(run: RunOptions) -> dict:
    """What decides which rows there are: an earlier watch with the same goes on."""
    return {
        "layers": list(run.layers),
        "exclude_layers": list(run.exclude_layers),
        "reduce": run.reduce,
        "dtype": run.dtype,
        "preprocess": run.preprocess,
        "batch_size": run.batch_size,
        "device": run.device,
    }
