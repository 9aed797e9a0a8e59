"""``entangle measure``: the entanglement of every layer of every checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entangle_cli.commands import options

if TYPE_CHECKING:
    from entangle_cli.commands.console import Terminal
    from entangle_cli.measures.protocol import Protocol
    from entangle_cli.project import Project


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
    preprocess: options.Preprocess = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "cpu",
    dtype: options.Dtype = options.Precision.float32,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    trust: options.Trust = False,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Soft nearest neighbor loss per layer and checkpoint, minimized over temperature.

    Prints a row per layer; several checkpoints are put in the order of the steps in their names.
    """
    from entangle_cli.commands.console import Terminal
    from entangle_cli.measures.protocol import parse_protocol
    from entangle_cli.project import find_project

    run = options.RunOptions(
        output=output,
        layers=tuple(layers or ()),
        exclude_layers=tuple(exclude_layers or ()),
        reduce=reduce.value,
        preprocess=preprocess,
        batch_size=options.parse_batch_size(batch_size),
        device=device,
        dtype=dtype.value,
        limit=limit,
        seed=seed,
        overwrite=overwrite,
        trust=trust,
    )
    measure_and_show(
        sources or [],
        project=find_project(),
        run=run,
        protocol=parse_protocol(protocol, temperature, metric=metric.value, seed=seed),
        format=options.chosen_format(format, json),
        terminal=Terminal(quiet=quiet, verbose=verbose),
    )


def measure_and_show(
    sources: Sequence[str],
    *,
    project: "Project",
    run: options.RunOptions,
    terminal: "Terminal",
    protocol: "Protocol | None" = None,
    format: options.Format = options.Format.auto,
) -> None:
    """Measure, write the files, print the result.

    Raises:
        StoppedEarly: some checkpoints could not be measured; the others were.
    """
    from entangle_cli.commands.console import show
    from entangle_cli.commands.measuring import measure_sources
    from entangle_cli.commands.tables import measure_table
    from entangle_cli.errors import StoppedEarly
    from entangle_cli.measures.protocol import Protocol

    result, failed = measure_sources(sources, project, run, protocol or Protocol(), terminal)
    written = result.write(run.output)
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, format, measure_table(result))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
    if failed:
        raise StoppedEarly(
            f"{len(failed)} of {len(failed) + len(result.models)} checkpoints could not be "
            f"measured: {', '.join(failed)}; the others are complete"
        )
