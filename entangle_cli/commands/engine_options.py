"""The options of the commands whose work can run on a cluster."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from entangle_cli.runs.spread.opening import EngineOptions


class EngineKind(StrEnum):
    """Where the work runs."""

    local = "local"
    ray = "ray"


EngineOption = Annotated[
    EngineKind,
    typer.Option("--engine", help="Where the work runs: in this process, or on a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="local|auto|HOST:PORT",
        help="The Ray cluster: one of its own on this machine, the one that this machine belongs "
        "to, or its head.  [default: local]",
    ),
]
NumWorkers = Annotated[
    int | None,
    typer.Option("--num-workers", min=1, metavar="N", help="Workers.  [default: what fits]"),
]
CpusPerWorker = Annotated[
    int | None,
    typer.Option(
        "--cpus-per-worker", min=1, metavar="N", help="Threads of a worker.  [default: 1]"
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker",
        min=0.0,
        metavar="X",
        help="GPUs of a worker; 0.5 shares one.  [default: 1 with --device cuda, else 0]",
    ),
]
MaxRetries = Annotated[
    int | None,
    typer.Option(
        "--max-retries",
        min=0,
        metavar="N",
        help="Further tries of a piece of work whose worker died.  [default: 3]",
    ),
]


def engine_options(given: Mapping[str, Any]) -> "EngineOptions":
    """The engine that was asked for, from a command's parameters by name."""
    from entangle_cli.runs.spread.opening import EngineOptions

    return EngineOptions(
        given["engine"].value,
        given["address"],
        given["num_workers"],
        given["cpus_per_worker"],
        given["gpus_per_worker"],
        given["max_retries"],
    )
