"""``entangle dknn``: which predictions the training data support."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import engine_options, options
from entangle_cli.commands.options import Knn, PValue, Zeros
from entangle_cli.commands.sharing import share_and_show

if TYPE_CHECKING:
    from entangle_cli.project import Project
    from entangle_cli.runs.dknn.run import DkNNOptions
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.spread.opening import EngineOptions


def dknn(
    model: Annotated[
        str | None,
        typer.Argument(help="Model: a path or a name. Default: entangle.toml's, the last step."),
    ] = None,
    train: Annotated[
        str, typer.Option(metavar="DATA", help="Training data: where neighbors are looked for.")
    ] = "train",
    calib: Annotated[
        str, typer.Option(metavar="DATA", help="Labeled data that training has not seen.")
    ] = "holdout",
    test: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATA",
            help="Data to judge; repeatable. Default: the project's 'test', else the calibration "
            "data by leave-one-out.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--neighbors", min=1, help="Neighbors per layer.")] = 75,
    metric: options.MetricOption = options.Metric.cosine,
    knn: Annotated[Knn, typer.Option(help="How neighbors are found; auto by cost.")] = Knn.auto,
    p_value: Annotated[PValue, typer.Option(help="Which p-value; see docs.")] = PValue.paper,
    zeros: Annotated[
        Zeros, typer.Option(help="Calibration scores of 0: kept as in the paper, or trimmed.")
    ] = Zeros.keep,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Calibrate each class by itself (Mondrian).")
    ] = False,
    explain: Annotated[
        list[int] | None,
        typer.Option(metavar="INDEX", help="Explain this input of the first set; repeatable."),
    ] = None,
    worst: Annotated[
        int, typer.Option(min=0, metavar="N", help="Explain the N least credible inputs.")
    ] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although calibration overlaps other data.")
    ] = False,
    output: options.Output = Path("entangle-out"),
    layers: options.Layers = None,
    exclude_layers: options.ExcludeLayers = None,
    reduce: options.ReduceOption = options.Reduce.flatten,
    preprocess: options.Preprocess = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "cpu",
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
    """Deep k-nearest neighbors: predictions with credibility, calibrated on held-out data.

    Prints a row per set and accuracy by credibility; writes a CSV per set with a row per input.
    """
    given = dict(locals())
    from entangle_cli.project import find_project
    from entangle_cli.runs.dknn.run import DkNNOptions, run_dknn
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.shared.searching import SearchOptions

    run = options.run_options(given)
    asked = DkNNOptions(
        search=SearchOptions(k=k, metric=metric.value, method=knn.value),
        p_value=p_value.value,
        zeros=zeros.value,
        per_class=per_class,
        force=force,
    )
    if dry_run:
        from entangle_cli.runs.plan.neighbors import plan_dknn
        from entangle_cli.runs.plan.plan import show_plan

        terminal = Terminal(quiet=quiet, verbose=verbose)
        data = (train, calib, test or [])
        plan = plan_dknn(
            model, data, project=find_project(), run=run, asked=asked, terminal=terminal
        )
        show_plan(plan, options.chosen_format(format, json), terminal)
        return
    if shard is not None:
        data, project = (train, calib, test or []), find_project()
        terminal = Terminal(quiet=quiet, verbose=verbose)
        share_and_show(
            "dknn", shard, given, lambda run: run_dknn(model, data, project, run, asked, terminal),
            run=run, format=options.chosen_format(format, json), terminal=terminal,
        )  # fmt: skip
        return
    dknn_and_show(
        model,
        (train, calib, test or []),
        project=find_project(),
        run=run,
        asked=asked,
        explain=(explain or [], worst),
        format=options.chosen_format(format, json),
        terminal=Terminal(quiet=quiet, verbose=verbose),
        engine=engine_options.engine_options(given),
    )


def dknn_and_show(
    model: str | None,
    data: tuple[str, str, list[str]],
    *,
    project: "Project",
    run: options.RunOptions,
    asked: "DkNNOptions",
    terminal: "Terminal",
    explain: tuple[list[int], int] = ((), 0),
    format: options.Format = options.Format.auto,
    engine: "EngineOptions | None" = None,
) -> None:
    """Judge, write the files, print the result; ``explain``: inputs, and how many of the worst."""
    from entangle_cli.runs.dknn.answer import answer, tables
    from entangle_cli.runs.dknn.figures import draw_explanations
    from entangle_cli.runs.dknn.run import run_dknn
    from entangle_cli.runs.dknn.strips import STRIPS, strips
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.spread.opening import EngineOptions, open_engine

    with open_engine(engine or EngineOptions(), run.device, terminal) as workers:
        spread = replace(run, engine=workers)
        found = run_dknn(model, data, project, spread, asked, terminal)
    result = answer(found, explain=explain[0], worst=explain[1])
    result.files[STRIPS] = strips(found, *explain)
    written = result.write(run.output)
    written += draw_explanations(found, *explain, run.output / "figures", terminal)
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, format, tables(found, *explain))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
