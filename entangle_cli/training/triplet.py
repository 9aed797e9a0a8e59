"""The triplet loss, which the paper compares with: pairs of one class near, others far.

``max(0, d(a, p) - d(a, n) + margin)``, averaged over the sampled triplets: each point that has
another of its class is the anchor once, its positive and its negative drawn evenly from the others
of its class and from other classes. Whether the paper's distance is squared cannot be read from its
text: squared here unless said otherwise.

Reference: arXiv 1902.01889, eq. 4.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from entangle_cli.errors import MeasureError


class TripletLoss(nn.Module):
    """Triplet loss of points ``(n, ...)`` with labels ``(n,)``, a scalar; lower = more separated.

    Args:
        margin: how much farther than the positive the negative should be.
        squared: whether distances are squared.
        seed: of the triplets drawn; the module draws new ones at each call.

    A batch without two points of a class, or of one class, has the loss 0 and gradient 0.

    Raises:
        MeasureError: a negative margin, or shapes that do not fit.
    """

    def __init__(self, *, margin: float = 1.0, squared: bool = True, seed: int = 0) -> None:
        super().__init__()
        if not margin >= 0:
            raise MeasureError(f"margin {margin}; give 0 or more")
        self.margin, self.squared = margin, squared
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """The loss of one draw of triplets."""
        if labels.shape != points.shape[:1]:
            raise MeasureError(
                f"points of shape {tuple(points.shape)} and labels of shape "
                f"{tuple(labels.shape)}; give (n, ...) and (n,)"
            )
        points = points.reshape(len(points), -1)
        anchors, positives, negatives = draw_triplets(labels, self.generator)
        if not len(anchors):
            return (points * 0).sum()
        near = self._distance(points[anchors] - points[positives])
        far = self._distance(points[anchors] - points[negatives])
        return F.relu(near - far + self.margin).mean()

    def _distance(self, differences: Tensor) -> Tensor:
        squares = differences.square().sum(1)
        if self.squared:
            return squares
        # the root has no gradient at 0: copies count as distance 0 with gradient 0
        apart = squares > 0
        return torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)


def draw_triplets(labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Row numbers of anchors, positives and negatives, each ``(k,)``, drawn on the CPU."""
    own = labels.cpu()
    alike = own[:, None] == own[None, :]
    positive = alike & ~torch.eye(len(own), dtype=torch.bool)
    anchors = torch.nonzero(positive.any(1) & ~alike.all(1))[:, 0]
    if not len(anchors):
        return anchors, anchors, anchors
    drawn = (
        torch.multinomial(mask[anchors].float(), 1, generator=generator)[:, 0]
        for mask in (positive, ~alike)
    )
    positives, negatives = drawn
    device = labels.device
    return anchors.to(device), positives.to(device), negatives.to(device)
