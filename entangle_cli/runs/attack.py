"""What ``entangle attack`` does, without its options and its table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from entangle_cli.errors import ModelError, UsageError
from entangle_cli.project import Project
from entangle_cli.results import Result, Row
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import (
    open_checkpoint,
    open_data,
    resolve,
    resolve_device,
)
from entangle_cli.runs.shared.provenance import described, provenance
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.sources import choose_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from entangle_cli.attacks.sign import Attacked
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.models import Model

BATCH_ROWS = 256


@dataclass(frozen=True)
class AttackOptions:
    """The options that only ``entangle attack`` has; epsilons in pixels, 0 to 1."""

    method: str
    epsilons: tuple[float, ...]
    step_size: float | None = None
    steps: int = 40
    target: int | None = None
    source: str | None = None
    file: Path | None = None


def run_attack(
    model: str,
    data: str,
    project: Project,
    run: RunOptions,
    asked: AttackOptions,
    terminal: Terminal,
) -> Result:
    """Make adversarial inputs at every epsilon, and see what the model says of them.

    Raises:
        EntangleError: something given does not fit, such as a network without gradients.
    """
    run = replace(run, device=resolve_device(run.device))
    checkpoint = choose_checkpoint(model, project, terminal)
    dataset = open_data(data, project, run, terminal)
    if dataset.kind != "images":
        raise UsageError(f"{dataset.name}: holds arrays; attacks are made on images")
    if dataset.labels is None or (dataset.labels < 0).any():
        raise UsageError(f"{dataset.name}: an attack moves away from labels; some inputs have none")
    victim = open_checkpoint(checkpoint, run)
    work = _Work(victim, dataset, project, run, asked, terminal)
    return work.attack(_source(asked, checkpoint.path, project))


def _source(asked: AttackOptions, path: Path, project: Project) -> Path:
    if asked.source is None:
        return path
    paths = project.model_paths(asked.source)
    if len(paths) != 1:
        raise UsageError(f"--source {asked.source}: stands for {len(paths)} model files; give one")
    return paths[0]


class _Work:
    """One model and one data set."""

    def __init__(
        self,
        victim: "Model",
        dataset: "Dataset",
        project: Project,
        run: RunOptions,
        asked: AttackOptions,
        terminal: Terminal,
    ) -> None:
        from entangle_cli.attacks.pixels import PixelFeed

        self.victim, self.dataset, self.run, self.asked = victim, dataset, run, asked
        self.terminal = terminal
        self.resolved = resolve(victim, dataset, project, run)
        self.feed: PixelFeed = PixelFeed(self.resolved.preprocessing)

    def attack(self, source: Path) -> Result:
        """A row and a file per epsilon."""
        from entangle_cli.models.differentiable import open_differentiable

        network = open_differentiable(source, device=self.run.device, trust=self.run.trust)
        result = Result(command="attack", provenance=self._provenance(source))
        clean = self._predictions(self._pixels(part) for part in self._parts())
        for epsilon in self.asked.epsilons:
            result.rows.append(self._at(epsilon, network, source, clean))
        if self.resolved.preprocessing.crop_pct is not None:
            result.notes.append(
                "the images are those after cropping: feed them with a preprocessing without it"
            )
        return result

    def _at(
        self, epsilon: float, network: "Callable[[Tensor], Tensor]", source: Path, clean: np.ndarray
    ) -> Row:
        from entangle_cli.attacks.pixels import as_images

        self.terminal.start(f"{self.asked.method}, epsilon {epsilon:g}", len(self.dataset))
        found = []
        for part in self._parts():
            found.append(self._attacked(part, epsilon, network))
            self.terminal.advance(part.stop - part.start)
        self.terminal.finish()
        pixels = [one.inputs for one in found]
        predictions = self._predictions(pixels)
        path = self._write(epsilon, np.concatenate([as_images(one) for one in pixels]))
        labels = self.dataset.labels
        row: Row = {
            "model": self.victim.path.name,
            "source": source.name,
            "data": self.dataset.name,
            "method": self.asked.method,
            "epsilon": epsilon,
            "step_size": self._step(epsilon),
            "steps": self._steps,
            "target": self.asked.target,
            "n": len(self.dataset),
            "clean_accuracy": float((clean == labels).mean()),
            "accuracy": float((predictions == labels).mean()),
            "changed": float((predictions != clean).mean()),
        }
        if self.asked.target is not None:
            row["reached"] = float((predictions == self.asked.target).mean())
        row["by_margin"] = sum(one.by_margin for one in found)
        row["without_gradient"] = sum(one.without for one in found)
        return row | {"file": str(path)}

    def _attacked(
        self, part: slice, epsilon: float, network: "Callable[[Tensor], Tensor]"
    ) -> "Attacked":
        import torch

        from entangle_cli.attacks.sign import Ball, bim, fgsm, pgd

        pixels = self._pixels(part).to(self.run.device)
        ball = Ball(*(torch.tensor(value, device=pixels.device) for value in (epsilon, 0.0, 1.0)))
        labels = torch.from_numpy(self.dataset.labels[part]).to(pixels.device)
        if self.asked.target is not None:
            labels = torch.full_like(labels, self.asked.target)
        options = {"targeted": self.asked.target is not None}
        steps = {"step_size": self._step(epsilon), "steps": self._steps}

        def scores(pixels: "Tensor") -> "Tensor":
            return network(self.feed(pixels))

        try:
            if self.asked.method == "fgsm":
                return fgsm(scores, pixels, labels, ball, **options)
            if self.asked.method == "bim":
                return bim(scores, pixels, labels, ball, **steps, **options)
            seed = self.run.seed + part.start
            return pgd(scores, pixels, labels, ball, **steps, seed=seed, **options)
        except (RuntimeError, IndexError) as error:
            lines = str(error).strip().splitlines()
            raise ModelError(f"the network cannot be differentiated here: {lines[-1]}") from None

    @property
    def _steps(self) -> int:
        return 1 if self.asked.method == "fgsm" else self.asked.steps

    def _step(self, epsilon: float) -> float:
        if self.asked.method == "fgsm":
            return epsilon
        # the whole ball can be crossed in the steps there are
        default = 2.5 * epsilon / self.asked.steps
        return default if self.asked.step_size is None else self.asked.step_size

    def _parts(self) -> list[slice]:
        size = self.run.batch_size or BATCH_ROWS
        count = len(self.dataset)
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]

    def _pixels(self, part: slice) -> "Tensor":
        return self.feed.pixels(self.dataset.images(np.arange(part.start, part.stop)))

    def _predictions(self, batches: "Iterable[Tensor]") -> np.ndarray:
        """What the attacked model says of pixels, as it is run everywhere else."""
        from entangle_cli.activations.logits import class_outputs

        found = []
        for pixels in batches:
            batch = self.feed(pixels).cpu().numpy()
            scores = class_outputs(self.victim.run([batch], (), lambda name, values: None))
            if scores is None:
                raise ModelError(f"{self.victim.path}: has no class scores (n, C) to attack")
            self._check_classes(scores.shape[1])
            found.append(scores.argmax(axis=1))
        return np.concatenate(found)

    def _check_classes(self, classes: int) -> None:
        highest = int(self.dataset.labels.max())
        if self.asked.target is not None and self.asked.target >= classes:
            raise UsageError(
                f"--target {self.asked.target}: the network has the classes 0 to {classes - 1}"
            )
        if highest >= classes:
            raise UsageError(
                f"{self.dataset.name}: labels go up to {highest}, the network has the classes 0 to "
                f"{classes - 1}"
            )

    def _write(self, epsilon: float, images: np.ndarray) -> Path:
        name = f"adversarial-{self.asked.method}-{epsilon:g}.npz"
        path = self.asked.file or self.run.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        with open(temporary, "wb") as file:
            np.savez(file, images=images, labels=self.dataset.labels)
        temporary.replace(path)
        return path

    def _provenance(self, source: Path) -> Row:
        return provenance(
            model=self.victim.path.name,
            sha256=self.victim.sha256,
            source=source.name,
            preprocessing=self.resolved.preprocessing.describe(),
            data=described(self.dataset),
            seed=self.run.seed,
        )
