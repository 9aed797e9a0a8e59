"""``--log-to``: readings go to an experiment tracker as well, through its public interface.

    tensorboard[:DIR]    scalars in an event file; default DIR: OUTPUT/tensorboard
    wandb[:PROJECT]      a run of Weights & Biases; offline where there is no key
    mlflow[:EXPERIMENT]  a run at MLflow's own tracking URI, by default local files

A reading is ``entanglement/<layer>``, ``snnl/<layer>``, ``temperature/<layer>`` or ``accuracy`` at
a training step; where several series are measured, ``<measure>/<series>/<layer>``. A checkpoint
whose name tells no step has its place in the order. What has no number is left out.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from entangle_cli.commands.console import Terminal
from entangle_cli.commands.sources import split_sources
from entangle_cli.errors import UsageError
from entangle_cli.models.series import distinct_names, order_checkpoints
from entangle_cli.project import Project
from entangle_cli.results import Result, finite
from entangle_cli.text import suggestion

Readings = dict[int, dict[str, float]]
MEASURES = ("entanglement", "snnl", "temperature")
_EXTRAS = ("tensorboard", "wandb", "mlflow")
_NOT_IN_MLFLOW = re.compile(r"[^\w\-. :/]", re.ASCII)


class Tracker(Protocol):
    """Where readings go. ``errors`` are what the service raises when it is out of order."""

    errors: tuple[type[Exception], ...]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Readings of one step, by name."""

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """Nothing more comes; ``files`` are what the command wrote."""


class TensorBoard:
    """An event file."""

    errors = (OSError,)

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar per name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """Close the event file."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases."""

    def __init__(self, project: str, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self.errors: tuple[type[Exception], ...] = (wandb.Error, OSError)
        mode = None if "WANDB_MODE" in os.environ or _has_wandb_key() else "offline"
        self._run = wandb.init(project=project, dir=str(folder), mode=mode, config=dict(config))
        # its own step may never go back, a training step may: checkpoints can come late
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All names at once."""
        self._run.log({"step": step, **values})

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if complete else 1)


class MLflow:
    """A run of MLflow; a name keeps the characters that MLflow allows, others become ``_``."""

    def __init__(self, experiment: str | None, config: Mapping[str, Any]) -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        self.errors: tuple[type[Exception], ...] = (MlflowException, OSError)
        self._mlflow = mlflow
        self._names: dict[str, str] = {}
        if experiment is not None:
            mlflow.set_experiment(experiment)
        mlflow.start_run()
        mlflow.log_params({key: str(value)[:500] for key, value in config.items()})

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All names at once."""
        self._mlflow.log_metrics({self._name(n): v for n, v in values.items()}, step=step)

    def _name(self, name: str) -> str:
        known = self._names
        if name not in known:
            allowed = _NOT_IN_MLFLOW.sub("_", name)
            while allowed in known.values():
                allowed += "_"
            known[name] = allowed
        return known[name]

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """Hand over the written files and end the run."""
        for file in files:
            self._mlflow.log_artifact(str(file))
        self._mlflow.end_run("FINISHED" if complete else "KILLED")


class Trackers:
    """All that ``--log-to`` names; each is opened with the first reading.

    A tracker that fails later is warned about and left alone: the results do not depend on it.

    Raises:
        UsageError: an unknown tracker, or one whose package is not installed.
    """

    def __init__(self, wanted: Iterable[str], output: Path, terminal: Terminal) -> None:
        self._wanted = [_parsed(text) for text in dict.fromkeys(wanted)]
        self._output, self._terminal = output, terminal
        self._open: dict[str, Tracker] | None = None

    def log(self, result: Result, readings: Readings) -> None:
        """Send readings by step; the result's provenance describes the run."""
        if self._open is None:
            config = finite(result.provenance)
            self._open = {
                kind: _opened(kind, place, self._output, config) for kind, place in self._wanted
            }
        for step, values in sorted(readings.items()):
            for kind, tracker in list(self._open.items()):
                try:
                    tracker.log(step, values)
                except tracker.errors as error:
                    self._drop(kind, error)

    def log_all(
        self, result: Result, sources: Sequence[str], project: Project, files: Sequence[Path]
    ) -> None:
        """Send a whole result of ``entangle measure`` and end the runs."""
        if not self._wanted:
            return
        paths = [one.path for one in order_checkpoints(split_sources(sources, project)[0])]
        try:
            self.log(result, readings(result, dict(zip(distinct_names(paths), paths, strict=True))))
        finally:
            self.close(files, complete=True)

    def _drop(self, kind: str, error: Exception) -> None:
        line = " ".join(str(error).split())
        self._terminal.warn(f"--log-to {kind}: {line}; nothing more is sent there")
        del self._open[kind]

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """End every run that was opened."""
        for kind, tracker in list((self._open or {}).items()):
            try:
                tracker.close(files, complete=complete)
            except tracker.errors as error:
                self._drop(kind, error)
        self._open = {}


def readings(result: Result, paths: Mapping[str, Path], *, only: str | None = None) -> Readings:
    """What a result says, of one model or of all, by step and name.

    ``paths``: the files behind the models' names.
    """
    rows = _of(result)
    place = {name: number for number, name in enumerate(dict.fromkeys(r["model"] for r in rows))}
    families = {c.path: Path(c.family).name for c in order_checkpoints(list(paths.values()))}
    several = len(set(families.values())) > 1
    found: Readings = {}
    for row in rows:
        name = row["model"]
        if only not in (None, name):
            continue
        series = families[paths[name]] if several and name in paths else ""
        where = "/".join(part for part in (series, row.get("layer")) if part)
        values = found.setdefault(place[name] if row["step"] is None else row["step"], {})
        for measure in (*MEASURES, "accuracy"):
            if row.get(measure) is not None:
                values[f"{measure}/{where}" if where else measure] = float(row[measure])
    return found


def _of(result: Result) -> list[dict[str, Any]]:
    return [*result.models, *result.rows]


def _parsed(text: str) -> tuple[str, str | None]:
    kind, _, place = text.partition(":")
    if kind not in _EXTRAS:
        raise UsageError(
            f"--log-to {text}: unknown{suggestion(kind, _EXTRAS)}; give tensorboard[:DIR], "
            "wandb[:PROJECT] or mlflow[:EXPERIMENT]"
        )
    if find_spec(kind) is None:
        raise UsageError(
            f"--log-to {kind}: the package {kind} is not installed; "
            f"pip install 'entangle-cli[{kind}]'"
        )
    return kind, place or None


def _opened(kind: str, place: str | None, output: Path, config: Mapping[str, Any]) -> Tracker:
    if kind == "tensorboard":
        return TensorBoard(Path(place).expanduser() if place else output / "tensorboard")
    if kind == "wandb":
        return WandB(place or "entangle", output, config)
    return MLflow(place, config)


def _has_wandb_key() -> bool:
    """Whether the user is logged in, as far as can be told without asking the service."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import netrc
    from urllib.parse import urlsplit

    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    home = Path.home()
    places = [os.environ.get("NETRC"), home / ".netrc", home / "_netrc"]
    for place in filter(None, places):
        try:
            if netrc.netrc(place).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
