"""One large layer by all workers: every visit of its pairs is cut into groups of rows.

The command keeps the search for the minimum, which visits one after another, and the second look
at single rows; the workers find the partial results, which are merged in the order of the groups
as in one process. A partial result is a file that the command reads and removes.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from entangle_cli.activations.file import ActivationFile
from entangle_cli.engines.interface import Engine, Unit
from entangle_cli.errors import StoreError
from entangle_cli.measures.points import PreparedPoints, prepare
from entangle_cli.measures.visits import Visit, visited_part
from entangle_cli.runs.measure.layer_points import every_label
from entangle_cli.runs.spread.latest import Latest
from entangle_cli.scratch import give_back

if TYPE_CHECKING:
    from entangle_cli.runs.shared.console import Terminal

_FOLDER = ".visits-"


@dataclass(frozen=True)
class VisitTask:
    """The groups ``first`` to ``last`` of a visit of a layer; ``folder`` is for what is found."""

    file: str
    layer: str
    metric: str
    scratch: str
    visit: Visit
    first: int
    last: int
    folder: str


def visit_groups(task: VisitTask) -> list[str]:
    """The files of the partial results, one for every group."""
    points = _points(task.file, task.layer, task.metric, task.scratch)
    paths = []
    for found in visited_part(points, task.visit, task.first, task.last):
        # new each time: a worker that is thought dead may still be writing
        path = Path(task.folder) / f"{task.first}-{secrets.token_hex(8)}.npy"
        np.save(path, found.numpy())
        paths.append(str(path))
    give_back()
    return paths


class Visiting:
    """Visits by the workers of an engine; use as ``elsewhere`` of a measure."""

    def __init__(
        self,
        engine: Engine,
        terminal: "Terminal",
        stored: ActivationFile,
        layer: str,
        *,
        metric: str,
        scratch: Path,
        folder: Path,
    ) -> None:
        self._engine, self._terminal = engine, terminal
        self._stored, self._layer, self._metric = stored, layer, metric
        self._scratch, self._folder = scratch, folder
        self._visits = 0

    def __call__(self, visit: Visit, groups: int) -> Iterator[torch.Tensor]:
        """The partial results of so many groups, in their order.

        Raises:
            GivenUp: worker after worker ended in the middle of a group.
            StoreError: what a worker has found is not here.
        """
        self._visits += 1
        units = self._units(visit, groups)
        name = f"{self._stored.path.name}, layer {self._layer}, visit {self._visits}"
        self._terminal.start(name, sum(unit.size for unit in units))
        for outcome in self._engine.run(visit_groups, units, self._terminal):
            if outcome.error is not None:
                raise outcome.error
            yield from map(_taken, outcome.value)
        self._terminal.finish()

    def _units(self, visit: Visit, groups: int) -> list[Unit]:
        # as many at a time as a worker has threads
        step = self._engine.describe()["cpus"]
        units = []
        for first in range(0, groups, step):
            last = min(first + step, groups)
            task = VisitTask(
                file=str(self._stored.path),
                layer=self._layer,
                metric=self._metric,
                scratch=str(self._scratch),
                visit=visit,
                first=first,
                last=last,
                folder=str(self._folder),
            )
            name = f"{self._stored.path.name}, layer {self._layer}, groups {first} to {last}"
            units.append(Unit(name, task, last - first))
        return units


@contextlib.contextmanager
def visits_folder(output: Path) -> Iterator[Path]:
    """A folder for partial results, removed afterwards; those of killed commands go as well."""
    output.mkdir(parents=True, exist_ok=True)
    for left in output.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError), _held(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER, dir=output))
    try:
        with contextlib.ExitStack() as held:
            # where a file system has no locks nobody removes what others have left
            with contextlib.suppress(OSError):
                held.enter_context(_held(folder))
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Raises `OSError` where a living process holds the folder."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


def _taken(path: str) -> torch.Tensor:
    try:
        # mapped: what is added up next need not be in memory
        found = np.load(path, mmap_mode="c")
    except FileNotFoundError:
        raise StoreError(
            f"{path}: a worker wrote it and it is not here; workers need the folders of the "
            "command, on a shared file system"
        ) from None
    Path(path).unlink()
    return torch.from_numpy(found)


def _prepare(file: str, layer: str, metric: str, scratch: str) -> PreparedPoints:
    stored = ActivationFile.open(file)
    labels = every_label(stored.labels, stored.path.name)
    return prepare(stored.points(layer), labels, metric=metric, scratch=Path(scratch))


_points = Latest(_prepare)
