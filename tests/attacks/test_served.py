"""Carlini and Wagner's attack and AutoAttack, where the toolbox is installed, and where not."""

import numpy as np
import pytest
import torch
from torch import nn

from entangle_cli.attacks import served
from entangle_cli.attacks.methods import attack, check_plan, make_plan
from entangle_cli.errors import UsageError

CLASSES, SHAPE = 5, (1, 6, 6)


@pytest.fixture
def toolbox():
    pytest.importorskip("art", reason="the adversarial-robustness-toolbox is not installed")
    pytest.importorskip("multiprocess", reason="its AutoAttack needs multiprocess")


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, CLASSES))


@pytest.fixture(scope="module")
def case(network):
    images = torch.rand((12, *SHAPE), generator=torch.Generator().manual_seed(1))
    return images, network(images).argmax(1)


def right(network, images, labels):
    return float((network(images).argmax(1) == labels).float().mean())


def test_carlini_wagner_fools_with_little(toolbox, network, case):
    images, labels = case
    plan = make_plan("carlini-wagner", None, steps=20)
    moved = attack(network, images, labels, plan, seed=0).inputs
    assert right(network, moved, labels) < 0.3
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    # a step to the corner of a ball that fools as many is longer
    plan = make_plan("fgsm", 0.2, steps=1)
    corner = attack(network, images, labels, plan, seed=0).inputs
    lengths = [(one - images).flatten(1).norm(dim=1).mean() for one in (moved, corner)]
    assert lengths[0] < lengths[1]


def test_carlini_wagner_reaches_a_target(toolbox, network, case):
    images, labels = case
    target = (labels + 1) % CLASSES
    moved = served.carlini_wagner(network, images, target, steps=40, targeted=True)
    # its searches do not always find one; what they find is the target
    reached = network(moved).argmax(1) == target
    assert reached.any()
    assert torch.equal(moved[~reached], images[~reached])


def test_auto_attack_is_at_least_as_strong_and_stays_in_its_ball(toolbox, network, case):
    images, labels = case
    # strong enough that no image is left for the thousands of steps of its last part
    plans = [make_plan(name, 0.2, steps=10) for name in ("auto-attack", "fgsm")]
    moved, stepped = (attack(network, images, labels, p, seed=3).inputs for p in plans)
    assert float((moved - images).abs().max()) <= 0.2 + 1e-6
    assert right(network, moved, labels) <= right(network, stepped, labels) < 1
    assert torch.equal(served.auto_attack(network, images, labels, epsilon=0.0), images)


def test_auto_attack_leaves_the_global_generator_as_it_was(toolbox, network, case):
    images, labels = case
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    once, again = (
        served.auto_attack(network, images, labels, epsilon=0.2, seed=5) for _ in range(2)
    )
    assert torch.equal(once, again)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("method", ["carlini-wagner", "auto-attack"])
def test_the_missing_extra_is_named(method, monkeypatch, network, case):
    monkeypatch.setattr("entangle_cli.attacks.served.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"entangle-cli\[attacks\]"):
        check_plan(method, epsilon=False, step_size=False, target=False)
    with pytest.raises(UsageError, match="toolbox"):
        attack(network, *case, make_plan(method, 0.1, steps=1), seed=0)


@pytest.mark.parametrize(
    ("method", "given", "reason"),
    [
        ("carlini-wagner", "epsilon", "--epsilon: carlini-wagner"),
        ("carlini-wagner", "step_size", "--step-size: carlini-wagner"),
        ("auto-attack", "target", "--target: auto-attack"),
    ],
)
def test_options_without_a_use_are_refused(method, given, reason):
    options = dict.fromkeys(("epsilon", "step_size", "target"), False) | {given: True}
    with pytest.raises(UsageError, match=reason):
        check_plan(method, **options)
