"""How a run was asked for, whatever it is about."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entangle_cli.engines.interface import Engine
    from entangle_cli.models.sandbox.confinement import Limits
    from entangle_cli.runs.merge.shard import Shard


class Format(StrEnum):
    """What the result looks like on stdout."""

    auto = "auto"
    table = "table"
    json = "json"
    csv = "csv"


@dataclass(frozen=True)
class RunOptions:
    """What decides how a model's activations on a data set are computed and kept.

    ``engine`` is where the work runs; None is here, in one piece. ``shard``: only its share of the
    work is done, and kept in its own folder, which ``output`` then is.
    """

    output: Path
    layers: tuple[str, ...] = ()
    exclude_layers: tuple[str, ...] = ()
    reduce: str = "flatten"
    preprocess: str | None = None
    batch_size: int | None = None
    device: str = "cpu"
    dtype: str = "float32"
    limit: int | None = None
    seed: int = 0
    overwrite: bool = False
    trust: bool = False
    sandbox: "Limits | None" = None
    engine: "Engine | None" = None
    shard: "Shard | None" = None
