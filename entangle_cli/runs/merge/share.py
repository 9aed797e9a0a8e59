"""A shard of a command that keeps what it computes: it fills its share, merging does the rest.

What a shard is given is kept with it as parameters, so that the command can be called again where
all shares have come together; it then computes nothing and writes what one run would have written.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from entangle_cli.errors import StoreError
from entangle_cli.runs.merge.caches import kept_files
from entangle_cli.runs.merge.shard import Shard, ShardRecord


class ShareDone(Exception):
    """A shard has done its share, and the rest of the command is for the merge.

    Attributes:
        run: what all shards of the run have in common.
    """

    def __init__(self, run: Mapping[str, Any]) -> None:
        super().__init__()
        self.run = run


# where, how loud and how often a command runs does not change what it finds
_OF_THE_CALL = (
    "output", "shard", "overwrite", "json", "format", "verbose", "quiet", "trust", "engine",
    "address", "num_workers", "cpus_per_worker", "gpus_per_worker", "max_retries",
)  # fmt: skip


def parameters_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a command as plain values, without those of this call alone."""
    return {name: _plain(value) for name, value in given.items() if name not in _OF_THE_CALL}


def restored(command: Callable[..., None], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that `parameters_of` made plain.

    Raises:
        StoreError: the command has no such argument, or it takes no such value.
    """
    hints = get_type_hints(command)
    known = inspect.signature(command).parameters
    values = {}
    for name, value in parameters.items():
        if name not in known or name in _OF_THE_CALL:
            raise StoreError(f"shard.json: {name!r} is no argument of the command")
        values[name] = _typed(hints[name], value)
    return values


def record_share(
    command: str,
    shard: Shard,
    folder: Path,
    parameters: Mapping[str, Any],
    run: Mapping[str, Any],
) -> ShardRecord:
    """Declare a shard done; ``run``: what shards of the run share beside the parameters."""
    common = {**run, "parameters": dict(parameters)}
    record = ShardRecord(command, shard.number, shard.of, common, kept_files(folder))
    record.write(folder)
    return record


def models_and_data(files: Sequence[Path], data: str) -> dict[str, Any]:
    """What tells runs apart before any model is opened."""
    return {"models": [[path.name, path.stat().st_size] for path in files], "data": data}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _typed(hint: Any, value: Any) -> Any:
    """``value`` as the class that ``hint`` names, where that is an enumeration or a path."""
    if value is None:
        return None
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, (Enum, Path)):
            try:
                return kind(value)
            except (ValueError, TypeError):
                raise StoreError(f"shard.json: {value!r} is no value of an option") from None
    return value
