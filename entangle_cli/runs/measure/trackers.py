"""``--log-to``: readings go to an experiment tracker as well, through its public interface.

    tensorboard[:DIR]    scalars in an event file; default DIR: OUTPUT/tensorboard
    wandb[:PROJECT]      a run of Weights & Biases; offline where there is no key
    mlflow[:EXPERIMENT]  a run at MLflow's own tracking URI, by default local files

What a reading is called: `readings`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from entangle_cli.errors import UsageError
from entangle_cli.models.series import distinct_names, order_checkpoints
from entangle_cli.project import Project
from entangle_cli.results import Result, finite
from entangle_cli.runs.measure.readings import Readings, readings
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.sources import split_sources
from entangle_cli.text import shortened, suggestion

_EXTRAS = ("tensorboard", "wandb", "mlflow")
_NOT_IN_MLFLOW = re.compile(r"[^\w\-. :/]", re.ASCII)


class Tracker(Protocol):
    """Where readings go."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Readings of one step, by name."""

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """Nothing more comes; ``files`` are what the command wrote."""


class TensorBoard:
    """An event file."""

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

    A tracker that fails is warned about and left alone: the results do not depend on it.

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
            self._open = {}
            for kind, place in self._wanted:
                with self._warning(kind):
                    config = finite(result.provenance)
                    self._open[kind] = _opened(kind, place, self._output, config)
        for step, values in sorted(readings.items()):
            for kind, tracker in list(self._open.items()):
                with self._warning(kind):
                    tracker.log(step, values)

    @contextmanager
    def _warning(self, kind: str) -> Iterator[None]:
        """A tracker that does not work is warned about and dropped."""
        try:
            yield
        except _failures(kind) as error:
            line = shortened(" ".join(str(error).split()))
            self._terminal.warn(f"--log-to {kind}: {line}; nothing more is sent there")
            self._open.pop(kind, None)

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

    def close(self, files: Sequence[Path], *, complete: bool) -> None:
        """End every run that was opened."""
        for kind, tracker in list((self._open or {}).items()):
            with self._warning(kind):
                tracker.close(files, complete=complete)
        self._open = {}


def _failures(kind: str) -> tuple[type[Exception], ...]:
    """What is raised where a service is out of order."""
    if kind == "wandb":
        import wandb

        return wandb.Error, OSError
    if kind == "mlflow":
        from mlflow.exceptions import MlflowException

        return MlflowException, OSError
    return (OSError,)


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
