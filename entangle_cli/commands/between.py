"""``entangle between``: how far apart two sets are."""

from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import options


def between(
    one: Annotated[str, typer.Argument(metavar="A", help="A data set: a path or a name.")],
    others: Annotated[
        list[str],
        typer.Argument(
            metavar="B...",
            help="Data sets to compare with A: paths, globs or names. Several are a series, in the "
            "order of the steps in their names.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Compare in its input and layers as well: a path or a name.",
        ),
    ] = None,
    metric: options.MetricOption = options.Metric.euclidean,
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
    permutations: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Measure N times with shuffled labels, for comparison."
        ),
    ] = 0,
    output: options.Output = Path("entangle-out"),
    layers: options.Layers = None,
    exclude_layers: options.ExcludeLayers = None,
    reduce: options.ReduceOption = options.Reduce.flatten,
    preprocess: options.Preprocess = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "cpu",
    limit: options.Limit = None,
    seed: options.Seed = 0,
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
    """Two-sample entanglement: real and synthetic data, in- and out-of-distribution data.

    The soft nearest neighbor loss with two labels, A and B: 1 where one cannot be told from the
    other, 0 where they are apart. Labels of the data are not used.
    """
    given = dict(locals())
    from entangle_cli.measures.protocol import parse_protocol
    from entangle_cli.project import find_project
    from entangle_cli.runs.between.answer import between_table
    from entangle_cli.runs.between.run import BetweenOptions, run_between
    from entangle_cli.runs.shared.console import Terminal, show

    terminal = Terminal(quiet=quiet, verbose=verbose)
    run = options.run_options(given)
    asked = BetweenOptions(
        protocol=parse_protocol(protocol, temperature, metric=metric.value, seed=seed),
        model=model,
        permutations=permutations,
    )
    result = run_between(one, others, find_project(), run, asked, terminal)
    written = result.write(run.output)
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, options.chosen_format(format, json), between_table(result))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
