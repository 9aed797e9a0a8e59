import torch

from entangle_cli.training.loop import train
from entangle_cli.training.networks import DigitsNet


def toy_problem():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    images = torch.rand(200, 1, 8, 8, generator=generator) * 0.2
    images[labels == 1, :, :4] += 0.8
    return images, labels


def fresh_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DigitsNet()


def test_training_learns_a_problem_that_can_be_learned():
    images, labels = toy_problem()
    network = fresh_network()
    train(network, images, labels, steps=60, before_step=lambda step: None)
    with torch.no_grad():
        assert (network(images).argmax(1) == labels).float().mean() > 0.99


def test_the_callback_sees_every_step_and_the_end():
    images, labels = toy_problem()
    seen = []
    train(fresh_network(), images, labels, steps=3, before_step=seen.append)
    assert seen == [0, 1, 2, 3]


def test_one_seed_gives_one_network():
    images, labels = toy_problem()
    networks = [fresh_network(), fresh_network(), fresh_network()]
    for network, seed in zip(networks, (1, 1, 2), strict=True):
        train(network, images, labels, steps=5, before_step=lambda step: None, seed=seed)
    first, again, other = (network.fc2.weight for network in networks)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
