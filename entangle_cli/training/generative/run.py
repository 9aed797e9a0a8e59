"""A generator trained from its first step to its last, with snapshots, resumed where it stopped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from entangle_cli.progress import Progress, silent
from entangle_cli.training.generative.loop import GeneratorTraining
from entangle_cli.training.generative.settings import GeneratorSettings
from entangle_cli.training.generative.snapshots import Snapshots, noise_grid, write_snapshot
from entangle_cli.training.state import read_state, write_state

SAVE_EVERY = 200
# images on a side of the grid over two numbers of the noise
GRID = 10


@dataclass(frozen=True)
class Place:
    """Where a run keeps its state and its snapshots, and on which data (``identity``) it runs."""

    folder: Path
    identity: Mapping[str, Any]
    save_every: int = SAVE_EVERY
    overwrite: bool = False

    @property
    def state(self) -> Path:
        """The file that the same run goes on from."""
        return self.folder / "generator.state"


def train_generator(
    settings: GeneratorSettings,
    images: Tensor,
    *,
    place: Place | None = None,
    device: str = "cpu",
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> Snapshots | None:
    """Train on images ``(n, channels, h, w)``, uint8 or float32 in 0..1; None where told to stop.

    With a ``place`` the run goes on from the state there, saves one now and then and when it is
    stopped, and writes each snapshot as a data set to ``<folder>/<kind>-step<number>.npz``. On the
    CPU, with the same number of threads, it ends with the same bytes however often it stopped.

    Raises:
        UsageError: images or settings that cannot be, or the folder holds another run.
        MeasureError: a loss is not finite.
    """
    training = GeneratorTraining(images, settings, device=device)
    taken = _begun(training, place)
    progress.start(f"training a generator ({settings.kind})", settings.steps)
    progress.advance(training.step)
    while True:
        step = training.step
        if step in settings.snapshot_steps and step not in taken:
            taken[step] = training.sample(training.fixed_noise(settings.samples))
            _write(settings, {step: taken[step]}, place)
        last = step >= settings.steps
        stop = not last and stopping()
        if place is not None and (last or stop or step % place.save_every == 0):
            identity = _identity(settings, place, training.device)
            write_state(place.state, identity, {**training.state(), "taken": taken})
        if last or stop:
            progress.finish()
            return _snapshots(training, taken, place) if last else None
        training.advance()
        progress.advance()


def _identity(settings: GeneratorSettings, place: Place, device: str) -> dict[str, Any]:
    return {**place.identity, **settings.to_json(), "device": device.partition(":")[0]}


def _begun(training: GeneratorTraining, place: Place | None) -> dict[int, Tensor]:
    """The snapshots of a run that was begun before, whose state is taken up."""
    if place is None or place.overwrite:
        return {}
    identity = _identity(training.settings, place, training.device)
    state = read_state(place.state, identity)
    if state is None:
        return {}
    taken = {int(step): images for step, images in state.pop("taken").items()}
    training.restore(state)
    _write(training.settings, taken, place)
    return taken


def _write(settings: GeneratorSettings, taken: Mapping[int, Tensor], place: Place | None) -> None:
    if place is not None:
        for step, path in _files(settings, taken, place).items():
            write_snapshot(path, taken[step])


def _files(
    settings: GeneratorSettings, taken: Mapping[int, Tensor], place: Place
) -> dict[int, Path]:
    digits = len(str(settings.steps))
    return {step: place.folder / f"{settings.kind}-step{step:0{digits}d}.npz" for step in taken}


def _snapshots(
    training: GeneratorTraining, taken: Mapping[int, Tensor], place: Place | None
) -> Snapshots:
    settings = training.settings
    grid = training.sample(noise_grid(GRID, settings.latent))
    return Snapshots(
        steps=tuple(taken),
        images=tuple(taken.values()),
        grid=grid.reshape(GRID, GRID, *grid.shape[1:]),
        losses=list(training.history),
        files=() if place is None else tuple(_files(settings, taken, place).values()),
    )
