"""Training with the triplet loss of hidden layers in place of the soft nearest neighbor loss.

Layers are scaled to unit length first: with ``alpha < 0`` the triplet loss of points that may grow
has no bound. The triplets of a step follow from the seed and the number of the step, so that a
resumed run draws the same.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.training.loop import Training
from entangle_cli.training.settings import TrainingSettings
from entangle_cli.training.triplet import TripletLoss


class UnitTripletLoss(nn.Module):
    """The triplet loss of a layer at unit length, where an objective expects a criterion."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = TripletLoss()

    def with_temperature(self, points: Tensor, labels: Tensor) -> tuple[Tensor, float]:
        """The loss; there is no temperature, which is said by 0."""
        return self.loss(F.normalize(points.flatten(1), dim=1), labels), 0.0


class TripletTraining(Training):
    """`Training` whose hidden layers enter with their triplet loss; resumable like it."""

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        labels: Tensor,
        settings: TrainingSettings,
        *,
        device: str = "cpu",
    ) -> None:
        super().__init__(network, images, labels, settings, device=device)
        self.objective.criteria = nn.ModuleList(UnitTripletLoss() for _ in self.objective.taps)

    def seen(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The batch as it is; its triplets are drawn anew."""
        for number, criterion in enumerate(self.objective.criteria):
            seed = (self.settings.seed << 32) + self.step * len(self.objective.criteria) + number
            criterion.loss.generator = torch.Generator().manual_seed(seed)
        return super().seen(rows)
