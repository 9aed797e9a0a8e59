"""What ``entangle attack`` does, without its options and its table."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
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

    # the parts of a plan, attacked; what waits on the disk goes once they are written
    Attacks = Callable[["Plan", list[slice]], AbstractContextManager["list[Attacked]"]]

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
    source = _source(asked, checkpoint.path, project)
    return _Work(victim, source, dataset, project, run, asked, terminal).attack()


def _source(asked: AttackOptions, path: Path, project: Project) -> Path:
    if asked.source is None:
        return path
    paths = project.model_paths(asked.source)
    if len(paths) != 1:
        raise UsageError(f"--source {asked.source}: stands for {len(paths)} model files; give one")
    return paths[0]


class _Work:
    """One model, the file whose gradients are taken, and one data set."""

    def __init__(
        self,
        victim: "Model",
        source: Path,
        dataset: "Dataset",
        project: Project,
        run: RunOptions,
        asked: AttackOptions,
        terminal: Terminal,
    ) -> None:
        from entangle_cli.attacks.parts import Attacker
        from entangle_cli.attacks.pixels import PixelFeed
        from entangle_cli.models.differentiable import open_differentiable

        self.victim, self.source, self.dataset = victim, source, dataset
        self.run, self.asked, self.terminal = run, asked, terminal
        self.resolved = resolve(victim, dataset, project, run)
        self.feed: PixelFeed = PixelFeed(self.resolved.preprocessing)
        self.attacker: Attacker = Attacker(
            network=open_differentiable(source, device=run.device, trust=run.trust),
            feed=self.feed,
            dataset=dataset,
            target=asked.target,
            seed=run.seed,
            device=run.device,
        )

    def attack(self) -> Result:
        """A row and a file per epsilon."""
        result = Result(command="attack", provenance=self._provenance())
        attacked = self._here if self.run.engine is None else self._by_workers()
        clean = self._predictions(self.attacker.pixels(part) for part in self._parts())
        for epsilon in self.asked.epsilons:
            result.rows.append(self._attack(self._plan(epsilon), attacked, clean))
        if self.resolved.preprocessing.crop_pct is not None:
            result.notes.append(
                "the images are those after cropping: feed them with a preprocessing without it"
            )
        return result

    def _attack(self, plan: "Plan", attacked: "Attacks", clean: np.ndarray) -> Row:
        with attacked(plan, self._parts()) as found:
            return self._row(plan, clean, found)

    def _plan(self, epsilon: float | None) -> "Plan":
        from entangle_cli.attacks.methods import make_plan

        asked = self.asked
        numbers = {"steps": asked.steps, "step_size": asked.step_size}
        return make_plan(asked.method, epsilon, **numbers, targeted=asked.target is not None)

    def _here(self, plan: "Plan", parts: list[slice]) -> AbstractContextManager["list[Attacked]"]:
        self.terminal.start(plan.words, len(self.dataset))
        found = []
        for part in parts:
            found.append(self.attacker.attack(part, plan))
            self.terminal.advance(part.stop - part.start)
        self.terminal.finish()
        return nullcontext(found)

    def _by_workers(self) -> "Attacks":
        from entangle_cli.runs.spread.attacking import SpreadAttack

        return SpreadAttack(self.attacker, self.source, self.run, self.terminal).attacked

    def _row(self, plan: "Plan", clean: np.ndarray, found: "list[Attacked]") -> Row:
        from entangle_cli.attacks.methods import vanished
        from entangle_cli.attacks.pixels import as_images

        pixels = [one.inputs for one in found]
        predictions = self._predictions(pixels)
        path = self._write(plan, np.concatenate([as_images(one) for one in pixels]))
        labels = self.dataset.labels
        row: Row = {
            "model": self.victim.path.name,
            "source": self.source.name,
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
            (after.cpu() - self.attacker.pixels(part)).flatten(1).norm(dim=1)
            for part, after in zip(self._parts(), moved, strict=True)
        ]
        return float(np.concatenate(lengths).mean())

    def _parts(self) -> list[slice]:
        size = self.run.batch_size or BATCH_ROWS
        count = len(self.dataset)
        return [slice(first, min(first + size, count)) for first in range(0, count, size)]

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

    def _provenance(self) -> Row:
        return provenance(
            model=self.victim.path.name,
            sha256=self.victim.sha256,
            source=self.source.name,
            preprocessing=self.resolved.preprocessing.describe(),
            data=described(self.dataset),
            seed=self.run.seed,
        )
