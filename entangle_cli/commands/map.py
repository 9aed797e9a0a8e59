"""``entangle map``: a picture of one layer, and the numbers that say how far to trust it."""

from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import options


def map(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [DATA]",
            help="The model and the data to map: paths or names. Default: entangle.toml's model, "
            "the last step, and its 'test'.",
        ),
    ] = None,
    placed: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="DATA", help="Other inputs to place on the map; repeatable."
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The layer to map. Default: what the last linear layer reads.",
        ),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            min=16,
            max=10_000,
            metavar="N",
            help="Use N samples of each set, class balance kept.",
        ),
    ] = 2000,
    perplexity: Annotated[
        float, typer.Option(min=2, help="About how many neighbors a point is to keep.")
    ] = 30.0,
    output: options.Output = Path("entangle-out"),
    reduce: options.ReduceOption = options.Reduce.flatten,
    preprocess: options.Preprocess = None,
    batch_size: options.BatchSize = "auto",
    device: options.Device = "cpu",
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
    """A t-SNE map of one layer, with other inputs placed on it, and its numbers.

    Prints how entangled the classes, and the placed sets with the data, are in the layer itself,
    and the 1-NN accuracy in the layer and in the map. Needs the extra 'report'.
    """
    from entangle_cli.project import find_project
    from entangle_cli.runs.map.answer import answer, draw_map, map_table
    from entangle_cli.runs.map.found import MapOptions
    from entangle_cli.runs.map.run import run_map
    from entangle_cli.runs.shared.console import Terminal, show

    terminal = Terminal(quiet=quiet, verbose=verbose)
    run = options.RunOptions(
        output=output,
        reduce=reduce.value,
        preprocess=preprocess,
        batch_size=options.parse_batch_size(batch_size),
        device=device,
        seed=seed,
        overwrite=overwrite,
        trust=trust,
        sandbox=options.limits(sandbox, timeout, memory),
    )
    asked = MapOptions(
        placed=tuple(placed or ()), layer=layer, sample=sample, perplexity=perplexity
    )
    result = answer(run_map(sources or [], find_project(), run, asked, terminal))
    written = [*result.write(output), *draw_map(result, output, terminal)]
    for note in result.notes:
        terminal.note(f"note: {note}")
    show(result, options.chosen_format(format, json), map_table(result))
    terminal.note(f"wrote {', '.join(str(path) for path in written)}")
