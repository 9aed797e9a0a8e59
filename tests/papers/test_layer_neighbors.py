"""Neighbors found part by part are those of the whole."""

import numpy as np
import pytest
import torch
from torch import nn

from entangle_cli.errors import MeasureError
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.papers.layer_neighbors import LOGITS, layers_with_logits, nearest_rows
from entangle_cli.papers.networks import Trained


@pytest.fixture(scope="module")
def network() -> Trained:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5))
    return Trained(layers.eval(), [], [], ("2",))


@pytest.mark.parametrize("part_bytes", [1 << 20, 3000, 500])
def test_parts_give_the_lists_of_the_whole(network, part_bytes):
    generator = torch.Generator().manual_seed(1)
    train = torch.rand(90, 1, 4, 4, generator=generator)
    # equal images in distant parts: ties, which the order of the rows decides
    train[70:80] = train[:10]
    images = torch.cat([train[:5], torch.rand(20, 1, 4, 4, generator=generator)])
    layers = layers_with_logits(network, images)[1]
    assert set(layers) == {"2", LOGITS}
    found = nearest_rows(network, train, layers, 7, part_bytes=part_bytes)
    searched = layers_with_logits(network, train)[1]
    for name, points in layers.items():
        whole = ExactIndex(searched[name].numpy()).query(points.numpy(), k=7)
        np.testing.assert_array_equal(found[name], whole.indices)


def test_fewer_images_than_neighbors(network):
    images = torch.rand(6, 1, 4, 4)
    layers = layers_with_logits(network, images)[1]
    with pytest.raises(MeasureError, match="6 training images but k = 7"):
        nearest_rows(network, images, layers, 7)
