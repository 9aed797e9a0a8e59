"""Training step by step: plain, or entangled and resumable.

``train`` is plain: cross-entropy on batches drawn with replacement. `Training` is the one that
resumes: the batch of a step follows from the seed and the number of the step alone, so that the
state is the weights, the optimizer and the history. Its batches are drawn without replacement,
epoch by epoch, what does not fill a batch being left out: a sample that occurs twice in a batch
would be its own nearest neighbor.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.training.objective import EntangledObjective, Parts
from entangle_cli.training.settings import TrainingSettings

BATCH_SIZE = 64
LEARNING_RATE = 2e-3
# samples on which the hidden layers are found and learned temperatures begin
EXAMPLE = 256

Row = dict[str, Any]


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    before_step: Callable[[int], None],
    seed: int = 0,
) -> None:
    """Train with Adam; ``before_step(i)`` is called for i in 0..steps, the last after training.

    images (n, ...) float32, labels (n,) int64. Batches are drawn with replacement from a
    generator seeded with ``seed``.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        before_step(step)
        batch = torch.randint(len(images), (BATCH_SIZE,), generator=generator)
        loss = F.cross_entropy(network(images[batch]), labels[batch])
        _descend(optimizer, loss)
    before_step(steps)


class Training:
    """A network under training: images ``(n, ...)`` uint8 or float32 in 0..1, labels ``(n,)``.

    Attributes:
        step: how many steps are done.
        history: a row per recorded step, taken on the batch of that step before it changes the
            network: ``step, loss, cross_entropy``, and by layer ``snnl <layer>`` and
            ``temperature <layer>``.

    Raises:
        UsageError: fewer than two samples.
        MeasureError: layers, temperatures or a metric that cannot be; see ``EntangledObjective``.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        settings: TrainingSettings,
        *,
        device: str = "cpu",
    ) -> None:
        if len(images) < 2 or len(images) != len(labels):
            raise UsageError(f"{len(images)} samples and {len(labels)} labels; give two or more")
        self.network = network.to(device).train()
        self.images, self.labels, self.settings = images, labels, settings
        self.device, self.step, self.history = device, 0, list[Row]()
        self._order: tuple[int, Tensor] | None = None
        example = torch.arange(min(EXAMPLE, len(images)))
        self.objective = EntangledObjective(
            self.network,
            self._at(example),
            alpha=settings.alpha,
            layers=settings.layers,
            temperature=settings.temperature,
            metric=settings.metric,
            initial=settings.initial_temperature,
        )
        groups: list[Row] = [{"params": self.network.parameters(), "lr": settings.learning_rate}]
        temperatures = list(self.objective.criteria.parameters())
        if temperatures and settings.alpha != 0:
            groups.append({"params": temperatures, "lr": settings.temperature_rate})
        self.optimizer = torch.optim.Adam(groups)

    def advance(self) -> None:
        """One step of the optimizer.

        Raises:
            MeasureError: the loss is not finite any more.
        """
        record = self.step % self.settings.record_every == 0
        parts = self.objective(*self.seen(self.batch(self.step)), measure=record)
        if record:
            self.history.append(_row(self.step, parts))
        if not math.isfinite(float(parts.total.detach())):
            raise MeasureError(
                f"step {self.step}: the loss is not finite; give a lower learning rate or alpha"
            )
        # temperatures, in a group of their own, keep their rate
        self.optimizer.param_groups[0]["lr"] = self.settings.rate(self.step)
        _descend(self.optimizer, parts.total)
        self.step += 1

    def seen(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What this step trains on: inputs and labels of these rows, as they are."""
        return self._at(rows)

    def batch(self, step: int) -> Tensor:
        """The rows that this step sees: a part of a permutation drawn for its epoch."""
        size = min(self.settings.batch_size, len(self.images))
        epoch, part = divmod(step, len(self.images) // size)
        if self._order is None or self._order[0] != epoch:
            # distinct seeds for distinct epochs of distinct runs
            generator = torch.Generator().manual_seed((self.settings.seed << 32) + epoch)
            self._order = epoch, torch.randperm(len(self.images), generator=generator)
        return self._order[1][part * size : (part + 1) * size]

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and texts from which `restore` goes on."""
        return {
            "step": self.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.history = state["step"], list(state["history"])

    def _at(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return as_inputs(self.images[rows], self.device), self.labels[rows].to(self.device)


def as_inputs(images: Tensor, device: str = "cpu") -> Tensor:
    """Images as networks take them: float32, 8-bit pixels divided by 255."""
    moved = images.to(device)
    return moved.float() / 255 if moved.dtype == torch.uint8 else moved


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _row(step: int, parts: Parts) -> Row:
    row: Row = {"step": step, "loss": float(parts.total.detach())}
    row["cross_entropy"] = float(parts.cross_entropy)
    row |= {f"snnl {name}": float(value) for name, value in parts.snnl.items()}
    return row | {f"temperature {name}": float(t) for name, t in parts.temperatures.items()}
