"""Our attacks and those of the adversarial-robustness-toolbox make the same images.

Both walk along signs. Where a gradient is so near zero that float32 rounds it to either side, its
sign is chance: after one step pixels whose gradient lies below `_TIE` of the image's largest may
differ, after many an image that met such a tie on its way, of which one in 24 is let through.
Everything else agrees up to rounding.
"""

import numpy as np
import pytest
import torch
from torch import nn

from entangle_cli.attacks.gradients import input_gradient
from entangle_cli.attacks.sign import Ball, bim, fgsm, pgd

evasion = pytest.importorskip(
    "art.attacks.evasion", reason="the adversarial-robustness-toolbox is not installed"
)
classification = pytest.importorskip("art.estimators.classification")

EPSILON, STEP, STEPS, CLASSES, SHAPE = 0.1, 0.02, 8, 5, (3, 8, 8)
_TIE = 1e-5
_ROUNDING = 1e-6


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * 16, 32),
            nn.Tanh(),
            nn.Linear(32, CLASSES),
        ).eval()


@pytest.fixture(scope="module")
def theirs(network):
    return classification.PyTorchClassifier(
        model=network,
        loss=nn.CrossEntropyLoss(),
        input_shape=SHAPE,
        nb_classes=CLASSES,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand((24, *SHAPE), generator=generator)
    # many pixels at the ends of the range, where clipping matters
    images = ((images - 0.5) * 1.6 + 0.5).clamp(0, 1)
    return images, torch.randint(CLASSES, (24,), generator=generator)


def ball():
    return Ball(torch.tensor(EPSILON), torch.tensor(0.0), torch.tensor(1.0))


def ties(network, images, labels):
    """Pixels whose gradient has a sign by chance."""
    size = input_gradient(network, images, labels).values.abs()
    return (size <= _TIE * size.amax((1, 2, 3), keepdim=True)) & (size > 0)


def assert_images_alike(found, wanted):
    difference = (found - torch.from_numpy(wanted)).abs().amax((1, 2, 3))
    assert int((difference > _ROUNDING).sum()) <= 1


@pytest.mark.parametrize("targeted", [False, True])
def test_one_step(network, theirs, case, targeted):
    images, labels = case
    attack = evasion.FastGradientMethod(theirs, eps=EPSILON, targeted=targeted)
    wanted = attack.generate(images.numpy(), labels.numpy())
    found = fgsm(network, images, labels, ball(), targeted=targeted).inputs
    aside = ties(network, images, labels)
    assert float(aside.float().mean()) < 0.01
    difference = (found - torch.from_numpy(wanted)).abs().masked_fill(aside, 0.0)
    assert float(difference.max()) <= _ROUNDING
    # both have moved, and not by the same constant
    assert (found - images).abs().max() > EPSILON / 2


@pytest.mark.parametrize("targeted", [False, True])
def test_repeated_steps(network, theirs, case, targeted):
    images, labels = case
    options = {"eps": EPSILON, "eps_step": STEP, "max_iter": STEPS, "targeted": targeted}
    found = bim(
        network, images, labels, ball(), step_size=STEP, steps=STEPS, targeted=targeted
    ).inputs
    for attack in (
        evasion.BasicIterativeMethod(theirs, **options, verbose=False),
        evasion.ProjectedGradientDescentNumpy(theirs, **options, verbose=False),
    ):
        assert_images_alike(found, attack.generate(images.numpy(), labels.numpy()))


def test_repeated_steps_from_the_same_start(network, theirs, case, monkeypatch):
    images, labels = case
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(7)) * 2 - 1
    shift = noise * EPSILON
    monkeypatch.setattr(
        "art.attacks.evasion.fast_gradient.random_sphere",
        lambda count, width, eps, norm: shift.reshape(count, width).numpy(),
    )
    attack = evasion.ProjectedGradientDescentNumpy(
        theirs,
        eps=EPSILON,
        eps_step=STEP,
        max_iter=STEPS,
        num_random_init=1,
        verbose=False,
    )
    wanted = attack.generate(images.numpy(), labels.numpy())
    # the start of seed 7, as pgd draws it
    found = pgd(network, images, labels, ball(), step_size=STEP, steps=STEPS, seed=7).inputs
    assert_images_alike(found, wanted)
    plain = bim(network, images, labels, ball(), step_size=STEP, steps=STEPS).inputs
    assert not np.allclose(plain.numpy(), wanted, atol=1e-3)
