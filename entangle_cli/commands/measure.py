"""``entangle measure``: the entanglement of every layer of every checkpoint."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entangle_cli.commands import engine_options, options

if TYPE_CHECKING:
    from entangle_cli.measures.protocol import Protocol
    from entangle_cli.project import Project
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.spread.opening import EngineOptions


def measure(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]... [DATA]",
            help="Checkpoints and, last, the data: paths or names from entangle.toml. Without a "
            "model the data itself is measured; an activation file is measured layer by layer.",
        ),
    ] = None,
    output: options.Output = Path("entangle-out"),
    layers: options.Layers = None,
    exclude_layers: options.ExcludeLayers = None,
    metric: options.MetricOption = options.Metric.euclidean,
    reduce: options.ReduceOption = options.Reduce.flatten,
    temperature: Annotated[
        str,
        typer.Option(metavar="min|T|Cxmedian", help="Minimize over T, or use this temperature."),
    ] = "min",
    protocol: Annotated[
        str,
        typer.Option(
            metavar="all|batches:SIZExCOUNT",
            help="All points at once, or the mean over batches as in the papers.",
        ),
    ] = "all",
    class_pairs: Annotated[
        bool,
        typer.Option("--class-pairs", help="Also every pair of classes: which mix with which."),
    ] = False,
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Measure the checkpoints in DIR, now and as they are written; DIR/*.onnx for some "
            "of them. Give the data only.",
        ),
    ] = None,
    watch_until: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="End --watch when N checkpoints are measured."),
    ] = None,
    watch_idle: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="End --watch when nothing new came for so long.  [default: never]",
        ),
    ] = None,
    log_to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="tensorboard[:DIR]|wandb[:PROJECT]|mlflow[:EXPERIMENT]",
            help="Send the numbers to an experiment tracker as well; repeatable.",
        ),
    ] = None,
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
    """Soft nearest neighbor loss per layer and checkpoint, minimized over temperature.

    Prints a row per layer; several checkpoints are put in the order of the steps in their names.
    """
    given = dict(locals())
    from entangle_cli.errors import UsageError
    from entangle_cli.measures.protocol import parse_protocol
    from entangle_cli.project import find_project
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.spread.opening import EngineOptions

    run = options.run_options(given)
    wanted = engine_options.engine_options(given)
    asked = {
        "project": find_project(),
        "run": run,
        "protocol": parse_protocol(protocol, temperature, metric=metric.value, seed=seed),
        "pairs": class_pairs,
        "log_to": log_to or [],
        "format": options.chosen_format(format, json),
        "terminal": Terminal(quiet=quiet, verbose=verbose),
    }
    if dry_run:
        if watch is not None:
            raise UsageError("--dry-run with --watch: what will come is unknown; give checkpoints")
        from entangle_cli.runs.plan.measure import plan_measure
        from entangle_cli.runs.plan.plan import show_plan

        given = {key: asked[key] for key in ("project", "run", "protocol", "terminal")}
        show_plan(plan_measure(sources or [], **given), asked["format"], asked["terminal"])
        return
    if shard is not None:
        if watch is not None or wanted != EngineOptions():
            raise UsageError("--shard with --watch or --engine ray: give one of them")
        measure_shard_and_show(sources or [], shard, given, **asked)
        return
    if watch is None:
        if watch_until is not None or watch_idle is not None:
            raise UsageError("--watch-until and --watch-idle end a watch; give --watch DIR")
        measure_and_show(sources or [], **asked, engine=wanted)
        return
    if wanted != EngineOptions():
        raise UsageError("--engine ray with --watch: one checkpoint comes at a time; leave it out")
    from entangle_cli.runs.watch.folder import watched_folder
    from entangle_cli.runs.watch.run import watch_and_show
    from entangle_cli.runs.watch.watching import Watch

    wanted = Watch(watched_folder(watch), until=watch_until, idle=watch_idle)
    watch_and_show(wanted, sources or [], **asked)


def measure_shard_and_show(
    sources: Sequence[str], shard: str, given: dict, *, run: options.RunOptions, **asked: Any
) -> None:
    """Measure a share of the layers, keep what was found for ``entangle merge``, print it."""
    from entangle_cli.runs.measure.run import measure_sources
    from entangle_cli.runs.merge.shard import parse_shard
    from entangle_cli.runs.merge.share import models_and_data, parameters_of, record_share
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.sources import split_sources
    from entangle_cli.runs.shared.tables import measure_table

    ours, project, terminal = parse_shard(shard), asked["project"], asked["terminal"]
    folder = ours.folder(run.output)
    result, failed = measure_sources(
        sources, project, replace(run, output=folder, shard=ours), asked["protocol"], terminal,
        pairs=asked["pairs"],
    )  # fmt: skip
    models, data = split_sources(sources, project)
    known = result.provenance.get("data")
    common = models_and_data(models, known["fingerprint"] if known else data)
    record_share("measure", ours, folder, parameters_of(given), common)
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, asked["format"], measure_table(result))
    terminal.note(f"shard {ours} is in {folder}; 'entangle merge' puts the shards together")
    if failed:
        terminal.warn(f"could not be measured: {', '.join(failed)}; merging tries again")


def measure_and_show(
    sources: Sequence[str],
    *,
    project: "Project",
    run: options.RunOptions,
    terminal: "Terminal",
    protocol: "Protocol | None" = None,
    pairs: bool = False,
    log_to: Sequence[str] = (),
    format: options.Format = options.Format.auto,
    engine: "EngineOptions | None" = None,
) -> None:
    """Measure, write the files, print the result; ``pairs``: those of classes as well.

    Raises:
        StoppedEarly: some checkpoints could not be measured; the others were.
    """
    from entangle_cli.errors import StoppedEarly
    from entangle_cli.measures.protocol import Protocol
    from entangle_cli.runs.measure.pairs import with_pairs
    from entangle_cli.runs.measure.run import measure_sources
    from entangle_cli.runs.measure.trackers import Trackers
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.tables import measure_table
    from entangle_cli.runs.spread.opening import EngineOptions, open_engine

    trackers = Trackers(log_to, run.output, terminal)
    with open_engine(engine or EngineOptions(), run.device, terminal) as workers:
        spread = replace(run, engine=workers)
        result, failed = measure_sources(
            sources, project, spread, protocol or Protocol(), terminal, pairs=pairs
        )
    written = result.write(run.output)
    trackers.log_all(result, sources, project, written)
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, format, with_pairs(measure_table(result), result))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
    if failed:
        raise StoppedEarly(
            f"{len(failed)} of {len(failed) + len(result.models)} checkpoints could not be "
            f"measured: {', '.join(failed)}; the others are complete"
        )
