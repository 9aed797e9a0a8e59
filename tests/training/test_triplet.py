import pytest
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.training.triplet import TripletLoss, draw_triplets


def slow(points, triplets, margin, squared):
    total = 0.0
    for a, p, n in zip(*triplets, strict=True):
        near = sum(float(u - v) ** 2 for u, v in zip(points[a], points[p], strict=True))
        far = sum(float(u - v) ** 2 for u, v in zip(points[a], points[n], strict=True))
        if not squared:
            near, far = near**0.5, far**0.5
        total += max(0.0, near - far + margin)
    return total / len(triplets[0])


@pytest.mark.parametrize("squared", [True, False])
def test_the_value_is_that_of_the_formula_on_the_triplets_drawn(squared):
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        points = torch.randn(15, 3, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (15,), generator=generator)
        triplets = draw_triplets(labels, torch.Generator().manual_seed(seed))
        expected = slow(points, [t.tolist() for t in triplets], 0.5, squared)
        found = TripletLoss(margin=0.5, squared=squared, seed=seed)(points, labels)
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_every_anchor_once_with_a_mate_and_a_stranger():
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    generator = torch.Generator().manual_seed(0)
    mates = set()
    for _ in range(50):
        anchors, positives, negatives = draw_triplets(labels, generator)
        assert anchors.tolist() == [0, 1, 2, 3, 4]
        assert (labels[anchors] == labels[positives]).all()
        assert (anchors != positives).all()
        assert (labels[anchors] != labels[negatives]).all()
        mates.add(int(positives[0]))
    assert mates == {1, 2}


@pytest.mark.parametrize("squared", [True, False])
def test_gradients_are_those_of_finite_differences(squared):
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(8, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(8) % 2

    def loss(values):
        # a fresh module draws the same triplets
        return TripletLoss(margin=5.0, squared=squared)(values, labels)

    assert torch.autograd.gradcheck(loss, (points,))


def test_one_step_separates():
    points = torch.randn(30, 2, generator=torch.Generator().manual_seed(2)).requires_grad_()
    labels = torch.arange(30) % 3
    criterion = TripletLoss()
    optimizer = torch.optim.Adam([points], lr=0.05)
    first = float(criterion(points.detach(), labels))
    for _ in range(200):
        optimizer.zero_grad()
        criterion(points, labels).backward()
        optimizer.step()
    assert float(criterion(points.detach(), labels)) < 0.1 * first


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(
    "labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 1]], ids=["one class", "alone", "copies"]
)
def test_degenerate_batches_are_finite(labels, squared):
    points = torch.ones(4, 2, requires_grad=True)
    found = TripletLoss(squared=squared)(points, torch.tensor(labels))
    found.backward()
    assert float(found.detach()) == (1.0 if labels == [0, 0, 1, 1] else 0.0)
    assert torch.equal(points.grad, torch.zeros(4, 2))


def test_impossible_values_are_named():
    with pytest.raises(MeasureError, match="margin -1"):
        TripletLoss(margin=-1)
    with pytest.raises(MeasureError, match=r"labels of shape \(3,\)"):
        TripletLoss()(torch.zeros(4, 2), torch.zeros(3))
