"""Cross-entropy plus alpha times the loss of hidden layers: parts, layers, gradients."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from entangle_cli.errors import MeasureError
from entangle_cli.training.networks import build_network
from entangle_cli.training.objective import EntangledObjective
from entangle_cli.training.soft_nearest_neighbors import SoftNearestNeighborLoss
from entangle_cli.training.taps import find_taps

POLICIES = ("minimum", "learned", "median", 3.0)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 3
    images = torch.rand(24, 1, 8, 8, generator=generator)
    images[:, 0, 0] += 0.2 * labels[:, None]
    return images, labels


def cnn():
    return build_network("cnn", (1, 8, 8), 3)


def test_the_total_is_the_sum_of_its_parts(batch):
    objective = EntangledObjective(cnn(), batch, alpha=-0.7, temperature=3.0)
    parts = objective(*batch)
    network = objective.network
    first = F.relu(network.conv1(batch[0]))
    second = F.relu(network.conv2(first))
    third = F.relu(network.fc1(second.flatten(1)))
    fourth = F.relu(network.fc2(third))
    criterion = SoftNearestNeighborLoss(temperature=3.0)
    snnl = [criterion(points, batch[1]) for points in (first, second, third, fourth)]
    expected = F.cross_entropy(network(batch[0]), batch[1]) - 0.7 * sum(snnl)
    assert parts.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert list(parts.snnl) == list(objective.layers) == list(network.hidden_layers)
    assert float(parts.snnl["conv1>relu"]) == pytest.approx(snnl[0].item(), rel=1e-6)
    assert set(parts.temperatures.values()) == {3.0}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("measure", [True, False])
def test_without_alpha_it_is_cross_entropy_exactly(batch, policy, measure):
    network = cnn()
    plain = copy.deepcopy(network)
    objective = EntangledObjective(network, batch, alpha=0.0, temperature=policy)
    parts = objective(*batch, measure=measure)
    parts.total.backward()
    expected = F.cross_entropy(plain(batch[0]), batch[1])
    expected.backward()
    assert parts.total.item() == expected.item()
    for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert bool(parts.snnl) == measure


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_loss_of_a_layer_reaches_the_layers_below_it(batch, policy, metric):
    """What the loss adds to the gradient: something up to its layer, nothing after it."""
    gradients = []
    for alpha in (0.0, -1.0):
        objective = EntangledObjective(
            cnn(), batch, alpha=alpha, layers=["fc1>relu"], temperature=policy, metric=metric
        )
        objective(*batch).total.backward()
        gradients.append({n: p.grad for n, p in objective.network.named_parameters()})
    for name, plain in gradients[0].items():
        moved = not torch.allclose(gradients[1][name], plain, atol=1e-9)
        assert moved == name.startswith(("conv1", "conv2", "fc1")), name


@pytest.mark.parametrize("alpha", [-1.0, 1.0])
def test_a_learned_temperature_goes_down_the_loss_whatever_the_sign(batch, alpha):
    objective = EntangledObjective(
        cnn(), batch, alpha=alpha, layers=["fc1>relu"], temperature="learned"
    )
    objective(*batch).total.backward()
    (criterion,) = objective.criteria
    plain = copy.deepcopy(criterion)
    plain.weight = 1.0
    plain.log_inverse.grad = None
    points = F.relu(objective.network.fc1(_second(objective.network, batch[0]))).detach()
    plain(points, batch[1]).backward()
    assert plain.log_inverse.grad.abs() > 0
    assert float(criterion.log_inverse.grad) == pytest.approx(
        float(plain.log_inverse.grad), rel=1e-3
    )


def _second(network, images):
    return F.relu(network.conv2(F.relu(network.conv1(images)))).flatten(1)


DEGENERATE = {
    "one class": torch.zeros(6, dtype=torch.long),
    "all alone": torch.arange(6),
    "one alone": torch.tensor([0, 0, 1, 1, 1, 2]),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("pixels", [0.0, 1.0, None], ids=["black", "white", "random"])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_batches_have_finite_gradients(batch, policy, pixels, name):
    network = build_network("cnn", (1, 8, 8), 6)
    objective = EntangledObjective(network, batch, alpha=-1.0, temperature=policy)
    images = batch[0][:6] if pixels is None else torch.full((6, 1, 8, 8), pixels)
    parts = objective(images, DEGENERATE[name])
    parts.total.backward()
    assert math.isfinite(parts.total.item())
    assert all(torch.isfinite(p.grad).all() for p in objective.network.parameters())


class Users(nn.Module):
    """A network of somebody else's: modules, a shared activation, a sequence."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh())
        self.middle = nn.Linear(16, 8)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        return self.head(self.act(self.middle(self.act(self.body(images)))))


def names(patterns, network=None):
    taps = find_taps(network or Users(), patterns, torch.rand(4, 1, 8, 8))
    return [tap.name for tap in taps]


def test_layers_of_any_network_are_found_by_name_and_glob():
    assert names(()) == ["body.2", "act", "act#2"]
    assert names(["middle"]) == ["middle"]
    assert names(["middle>tanh", "act"]) == ["middle>tanh", "act", "act#2"]
    # the sequence is the same tensor as its last module; the logits are left out
    assert names(["*"]) == ["body", "body.0", "body.1", "middle", "act", "act#2"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["head"], "layer head: is the logit layer"),
        (["head>relu"], "layer head>relu: is the logit layer"),
        (["hea*"], "no hidden layer matches hea*"),
        (["midle"], r"no layer matches midle (did you mean 'middle'?); there are body.0"),
        (["middle>sigmod"], "unknown activation (did you mean 'sigmoid'?); after '>' give"),
    ],
)
def test_layers_that_cannot_be_are_named(patterns, message):
    with pytest.raises(MeasureError) as error:
        names(patterns)
    assert message in str(error.value)


def test_a_network_without_activation_modules_says_what_to_name():
    with pytest.raises(MeasureError, match="name layers, such as 0, 1"):
        names((), nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))


def test_looking_leaves_hooks_and_running_means_alone(batch):
    network = build_network("resnet15", (1, 8, 8), 3).train()
    before = copy.deepcopy(network.state_dict())
    objective = EntangledObjective(network, batch, alpha=-1.0)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    objective(*batch)
    assert not any(module._forward_hooks for module in network.modules())


def test_alpha_must_be_a_number(batch):
    with pytest.raises(MeasureError, match="alpha nan"):
        EntangledObjective(cnn(), batch, alpha=math.nan)
