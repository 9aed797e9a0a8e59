"""The quick minimum over temperature against the thorough one of the measures."""

import math

import pytest
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.measures.temperature import entanglement
from entangle_cli.training.lowest import lowest_temperature
from entangle_cli.training.soft_nearest_neighbors import distances, soft_nearest_neighbor_loss


def draw(seed):
    """Points of some clusters, some of them shared by classes, at any scale."""
    generator = torch.Generator().manual_seed(seed)

    def number(low, high):
        return int(torch.randint(low, high, (1,), generator=generator))

    count, width, classes = number(12, 120), number(2, 40), number(2, 11)
    labels = torch.randint(classes, (count,), generator=generator)
    points = torch.randn(count, width, generator=generator, dtype=torch.float64)
    apart = 3 * float(torch.rand(1, generator=generator))
    points += apart * torch.randn(classes, width, generator=generator)[labels]
    if seed % 3 == 0:
        blobs = 10 * torch.randn(8, width, generator=generator)
        points += blobs[torch.randint(8, (count,), generator=generator)]
    points *= 10 ** float(torch.randn(1, generator=generator))
    if seed % 7 == 0:
        points[:4] = points[4:8]
    return points, labels


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-7), (torch.float32, 1e-2)])
def test_the_loss_there_is_the_minimum_of_the_measure(metric, dtype, error):
    for seed in range(40):
        points, labels = draw(seed)
        points = points.to(dtype)
        found = lowest_temperature(distances(points, metric), labels)
        known = entanglement(points, labels, metric=metric)
        if found.temperature == 0:
            loss = found.at_zero
        elif found.temperature == math.inf:
            loss = known.ceiling
        else:
            loss = float(
                soft_nearest_neighbor_loss(
                    points, labels, temperature=found.temperature, metric=metric
                )
            )
        assert loss == pytest.approx(known.snnl, rel=error, abs=1e-9), seed


def test_the_ends_of_the_range_are_said():
    line = torch.tensor([[0.0], [1.0], [3.0], [4.0]], dtype=torch.float64)
    separated = lowest_temperature(distances(line, "euclidean"), torch.tensor([0, 0, 1, 1]))
    assert separated == (0.0, 0.0)
    alternating = lowest_temperature(
        distances(torch.arange(4.0)[:, None], "euclidean"), torch.tensor([0, 1, 0, 1])
    )
    assert alternating.temperature == math.inf
    assert alternating.at_zero == math.inf
    equal = lowest_temperature(torch.zeros(4, 4), torch.tensor([0, 0, 1, 1]))
    assert equal.temperature == math.inf


def test_copies_with_other_labels_leave_the_limit_at_zero():
    """Two places with three points of one class and two of another each."""
    points = torch.tensor([0.0, 9.0]).repeat_interleave(5)[:, None]
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
    found = lowest_temperature(distances(points.double(), "euclidean"), labels)
    assert found.at_zero == pytest.approx(0.6 * math.log(2) + 0.4 * math.log(4))
    assert found.temperature == 0.0


def test_distances_that_are_not_finite_are_refused():
    with pytest.raises(MeasureError, match="not finite; give a lower"):
        lowest_temperature(torch.full((4, 4), math.nan), torch.tensor([0, 0, 1, 1]))
