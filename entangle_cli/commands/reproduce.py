"""``entangle reproduce``: the paper's figures and tables, measured anew."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import engine_options, options


class Scale(StrEnum):
    """How much is trained."""

    quick = "quick"
    paper = "paper"


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[list|all|NAME...]",
            help="Claims by name (figure-1, table-2); all; list, the default, for a table of them.",
        ),
    ] = None,
    scale: Annotated[
        Scale, typer.Option(help="quick: minutes a claim; paper: the paper's steps and runs.")
    ] = Scale.quick,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="Folder with mnist, fashion, cifar10, ..."),
    ] = None,
    output: options.Output = Path("entangle-reproduce"),
    device: options.Device = "cpu",
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    engine: engine_options.EngineOption = engine_options.EngineKind.local,
    address: engine_options.Address = None,
    num_workers: engine_options.NumWorkers = None,
    cpus_per_worker: engine_options.CpusPerWorker = None,
    gpus_per_worker: engine_options.GpusPerWorker = None,
    max_retries: engine_options.MaxRetries = None,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the claims of the paper anew and hold the numbers against the printed ones.

    Each claim writes its numbers, its figure and its comparison below DIR; finished ones are kept,
    and comparison.html has them all. Stopped, the same command goes on.
    """
    given = dict(locals())
    from entangle_cli.runs.reproduce import list_claims, reproduce_claims
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.tables import plain_table
    from entangle_cli.runs.spread.opening import open_engine

    terminal = Terminal(quiet=quiet, verbose=verbose)
    run = options.RunOptions(output=output, device=device, seed=seed, overwrite=overwrite)
    chosen = options.chosen_format(format, json)
    if not names or names == ["list"]:
        listed = list_claims(scale.value, data, run)
        show(listed, chosen, plain_table(listed.rows))
        return
    with open_engine(engine_options.engine_options(given), device, terminal) as workers:
        spread = replace(run, engine=workers)
        result, left_out = reproduce_claims(names, scale.value, data, spread, terminal)
    written = result.write(output)
    for note in result.notes:
        terminal.note(f"note: {note}")
    rows = [{k: v for k, v in row.items() if k not in ("scale", "rule")} for row in result.rows]
    show(result, chosen, plain_table(rows))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
    if left_out is not None:
        raise left_out
