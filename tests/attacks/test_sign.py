import numpy as np
import pytest
import torch

from entangle_cli.attacks.gradients import input_gradient
from entangle_cli.attacks.sign import Ball, bim, fgsm, pgd
from entangle_cli.errors import MeasureError
from tests.reference import attacks as reference


def case(seed=0, count=12, width=7, classes=4):
    generator = np.random.default_rng(seed)
    weight, bias = generator.normal(size=(classes, width)), generator.normal(size=classes)
    inputs = generator.random((count, width))
    labels = generator.integers(0, classes, count)
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)
    return (lambda x: x @ w.t() + b), inputs, labels, weight, bias


def ball(epsilon):
    return Ball(*(torch.tensor(v, dtype=torch.float64) for v in (epsilon, 0.0, 1.0)))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_attacks_are_those_of_the_reference(seed, targeted):
    network, inputs, labels, weight, bias = case(seed)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    sign = -1.0 if targeted else 1.0
    known = {"weight": weight, "bias": bias, "epsilon": 0.2, "sign": sign}
    one = reference.bim(inputs, labels, step=0.2, steps=1, **known)
    found = fgsm(network, x, y, ball(0.2), targeted=targeted)
    assert np.allclose(found.inputs.numpy(), one, atol=1e-12)
    many = reference.bim(inputs, labels, step=0.05, steps=9, **known)
    found = bim(network, x, y, ball(0.2), step_size=0.05, steps=9, targeted=targeted)
    assert np.allclose(found.inputs.numpy(), many, atol=1e-12)


def test_every_result_stays_in_the_ball_and_in_range():
    network, inputs, labels, *_ = case(3)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    for attacked in (
        fgsm(network, x, y, ball(0.3)),
        bim(network, x, y, ball(0.3), step_size=0.2, steps=5),
        pgd(network, x, y, ball(0.3), step_size=0.2, steps=5, seed=1),
    ):
        assert (attacked.inputs - x).abs().max() <= 0.3 + 1e-12
        assert attacked.inputs.min() >= 0
        assert attacked.inputs.max() <= 1


def test_channels_may_have_balls_of_their_own():
    x = torch.full((2, 3, 4, 4), 0.5)
    epsilon = torch.tensor([0.1, 0.2, 0.0])[:, None, None]
    limits = Ball(epsilon, torch.zeros(1), torch.ones(1))
    weight = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
    found = fgsm(lambda x: x.flatten(1) @ weight.t(), x, torch.tensor([0, 1]), limits)
    moved = (found.inputs - x).abs().amax((0, 2, 3))
    assert torch.allclose(moved, torch.tensor([0.1, 0.2, 0.0]))


def test_a_sure_network_is_attacked_through_its_margin():
    network, inputs, _, *_ = case(4)
    x = torch.from_numpy(inputs)
    sure = lambda x: 1e6 * network(x)  # noqa: E731
    labels = network(x).argmax(1)
    gradient = input_gradient(sure, x, labels)
    assert gradient.by_margin == len(x)
    assert gradient.without == 0
    moved = fgsm(sure, x, labels, ball(0.3)).inputs
    assert (margin(network(moved), labels) < margin(network(x), labels)).all()


def margin(scores, labels):
    own = scores.gather(1, labels[:, None])[:, 0]
    return own - scores.scatter(1, labels[:, None], -torch.inf).amax(1)


def test_inputs_that_change_nothing_are_counted():
    found = input_gradient(lambda x: x * 0, torch.rand(3, 4), torch.tensor([0, 1, 2]))
    assert found.without == 3


def test_gradients_of_inputs_do_not_mix():
    network, inputs, labels, *_ = case(5)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    together = input_gradient(network, x, y).values
    alone = torch.cat(
        [input_gradient(network, x[i : i + 1], y[i : i + 1]).values for i in range(12)]
    )
    assert torch.allclose(together, alone, atol=1e-14)


def test_pgd_starts_at_random_and_repeats_with_its_seed():
    network, inputs, labels, *_ = case(6)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    runs = [pgd(network, x, y, ball(0.3), step_size=0.01, steps=2, seed=s) for s in (0, 0, 1)]
    assert torch.equal(runs[0].inputs, runs[1].inputs)
    assert not torch.equal(runs[0].inputs, runs[2].inputs)


def test_no_steps_are_refused():
    network, inputs, labels, *_ = case()
    with pytest.raises(MeasureError, match="0 steps"):
        bim(
            network,
            torch.from_numpy(inputs),
            torch.from_numpy(labels),
            ball(0.1),
            step_size=0.1,
            steps=0,
        )
