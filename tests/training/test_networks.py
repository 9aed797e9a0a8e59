import pytest
import torch
from torch import nn

from entangle_cli.errors import UsageError
from entangle_cli.training.networks import NETWORKS, build_network
from entangle_cli.training.taps import find_taps, run_tapped

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (4, 9, 13)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_every_shape(name, shape):
    network = build_network(name, shape, 7)
    assert network(torch.rand(3, *shape)).shape == (3, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build_network(name, (1, 8, 8), 3, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [nn.utils.parameters_to_vector(n.parameters()) for n in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name):
    network = build_network(name, (3, 16, 16), 4)
    network(torch.rand(5, 3, 16, 16)).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_the_layers_are_those_that_are_stated():
    kinds = {
        name: [type(m).__name__ for m in build_network(name, (3, 32, 32), 10).modules()]
        for name in NETWORKS
    }
    assert (kinds["cnn"].count("Conv2d"), kinds["cnn"].count("Linear")) == (2, 3)
    assert kinds["mlp"].count("Linear") == 3
    # 15 convolutions and the two shortcuts that change the shape
    assert (kinds["resnet15"].count("Conv2d"), kinds["resnet15"].count("Linear")) == (17, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_hidden_layers_are_found_and_the_logits_are_not_among_them(name):
    network = build_network(name, (1, 12, 12), 10).eval()
    images = torch.rand(4, 1, 12, 12)
    taps = find_taps(network, (), images)
    assert tuple(tap.name for tap in taps) == network.hidden_layers
    logits, layers = run_tapped(network, taps, images)
    assert torch.equal(logits, network(images))
    assert all(value.shape != logits.shape for value in layers.values())


def test_what_cannot_be_built_is_named():
    with pytest.raises(UsageError, match=r"'ccn' is unknown \(did you mean 'cnn'\?\); give cnn"):
        build_network("ccn", (1, 8, 8), 10)
    with pytest.raises(UsageError, match="images of 3x9: digits takes 4x4 and more"):
        build_network("digits", (1, 3, 9), 10)
