"""Training of a generator step by step, resumable.

What a step sees (real images, noise, places of the gradient penalty) follows from the seed and the
number of the step alone, so that the state is the networks, the optimizers and the history.
"""

import math
from typing import Any

import torch
from torch import Generator as Draws
from torch import Tensor, nn

from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.training.generative.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    real_and_generated,
)
from entangle_cli.training.generative.networks import Discriminator, Generator
from entangle_cli.training.generative.settings import GANS, GeneratorSettings
from entangle_cli.training.soft_nearest_neighbors import (
    MEDIAN_SHARE,
    SoftNearestNeighborLoss,
    typical_temperature,
)

_BETAS = (0.5, 0.9)
# of the temperature where that is learned
_TEMPERATURE_RATE = 0.01
_BATCH = 256
# pixels on a side: the discriminator halves twice
_LEAST = 4

Row = dict[str, Any]


class GeneratorTraining:
    """A generator under training on images ``(n, channels, h, w)``, uint8 or float32 in 0..1.

    Attributes:
        step: how many steps are done.
        history: a row per recorded step: ``step``, the losses ``generator`` and ``discriminator``
            (None without one) that the step descended, and for the kinds that use it ``snnl`` and
            its ``temperature``.

    Raises:
        UsageError: fewer than two images, or smaller ones than 4 x 4.
    """

    def __init__(self, images: Tensor, settings: GeneratorSettings, *, device: str = "cpu") -> None:
        if images.ndim != 4 or len(images) < 2 or min(images.shape[2:]) < _LEAST:
            raise UsageError(
                f"images of shape {tuple(images.shape)}; give two or more, (n, channels, h, w), of "
                f"{_LEAST} x {_LEAST} pixels and more"
            )
        self.images, self.settings, self.device = images, settings, device
        self.step, self.history, self._temperature = 0, list[Row](), 0.0
        shape, outputs = tuple(images.shape[1:]), 1 if settings.kind in GANS else settings.space
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.generator = Generator(shape, settings.latent, settings.width).to(device)
            self.discriminator: nn.Module | None = None
            if settings.discriminator_steps:
                self.discriminator = Discriminator(shape, outputs, settings.width).to(device)
        self.criterion = self._criterion()
        self.optimizers = self._optimizers()

    def advance(self) -> None:
        """One step of the generator, after those of the discriminator.

        Raises:
            MeasureError: a loss is not finite any more.
        """
        draws = torch.Generator().manual_seed((self.settings.seed << 32) + self.step)
        row: Row = {"step": self.step, "generator": None, "discriminator": None}
        for _ in range(self.settings.discriminator_steps):
            row["discriminator"] = self._move("discriminator", self._discriminator_loss(draws))
        loss = self._generator_loss(draws)
        row["generator"] = self._move("generator", loss)
        if self.settings.kind not in GANS:
            row |= {"snnl": -row["generator"], "temperature": self._temperature}
        if self.step % self.settings.record_every == 0:
            self.history.append(row)
        self.step += 1

    def sample(self, noise: Tensor) -> Tensor:
        """Images uint8 ``(n, channels, h, w)`` of noise ``(n, latent)``, in evaluation mode."""
        self.generator.eval()
        with torch.no_grad():
            parts = [self.generator(part.to(self.device)).cpu() for part in noise.split(_BATCH)]
        self.generator.train()
        return ((torch.cat(parts) + 1) * 127.5).round().to(torch.uint8)

    def fixed_noise(self, count: int) -> Tensor:
        """The noise of all snapshots ``(count, latent)``, never a step's."""
        draws = torch.Generator().manual_seed((self.settings.seed << 32) + 2**31)
        return torch.randn(count, self.settings.latent, generator=draws)

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and texts from which `restore` goes on."""
        return {
            "step": self.step,
            "history": self.history,
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, module in self._modules().items():
            module.load_state_dict(state["modules"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.step, self.history = state["step"], list(state["history"])

    def _modules(self) -> dict[str, nn.Module]:
        found = {"generator": self.generator, "discriminator": self.discriminator}
        return {k: v for k, v in found.items() if v is not None} | {"criterion": self.criterion}

    def _criterion(self) -> SoftNearestNeighborLoss:
        settings, initial = self.settings, 1.0
        if settings.temperature == "learned":
            draws = torch.Generator().manual_seed(settings.seed << 32)
            real = self._real(draws)
            seen = real if self.discriminator is None else self.discriminator(real)
            initial = (
                typical_temperature(seen, torch.zeros(len(seen)), settings.metric) / MEDIAN_SHARE
            )
        return SoftNearestNeighborLoss(
            temperature=settings.temperature,
            metric=settings.metric,
            initial=initial,
            # a learned temperature descends the loss, which the generator alone ascends
            weight=-1.0 if self.discriminator is None else 1.0,
        ).to(self.device)

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        made: dict[str, torch.optim.Optimizer] = {}
        temperatures = list(self.criterion.parameters())
        last = "generator" if self.discriminator is None else "discriminator"
        for name, module in (("generator", self.generator), ("discriminator", self.discriminator)):
            if module is None:
                continue
            groups: list[Row] = [{"params": module.parameters(), "lr": self.settings.learning_rate}]
            if temperatures and name == last:
                groups.append({"params": temperatures, "lr": _TEMPERATURE_RATE})
            made[name] = torch.optim.Adam(groups, betas=_BETAS)
        return made

    def _real(self, draws: Draws) -> Tensor:
        size = min(self.settings.batch_size, len(self.images))
        # without repetition: a copy would be its own nearest neighbor
        rows = torch.randperm(len(self.images), generator=draws)[:size]
        images = self.images[rows].to(self.device)
        return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images * 2 - 1

    def _generated(self, draws: Draws) -> Tensor:
        size = min(self.settings.batch_size, len(self.images))
        noise = torch.randn(size, self.settings.latent, generator=draws)
        return self.generator(noise.to(self.device))

    def _discriminator_loss(self, draws: Draws) -> Tensor:
        kind, see = self.settings.kind, self.discriminator
        real = self._real(draws)
        with torch.no_grad():
            generated = self._generated(draws)
        if kind not in GANS:
            return self._entangled(see(real), see(generated))
        loss = discriminator_loss(kind, see(real)[:, 0], see(generated)[:, 0])
        if kind == "wgan-gp":
            place = torch.rand(len(real), generator=draws).to(self.device)
            loss = loss + self.settings.penalty * gradient_penalty(see, real, generated, place)
        return loss

    def _generator_loss(self, draws: Draws) -> Tensor:
        kind = self.settings.kind
        generated = self._generated(draws)
        if kind in GANS:
            return generator_loss(kind, self.discriminator(generated)[:, 0])
        real = self._real(draws)
        if self.discriminator is not None:
            with torch.no_grad():
                real = self.discriminator(real)
            generated = self.discriminator(generated)
        return -self._entangled(real, generated)

    def _entangled(self, real: Tensor, generated: Tensor) -> Tensor:
        loss, temperature = real_and_generated(self.criterion, real, generated)
        self._temperature = float(torch.as_tensor(temperature).detach())
        return loss

    def _move(self, name: str, loss: Tensor) -> float:
        value = float(loss.detach())
        if not math.isfinite(value):
            raise MeasureError(
                f"step {self.step}: the {name}'s loss is not finite; give a lower learning rate"
            )
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return value
