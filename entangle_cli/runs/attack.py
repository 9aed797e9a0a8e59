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
    resolve_device,
)
from entangle_cli.runs.shared.provenance import described, provenance
from entangle_cli.runs.shared.resolving import resolve
from entangle_cli.runs.shared.run_options import RunOptions
from entangle_cli.runs.shared.sources import choose_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from entangle_cli.attacks.methods import Plan
    from entangle_cli.attacks.sign import Attacked
    from entangle_cli.datasets.dataset import Dataset
    from entangle_cli.models import Model

BATCH_ROWS = 256


@dataclass(frozen=True)
class AttackOptions:
    """The options that only ``entangle attack`` has; epsilons in pixels, None: no limit."""

    method: str
    epsilons: tuple[float | None, ...]
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
            plan = self._plan(epsilon)
            self.terminal.start(plan.words, len(self.dataset))
            found = []
            for part in self._parts():
                found.append(self._attacked(part, plan, network))
                self.terminal.advance(part.stop - part.start)
            self.terminal.finish()
            result.rows.append(self._row(plan, source, clean, found))
        if self.resolved.preprocessing.crop_pct is not None:
            result.notes.append(
                "the images are those after cropping: feed them with a preprocessing without it"
            )
        return result

    def _plan(self, epsilon: float | None) -> "Plan":
        from entangle_cli.attacks.methods import make_plan

        asked = self.asked
        numbers = {"steps": asked.steps, "step_size": asked.step_size}
        return make_plan(asked.method, epsilon, **numbers, targeted=asked.target is not None)

    def _row(self, plan: "Plan", source: Path, clean: np.ndarray, found: "list[Attacked]") -> Row:
        from entangle_cli.attacks.methods import vanished
        from entangle_cli.attacks.pixels import as_images

        pixels = [one.inputs for one in found]
        predictions = self._predictions(pixels)
        path = self._write(plan, np.concatenate([as_images(one) for one in pixels]))
        labels = self.dataset.labels
        row: Row = {
            "model": self.victim.path.name,
            "source": source.name,
            "data": self.dataset.name,
            "method": plan.method,
            "epsilon": plan.epsilon,
            "step_size": plan.step_size,
            "steps": plan.steps,
            "target": self.asked.target,
            "n": len(self.dataset),
            "clean_accuracy": float((clean == labels).mean()),
            "accuracy": float((predictions == labels).mean()),
            "changed": float((predictions != clean).mean()),
        }
        if plan.targeted:
            row["reached"] = float((predictions == self.asked.target).mean())
        row |= vanished(found)
        if plan.epsilon is None:
            row["mean_l2"] = self._mean_change(pixels)
        return row | {"file": str(path)}

    def _mean_change(self, moved: "list[Tensor]") -> float:
        """The mean length of the changes, in the Euclidean norm."""
        lengths = [
            (after.cpu() - self._pixels(part)).flatten(1).norm(dim=1)
            for part, after in zip(self._parts(), moved, strict=True)
        ]
        return float(np.concatenate(lengths).mean())

    def _attacked(
        self, part: slice, plan: "Plan", network: "Callable[[Tensor], Tensor]"
    ) -> "Attacked":
        import torch

        from entangle_cli.attacks.methods import attack

        pixels = self._pixels(part).to(self.run.device)
        labels = torch.from_numpy(self.dataset.labels[part]).to(pixels.device)
        if plan.targeted:
            labels = torch.full_like(labels, self.asked.target)

        def scores(pixels: "Tensor") -> "Tensor":
            return network(self.feed(pixels))

        try:
            return attack(scores, pixels, labels, plan, seed=self.run.seed + part.start)
        except (RuntimeError, IndexError) as error:
            lines = str(error).strip().splitlines()
            raise ModelError(f"the network cannot be differentiated here: {lines[-1]}") from None

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

    def _write(self, plan: "Plan", images: np.ndarray) -> Path:
        limit = "" if plan.epsilon is None else f"-{plan.epsilon:g}"
        path = self.asked.file or self.run.output / f"adversarial-{plan.method}{limit}.npz"
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
