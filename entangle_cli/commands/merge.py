"""``entangle merge``: the shards of a run become its results."""

from pathlib import Path
from typing import Annotated

import typer

from entangle_cli.commands import options


def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PART...",
            help="Folders of shards, or the output folders of the runs that made them.",
        ),
    ],
    output: options.Output = Path("entangle-out"),
    overwrite: options.Overwrite = False,
    trust: options.Trust = False,
    json: options.Json = False,
    format: options.FormatOption = options.Format.auto,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Put the shards of a run together: the same files as one run without --shard."""
    from entangle_cli.runs.merge.checking import check_shards, find_shards
    from entangle_cli.runs.shared.console import Terminal

    terminal = Terminal(quiet=quiet, verbose=verbose)
    records = find_shards(parts)
    check_shards(records)
    chosen = options.chosen_format(format, json)
    if records[0].command == "dump":
        merge_dump_and_show(records, output, chosen, terminal, overwrite=overwrite)
        return
    call = {"output": output, "format": chosen, "verbose": verbose, "quiet": quiet, "trust": trust}
    finish(records, call, terminal)


def finish(records, call: dict, terminal) -> None:
    """Give the command of the shards again where all that they found has come together.

    Raises:
        StoreError: shards of a command that has none, or a damaged one.
    """
    from entangle_cli.commands.dknn import dknn
    from entangle_cli.commands.measure import measure
    from entangle_cli.commands.ood import ood
    from entangle_cli.errors import StoreError
    from entangle_cli.runs.merge.caches import gather
    from entangle_cli.runs.merge.share import restored

    commands = {"measure": measure, "dknn": dknn, "ood": ood}
    first = records[0]
    command = commands.get(first.command)
    if command is None:
        raise StoreError(f"{first.name}: a shard of {first.command!r}, which has no shards")
    given = restored(command, first.run["parameters"])
    taken = gather(records, call["output"])
    terminal.note(f"{len(records)} shards: {taken} files put together")
    command(**given, **call)


def merge_dump_and_show(records, output: Path, format, terminal, *, overwrite: bool) -> None:
    """Write the activation file of a dump's shards, print its layers."""
    from entangle_cli.commands.dump import stored_rows
    from entangle_cli.results import Result
    from entangle_cli.runs.merge.dumped import merge_dump
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.provenance import provenance
    from entangle_cli.runs.shared.tables import plain_table

    stored = merge_dump(records, output, terminal, overwrite=overwrite)
    result = Result(
        command="merge",
        rows=stored_rows(stored),
        provenance=provenance(file=str(stored.path), shards=len(records)),
        notes=list(stored.notes),
    )
    for note in result.notes:
        terminal.warn(note)
    show(result, format, plain_table(result.rows, str(stored.path)))
