"""From the options of a command to an engine."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from entangle_cli.errors import UsageError

if TYPE_CHECKING:
    from entangle_cli.engines.interface import Engine
    from entangle_cli.runs.shared.console import Terminal

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class EngineOptions:
    """Where the work runs, as it was asked for; None is what fits.

    Attributes:
        kind: ``local`` or ``ray``.
        address: ``local``, ``auto`` or HOST:PORT of a Ray head.
        workers: how many.
        cpus: processors for each.
        gpus: GPUs for each.
        retries: how often a unit is tried again after its worker died.
    """

    kind: str = LOCAL
    address: str | None = None
    workers: int | None = None
    cpus: int | None = None
    gpus: float | None = None
    retries: int | None = None


@contextlib.contextmanager
def open_engine(
    options: EngineOptions, device: str, terminal: "Terminal"
) -> Iterator["Engine | None"]:
    """The engine, ended afterwards; None for this process in one piece.

    Raises:
        UsageError: options of another engine, no Ray, or no cluster.
    """
    if options.kind == LOCAL:
        _refuse_for_local(options)
        yield None
        return
    from entangle_cli.engines.ray import RayEngine, RayOptions

    on_gpu = device.startswith("cuda")
    asked = RayOptions(
        address=options.address or "local",
        workers=options.workers,
        cpus=options.cpus or 1,
        gpus=(1.0 if on_gpu else 0.0) if options.gpus is None else options.gpus,
        retries=3 if options.retries is None else options.retries,
    )
    if on_gpu and not asked.gpus:
        raise UsageError(f"--device {device} needs --gpus-per-worker above 0")
    with RayEngine(asked, terminal.warn) as engine:
        found = engine.describe()
        if os.environ.get("RAY_AUTH_MODE") != "token":
            terminal.warn(
                f"Ray at {asked.address} asks for no token: whoever reaches it can run programs on "
                "it; RAY_AUTH_MODE=token on all nodes changes that"
            )
        terminal.note(
            f"Ray at {asked.address}: {found['workers']} workers of {asked.cpus} CPU and "
            f"{asked.gpus:g} GPU, {found['nodes']} nodes"
        )
        yield engine


def _refuse_for_local(options: EngineOptions) -> None:
    given = {
        "--address": options.address,
        "--num-workers": options.workers,
        "--cpus-per-worker": options.cpus,
        "--gpus-per-worker": options.gpus,
        "--max-retries": options.retries,
    }
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} is for a cluster; give --engine ray as well")
