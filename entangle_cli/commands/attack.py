"""``entangle attack``: inputs changed a little, so that a network errs."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import engine_options, options


class Method(StrEnum):
    """How inputs are changed."""

    fgsm = "fgsm"
    bim = "bim"
    pgd = "pgd"
    carlini_wagner = "carlini-wagner"
    auto_attack = "auto-attack"


def attack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model to attack: a path or name.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labeled images: a path or a name.")],
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="One step, many, or many from a random start. The last two need the extra "
            "attacks.",
        ),
    ] = Method.fgsm,
    epsilon: Annotated[
        list[float] | None,
        typer.Option(
            metavar="E", help="Largest change of a pixel, 0 to 1; repeatable. Default: 0.1."
        ),
    ] = None,
    step_size: Annotated[
        float | None,
        typer.Option(min=0.0, help="Change of a pixel per step. Default: 2.5 epsilon / steps."),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of bim and pgd; of each search of carlini-wagner.")
    ] = 40,
    target: Annotated[
        int | None,
        typer.Option(min=0, metavar="CLASS", help="Move towards this class, not from the label."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Take the gradients of this TorchScript network instead: a transfer attack, the "
            "only one on ONNX models.",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE.npz",
            help="Folder for everything written, or the file for the images of one epsilon.",
        ),
    ] = Path("entangle-out"),
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
    trust: options.Trust = False,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Adversarial images within a distance of the given ones, as a data set for other commands.

    Prints the accuracy before and after; writes adversarial-METHOD-EPSILON.npz unless -o names a
    file.
    """
    given = dict(locals())
    from entangle_cli.attacks.methods import check_plan
    from entangle_cli.errors import UsageError
    from entangle_cli.project import find_project
    from entangle_cli.runs.attack import AttackOptions, run_attack
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.tables import plain_table
    from entangle_cli.runs.spread.opening import open_engine

    check_plan(
        method.value,
        epsilon=epsilon is not None,
        step_size=step_size is not None,
        target=target is not None,
    )
    limitless = method is Method.carlini_wagner
    epsilons = (None,) if limitless else tuple(dict.fromkeys(epsilon or [0.1]))
    for one in epsilons:
        if one is not None and not 0 <= one <= 1:
            raise UsageError(f"--epsilon {one:g}: give a change of pixels between 0 and 1")
    file = output if output.suffix == ".npz" else None
    if file is not None and len(epsilons) > 1:
        raise UsageError(f"-o {file}: holds one epsilon, {len(epsilons)} are given; give a folder")
    terminal = Terminal(quiet=quiet, verbose=verbose)
    run = options.RunOptions(
        output=output if file is None else Path("entangle-out"),
        preprocess=preprocess,
        batch_size=options.parse_batch_size(batch_size),
        device=device,
        limit=limit,
        seed=seed,
        trust=trust,
    )
    asked = AttackOptions(
        method=method.value,
        epsilons=epsilons,
        step_size=step_size,
        steps=steps,
        target=target,
        source=source,
        file=file,
    )
    with open_engine(engine_options.engine_options(given), run.device, terminal) as workers:
        spread = replace(run, engine=workers)
        result = run_attack(model, data, find_project(), spread, asked, terminal)
    result.write(run.output)
    for note in result.notes:
        terminal.note(f"note: {note}")
    first = result.rows[0]
    shown = (
        "epsilon",
        "steps",
        "n",
        "clean_accuracy",
        "accuracy",
        "changed",
        "reached",
        "mean_l2",
        "file",
    )
    rows = [{key: row[key] for key in shown if key in row} for row in result.rows]
    title = f"{first['method']} on {first['model']} with gradients of {first['source']}"
    show(result, options.chosen_format(format, json), plain_table(rows, title))
