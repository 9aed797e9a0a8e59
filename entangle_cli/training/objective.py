"""Cross-entropy plus a multiple of the soft nearest neighbor loss of hidden layers.

``total = cross-entropy(logits) + alpha * sum over hidden layers of SNNL(layer)``. With
``alpha < 0`` the classes stay mixed in the hidden layers (entangled training), with ``alpha > 0``
they are pulled apart; the logits are never part of the sum. ``alpha = 0`` is plain cross-entropy.

Reference: arXiv 1902.01889, eq. 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.errors import MeasureError
from entangle_cli.training.soft_nearest_neighbors import (
    Metric,
    Policy,
    SoftNearestNeighborLoss,
    typical_temperature,
)
from entangle_cli.training.taps import find_taps, run_tapped


@dataclass(frozen=True)
class Parts:
    """One evaluation: ``total`` to go backward from, and what it is made of, by layer name.

    ``temperatures`` are 0 or infinity where the minimum lies there. ``snnl`` is empty where nobody
    asked for it.
    """

    total: Tensor
    cross_entropy: Tensor
    snnl: dict[str, Tensor]
    temperatures: dict[str, float | Tensor]


class EntangledObjective(nn.Module):
    """The loss of a network on a batch; holds the network and any learned temperatures.

    ``example`` are some inputs with their labels, on which the hidden layers are found; learned
    temperatures start at ``initial``, by default at 0.03 times each layer's median squared distance
    there. ``layers``: names and globs, see ``taps``; default: the network's own ``hidden_layers``,
    else the outputs of its activation modules.

    Raises:
        MeasureError: no such layer, the logits, or a temperature, metric or alpha that cannot be.
    """

    def __init__(  # noqa: PLR0913 - the options of one loss
        self,
        network: nn.Module,
        example: tuple[Tensor, Tensor],
        *,
        alpha: float,
        layers: Sequence[str] = (),
        temperature: Policy = "minimum",
        metric: Metric = "euclidean",
        initial: float | None = None,
    ) -> None:
        super().__init__()
        if not torch.isfinite(torch.tensor(alpha)):
            raise MeasureError(f"alpha {alpha}; give a number")
        self.network, self.alpha = network, float(alpha)
        inputs, labels = example
        with _evaluating(network), torch.no_grad():
            self.taps = find_taps(network, layers, inputs)
            _, found = run_tapped(network, self.taps, inputs)
        self.criteria = nn.ModuleList(
            SoftNearestNeighborLoss(
                temperature=temperature,
                metric=metric,
                initial=typical_temperature(found[tap.name], labels, metric)
                if initial is None
                else initial,
                weight=self.alpha,
            )
            for tap in self.taps
        )
        self.to(inputs.device)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the hidden layers, in the order in which they were asked for."""
        return tuple(tap.name for tap in self.taps)

    def forward(self, inputs: Tensor, labels: Tensor, *, measure: bool = True) -> Parts:
        """The loss of a batch: inputs ``(n, ...)``, labels ``(n,)``.

        Without ``measure`` what does not enter the total (alpha 0) is not computed.
        """
        if self.alpha == 0 and not measure:
            cross_entropy = F.cross_entropy(self.network(inputs), labels)
            return Parts(cross_entropy, cross_entropy.detach(), {}, {})
        logits, found = run_tapped(self.network, self.taps, inputs)
        cross_entropy = F.cross_entropy(logits, labels)
        snnl, temperatures = {}, {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.alpha != 0):
            for tap, criterion in zip(self.taps, self.criteria, strict=True):
                loss, temperature = criterion.with_temperature(found[tap.name], labels)
                snnl[tap.name], temperatures[tap.name] = loss, temperature
        total = cross_entropy
        if self.alpha != 0:
            total = cross_entropy + self.alpha * torch.stack(list(snnl.values())).sum()
        return Parts(
            total,
            cross_entropy.detach(),
            {name: loss.detach() for name, loss in snnl.items()},
            {
                name: value.detach() if isinstance(value, Tensor) else value
                for name, value in temperatures.items()
            },
        )


class _evaluating:
    """Within it a network is in evaluation mode, so that looking changes no running mean."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.modes = [(module, module.training) for module in network.modules()]

    def __enter__(self) -> None:
        self.network.eval()

    def __exit__(self, *error: object) -> None:
        for module, training in self.modes:
            module.training = training
