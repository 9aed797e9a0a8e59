"""``entangle dump``: the activations of a model on a data set, in one HDF5 file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import engine_options, options

if TYPE_CHECKING:
    from entangle_cli.runs.merge.dumped import DumpedShard


def dump(
    model: Annotated[str, typer.Argument(help="Model file, or its name in entangle.toml.")],
    data: Annotated[str, typer.Argument(help="Data: a path, or a name from entangle.toml.")],
    output: options.Output = Path("entangle-out"),
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE.h5",
            help="Write this file. Default: a file under DIR/activations named after model, data "
            "and everything else that determines it.",
        ),
    ] = None,
    layers: options.Layers = None,
    exclude_layers: options.ExcludeLayers = None,
    reduce: options.ReduceOption = options.Reduce.flatten,
    preprocess: options.Preprocess = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "cpu",
    dtype: options.Dtype = options.Precision.float32,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    engine: engine_options.EngineOption = engine_options.EngineKind.local,
    address: engine_options.Address = None,
    num_workers: engine_options.NumWorkers = None,
    cpus_per_worker: engine_options.CpusPerWorker = None,
    gpus_per_worker: engine_options.GpusPerWorker = None,
    max_retries: engine_options.MaxRetries = None,
    shard: options.ShardOption = None,
    dry_run: options.DryRun = False,
    overwrite: options.Overwrite = False,
    trust: options.Trust = False,
    sandbox: options.Sandbox = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model's activations to an HDF5 file; an interrupted dump resumes."""
    given = dict(locals())
    from entangle_cli.errors import UsageError
    from entangle_cli.project import find_project
    from entangle_cli.results import Result
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.preparing import (
        INPUT,
        activations,
        open_data,
        open_one_model,
        prepare,
        resolve_device,
    )
    from entangle_cli.runs.shared.provenance import described, model_row, provenance, sanity
    from entangle_cli.runs.shared.tables import plain_table
    from entangle_cli.runs.spread.opening import LOCAL, open_engine

    run = options.run_options(given)
    if INPUT in run.layers:
        raise UsageError("--layers input: the raw data is measured, not dumped; use its own file")
    wanted = engine_options.engine_options(given)
    terminal = Terminal(quiet=quiet, verbose=verbose)
    if dry_run:
        from entangle_cli.runs.plan.measure import plan_dump
        from entangle_cli.runs.plan.plan import show_plan

        plan = plan_dump(model, data, file, project=find_project(), run=run, terminal=terminal)
        show_plan(plan, options.chosen_format(format, json), terminal)
        return
    run = replace(run, device=resolve_device(run.device))
    project = find_project()
    opened = open_one_model(model, project, run)
    prepared = prepare(opened, open_data(data, project, run, terminal), project, run)
    for note in prepared.notes:
        terminal.note(f"{opened.path.name}: {note}")
    if shard is not None:
        if wanted.kind != LOCAL:
            raise UsageError("--shard and --engine ray: two ways to share the work; give one")
        from entangle_cli.runs.merge.dumped import dump_shard
        from entangle_cli.runs.merge.shard import parse_shard

        part = dump_shard(prepared, run, parse_shard(shard), terminal, file)
        show_shard(part, shard, options.chosen_format(format, json), terminal)
        return
    notes: list[str] = []
    with open_engine(wanted, run.device, terminal) as workers:
        spread = replace(run, engine=workers)
        stored = activations(prepared, spread, terminal, path=file, notes=notes)
    accuracy = sanity(stored, prepared, terminal)
    result = Result(
        command="dump",
        rows=stored_rows(stored),
        models=[model_row(prepared, accuracy, step=None)],
        provenance=provenance(file=str(stored.path), data=described(prepared.feed.dataset)),
        notes=[*notes, *(note for note in stored.notes if note not in stored.checks)],
    )
    for note in result.notes:
        terminal.warn(note)
    show(result, options.chosen_format(format, json), plain_table(result.rows, str(stored.path)))


def show_shard(part: "DumpedShard", shard: str, format: options.Format, terminal) -> None:
    """Print what a shard of a dump holds."""
    from entangle_cli.results import Result
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.tables import plain_table

    start, stop = part.rows
    result = Result(
        command="dump",
        rows=[] if part.stored is None else stored_rows(part.stored),
        provenance={"shard": shard, "folder": str(part.folder), "samples": [start, stop]},
    )
    if part.stored is None:
        result.notes.append(f"shard {shard}: no samples are left for it; merge knows")
    for note in result.notes:
        terminal.note(note)
    title = f"{part.folder}: samples {start} to {stop} of {part.total}"
    show(result, format, plain_table(result.rows, title))


def stored_rows(stored) -> list[dict]:
    """A row per layer of an activation file."""
    return [
        {
            "layer": layer.name,
            "kind": layer.kind,
            "shape": "x".join(map(str, layer.shape)),
            "reduce": layer.reduce,
            "dtype": str(layer.dtype),
            "rows": stored.rows,
        }
        for layer in stored.layers
    ]
