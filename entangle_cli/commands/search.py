"""``entangle search``: the alpha and learning rate that train best."""

from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import options
from entangle_cli.commands.train import Network


def search(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Training images with labels: a path or a name.")
    ],
    validation: Annotated[
        str | None,
        typer.Option(
            "--validation",
            metavar="DATA",
            help="What trials are judged by. Default: a fifth of DATA, held out by the seed.",
        ),
    ] = None,
    network: Annotated[Network, typer.Option("--network", help="What is trained.")] = Network.cnn,
    trials: Annotated[
        int, typer.Option(min=1, metavar="N", help="Networks to train; more go on with a search.")
    ] = 64,
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, metavar="N", help="Trials proposed together.")
    ] = 4,
    largest_alpha: Annotated[
        float,
        typer.Option("--largest-alpha", metavar="A", help="Alpha is searched from -A to A."),
    ] = 1.0,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers", metavar="GLOB", help="Hidden layers of the loss, as for entangle train."
        ),
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            metavar="minimum|learned|median|T",
            help="As for entangle train; 'learned' is searched for its first value as well.",
        ),
    ] = "minimum",
    metric: options.MetricOption = options.Metric.euclidean,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of each trial.")] = 300,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=2, metavar="N", help="Samples per step.")
    ] = 128,
    output: options.Output = Path("entangle-search"),
    device: options.Device = "cpu",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Search alpha of both signs and the learning rate for the best accuracy on held-out data.

    A Gaussian process proposes; every trial is a row of search.csv. Stopped, the same command
    resumes; with more --trials it goes on. Needs the extra 'search'.
    """
    from entangle_cli.project import find_project
    from entangle_cli.runs.search import run_search, space_up_to
    from entangle_cli.runs.shared.console import Terminal, show
    from entangle_cli.runs.shared.tables import plain_table
    from entangle_cli.runs.train import parse_temperature
    from entangle_cli.training.proposals import SearchSettings
    from entangle_cli.training.settings import TrainingSettings

    terminal = Terminal(quiet=quiet, verbose=verbose)
    training = TrainingSettings(
        steps=steps,
        batch_size=batch_size,
        layers=tuple(layers or ()),
        temperature=parse_temperature(temperature),
        metric=metric.value,
        record_every=steps,
        seed=seed,
    )
    settings = SearchSettings(
        trials=trials, batch=at_once, space=space_up_to(largest_alpha), seed=seed
    )
    run = options.RunOptions(
        output=output, device=device, limit=limit, seed=seed, overwrite=overwrite
    )
    result = run_search(
        (data, validation), network.value, settings, training, find_project(), run, terminal
    )
    written = result.write(output)
    for note in result.notes:
        terminal.note(f"note: {note}")
    rows = [
        {k: v for k, v in row.items() if not k.startswith("entanglement ")} for row in result.rows
    ]
    show(result, options.chosen_format(format, json), plain_table(rows))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
