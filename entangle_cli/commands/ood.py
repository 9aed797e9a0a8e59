"""``entangle ood``: which inputs come from somewhere else."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import engine_options, options
from entangle_cli.commands.options import Knn
from entangle_cli.commands.sharing import share_and_show

if TYPE_CHECKING:
    from entangle_cli.project import Project
    from entangle_cli.runs.ood.data import OODData
    from entangle_cli.runs.ood.found import OODOptions
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.spread.opening import EngineOptions


def ood(
    model: Annotated[
        str | None,
        typer.Argument(help="Model: a path or a name. Default: entangle.toml's, the last step."),
    ] = None,
    inside: Annotated[
        str, typer.Option("--in", metavar="DATA", help="In-distribution data, not trained on.")
    ] = "test",
    outside: Annotated[
        list[str] | None,
        typer.Option("--out", metavar="DATA", help="Out-of-distribution data; repeatable."),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Training data, for detectors that compare with it; 'none' for none. Default: "
            "the project's 'train'.",
        ),
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="In-distribution data that training has not seen, for thresholds; 'none' for "
            "none. Default: the project's 'holdout'.",
        ),
    ] = None,
    detectors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Detectors by name or glob, repeatable or with commas; 'all'. Default: all but "
            "knn_euclidean and lid, which need a second neighbor search.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="The input of the last linear layer, where the model file does not show it; the "
            "layer is then recovered by least squares.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--neighbors", min=1, help="Neighbors per layer.")] = 75,
    knn: Annotated[Knn, typer.Option(help="How neighbors are found; auto by cost.")] = Knn.auto,
    keep: Annotated[
        float,
        typer.Option(min=0.5, max=0.9999, help="Share of in-distribution inputs to accept."),
    ] = 0.95,
    resamples: Annotated[
        int, typer.Option(min=40, metavar="N", help="Bootstrap resamples of the AUROC interval.")
    ] = 1000,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="CONDITION",
            help="Exit with 4 if a row meets it, such as 'auroc<0.9'; repeatable.",
        ),
    ] = None,
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
    """Out-of-distribution scores of every detector and layer, with AUROC, AUPR and FPR at 95 %.

    Prints a row per detector and layer, the best first; writes the scores of every input, and the
    fitted detectors for 'entangle score'.
    """
    given = dict(locals())
    from entangle_cli.project import find_project
    from entangle_cli.runs.ood.answer import METRICS
    from entangle_cli.runs.ood.data import ood_data
    from entangle_cli.runs.ood.found import OODOptions
    from entangle_cli.runs.ood.run import run_ood
    from entangle_cli.runs.shared.console import Terminal
    from entangle_cli.runs.shared.gates import parse_gate
    from entangle_cli.runs.shared.searching import SearchOptions

    gates = [parse_gate(text, METRICS) for text in fail_if or ()]
    project = find_project()
    run = options.run_options(given)
    asked = OODOptions(
        detectors=tuple(name for text in detectors or () for name in text.split(",") if name),
        search=SearchOptions(k=k, method=knn.value),
        features=features,
        keep=keep,
        resamples=resamples,
        force=force,
    )
    if dry_run:
        from entangle_cli.runs.plan.neighbors import plan_ood
        from entangle_cli.runs.plan.plan import show_plan

        terminal = Terminal(quiet=quiet, verbose=verbose)
        data = ood_data(inside, outside or [], train, calib, project)
        plan = plan_ood(model, data, project=project, run=run, asked=asked, terminal=terminal)
        show_plan(plan, options.chosen_format(format, json), terminal)
        return
    if shard is not None:
        data = ood_data(inside, outside or [], train, calib, project)
        terminal = Terminal(quiet=quiet, verbose=verbose)
        share_and_show(
            "ood", shard, given, lambda run: run_ood(model, data, project, run, asked, terminal),
            run=run, format=options.chosen_format(format, json), terminal=terminal,
        )  # fmt: skip
        return
    ood_and_show(
        model,
        ood_data(inside, outside or [], train, calib, project),
        project=project,
        run=run,
        asked=asked,
        gates=gates,
        format=options.chosen_format(format, json),
        terminal=Terminal(quiet=quiet, verbose=verbose),
        engine=engine_options.engine_options(given),
    )


def ood_and_show(
    model: str | None,
    data: "OODData",
    *,
    project: "Project",
    run: options.RunOptions,
    asked: "OODOptions",
    terminal: "Terminal",
    gates: list = (),
    format: options.Format = options.Format.auto,
    engine: "EngineOptions | None" = None,
) -> None:
    """Score, write the files, print the result.

    Raises:
        GateFailed: a row meets the condition of a gate.
    """
    from entangle_cli.runs.ood.answer import MEAN, answer, tables
    from entangle_cli.runs.ood.fitted import write_fitted
    from entangle_cli.runs.ood.run import run_ood
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.gates import check_gates
    from entangle_cli.runs.spread.opening import EngineOptions, open_engine

    with open_engine(engine or EngineOptions(), run.device, terminal) as workers:
        spread = replace(run, engine=workers)
        found = run_ood(model, data, project, spread, asked, terminal)
    result = answer(found, resamples=asked.resamples, seed=run.seed, progress=terminal)
    written = result.write(run.output)
    written.append(write_fitted(found, run.output, reduce=run.reduce))
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, format, tables(result))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
    sets = [row for row in result.rows if row["out"] != MEAN]
    for note in check_gates(gates, sets) if gates else ():
        terminal.note(f"note: {note}")
