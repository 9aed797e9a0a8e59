"""The differentiable loss: its value, its gradients, and every degenerate batch."""

import math

import numpy as np
import pytest
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.measures.temperature import entanglement
from entangle_cli.training.soft_nearest_neighbors import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)
from tests.reference import snnl as reference

POLICIES = (2.0, "minimum", "learned", "median")


def batch(seed=0, count=24, width=5, classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, width, generator=generator, dtype=dtype)
    return points, torch.arange(count) % classes


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", [0.01, 1.0, 50.0])
def test_the_value_is_the_references(metric, temperature):
    for seed in range(20):
        points, labels = batch(seed)
        labels[:3] = torch.tensor([7, 8, 8])  # one alone in its class, one pair
        found = soft_nearest_neighbor_loss(points, labels, temperature=temperature, metric=metric)
        expected = reference.snnl(points.numpy(), labels.tolist(), temperature, metric)
        assert float(found) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_gradients_are_those_of_finite_differences(metric):
    points, labels = batch(count=9, width=3)
    points.requires_grad_()
    inverse = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def loss(points, inverse):
        return soft_nearest_neighbor_loss(points, labels, temperature=1 / inverse, metric=metric)

    assert torch.autograd.gradcheck(loss, (points, inverse))


def test_the_minimum_is_that_of_the_measure():
    points, labels = batch(3, count=60)
    found = SoftNearestNeighborLoss(temperature="minimum")(points, labels)
    assert float(found) == pytest.approx(entanglement(points, labels).snnl, rel=1e-9)


def test_the_gradient_at_the_minimum_is_that_of_the_minimum():
    """Envelope theorem: moving the points moves T as well, which changes nothing to first order."""
    points, labels = batch(4, count=40, width=3)
    points = points + labels[:, None]
    criterion = SoftNearestNeighborLoss(temperature="minimum")
    leaf = points.clone().requires_grad_()
    criterion(leaf, labels).backward()
    direction = torch.randn(points.shape, generator=torch.Generator().manual_seed(1)).double()
    step = 1e-5
    ahead, behind = (
        entanglement(points + sign * step * direction, labels, precision="float64").snnl
        for sign in (1, -1)
    )
    expected = (ahead - behind) / (2 * step)
    assert float((leaf.grad * direction).sum()) == pytest.approx(expected, rel=1e-5)


DEGENERATE = {
    "one class": (torch.randn(6, 4), torch.zeros(6, dtype=torch.long)),
    "all alone": (torch.randn(5, 4), torch.arange(5)),
    "one point": (torch.randn(1, 4), torch.zeros(1, dtype=torch.long)),
    "all equal": (torch.ones(8, 4), torch.arange(8) % 2),
    "all zero": (torch.zeros(8, 4), torch.arange(8) % 2),
    "copies across classes": (torch.randn(4, 4).repeat(2, 1), torch.arange(8) // 4),
    "one alone": (torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 2])),
    "far apart": (torch.arange(6)[:, None] * 1e8, torch.arange(6) % 2),
    "far from the origin": (torch.randn(8, 4) + 1e4, torch.arange(8) % 2),
    "separated": (torch.tensor([[0.0], [0.1], [1e4], [1e4 + 1]]), torch.tensor([0, 0, 1, 1])),
    "maps": (torch.randn(6, 2, 3, 3), torch.arange(6) % 2),
}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_batches_have_finite_values_and_gradients(name, policy, metric):
    points, labels = DEGENERATE[name]
    points = points.float().clone().requires_grad_()
    criterion = SoftNearestNeighborLoss(temperature=policy, metric=metric)
    loss = criterion(points, labels)
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss.item() >= 0
    assert torch.isfinite(points.grad).all()
    for parameter in criterion.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad)


def test_one_class_and_singletons_cost_nothing():
    for name in ("one class", "all alone", "one point"):
        points, labels = DEGENERATE[name]
        assert float(SoftNearestNeighborLoss(temperature=1.0)(points, labels)) == 0


def test_minimizing_separates_and_maximizing_entangles():
    points, labels = batch(5, count=40, width=2, classes=2, dtype=torch.float32)
    start = entanglement(points, labels).entanglement
    found = {}
    for sign in (1, -1):
        moved = (points + 0.5 * labels[:, None]).clone().requires_grad_()
        optimizer = torch.optim.Adam([moved], lr=0.05)
        criterion = SoftNearestNeighborLoss(temperature="median")
        for _ in range(150):
            optimizer.zero_grad()
            (sign * criterion(moved, labels)).backward()
            optimizer.step()
        found[sign] = entanglement(moved.detach(), labels).entanglement
    assert found[1] < 0.3 * start
    assert found[-1] > found[1]


def test_a_learned_temperature_goes_to_the_minimum():
    points, labels = batch(6, count=60, classes=2)
    points = points + labels[:, None]
    criterion = SoftNearestNeighborLoss(temperature="learned", initial=20.0).double()
    optimizer = torch.optim.Adam(criterion.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        criterion(points, labels).backward()
        optimizer.step()
    best = entanglement(points, labels)
    assert torch.exp(-criterion.log_inverse).item() == pytest.approx(best.temperature, rel=0.02)


@pytest.mark.parametrize("policy", [0.0, -1.0, math.inf, "lowest"])
def test_impossible_temperatures_are_named(policy):
    with pytest.raises(MeasureError, match=r"temperature .*give"):
        SoftNearestNeighborLoss(temperature=policy)


def test_labels_that_do_not_fit_are_named():
    with pytest.raises(MeasureError, match=r"\(4, 2\) and labels of shape \(3,\)"):
        soft_nearest_neighbor_loss(torch.zeros(4, 2), torch.zeros(3), temperature=1.0)


def test_golden_values():
    points = torch.tensor([[0.0], [1.0], [3.0], [4.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    golden = {0.5: 0.0012379549649519, 1.0: 0.024621282859996, 10.0: 0.649131911030728}
    for temperature, expected in golden.items():
        found = float(soft_nearest_neighbor_loss(points, labels, temperature=temperature))
        assert found == pytest.approx(expected, rel=1e-12)
    assert np.isclose(
        float(SoftNearestNeighborLoss(temperature=1e6)(points, labels)), math.log(3), atol=1e-4
    )
