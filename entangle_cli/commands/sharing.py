"""``--shard`` of the commands that end in numbers over all inputs: their share of the searching."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from entangle_cli.commands import options
from entangle_cli.errors import UsageError

if TYPE_CHECKING:
    from entangle_cli.runs.shared.console import Terminal


def share_and_show(
    command: str,
    shard: str,
    given: Mapping[str, Any],
    work: Callable[[options.RunOptions], Any],
    *,
    run: options.RunOptions,
    format: options.Format,
    terminal: "Terminal",
) -> None:
    """Do ``work`` until a shard's share is done, keep it for ``entangle merge``, say what it is.

    Raises:
        UsageError: another engine was asked for as well.
    """
    from entangle_cli.results import Result
    from entangle_cli.runs.merge.shard import parse_shard
    from entangle_cli.runs.merge.share import ShareDone, parameters_of, record_share
    from entangle_cli.runs.shared.console import show
    from entangle_cli.runs.shared.tables import plain_table

    if given["engine"].value != "local":
        raise UsageError("--shard and --engine ray: two ways to share the work; give one")
    ours = parse_shard(shard)
    folder, common = ours.folder(run.output), {}
    try:
        work(replace(run, output=folder, shard=ours))
    except ShareDone as done:
        common = done.run
    record = record_share(command, ours, folder, parameters_of(given), common)
    files = [{"folder": name, "files": n} for name, n in record.counts().items()]
    provenance = {"shard": str(ours), "folder": str(folder)}
    show(
        Result(command=command, rows=files, provenance=provenance),
        format,
        plain_table(files, f"shard {ours}: {folder}"),
    )
    terminal.note("'entangle merge' puts the shards together")
