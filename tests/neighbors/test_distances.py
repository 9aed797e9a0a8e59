import numpy as np
import pytest
import torch

from entangle_cli.neighbors.distances import cosine, product, squared_euclidean, unit_vectors
from tests.reference.snnl import distance


def cloud(rows, dimension, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dimension, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("fast", "metric"), [(squared_euclidean, "euclidean"), (cosine, "cosine")])
def test_distances_agree_with_loops(fast, metric):
    x, y = cloud(7, 5), cloud(4, 5, seed=1)
    slow = [[distance(a, b, metric) for b in y.tolist()] for a in x.tolist()]
    np.testing.assert_allclose(fast(x, y), slow, rtol=1e-13)


def test_near_duplicates_far_from_the_origin_keep_their_digits():
    x = cloud(40, 30) + 1e4
    y = x + 1e-3 * cloud(40, 30, seed=1)
    slow = [distance(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    np.testing.assert_allclose(squared_euclidean(x, y).diagonal(), slow, rtol=1e-9)


def test_tiles_full_of_near_duplicates_keep_their_digits():
    x = 1e6 + 1e-4 * cloud(30, 8)
    slow = [[distance(a, b) for b in x.tolist()] for a in x.tolist()]
    np.testing.assert_allclose(squared_euclidean(x, x), slow, rtol=1e-12)


def test_exact_copies_are_at_distance_zero():
    x = cloud(50, 20) * 1e3 + 17.3
    assert (squared_euclidean(x, x.clone()).diagonal() == 0).all()


def test_distances_are_never_negative():
    x = cloud(300, 3, dtype=torch.float32) * 1e-4 + 100
    assert (squared_euclidean(x, x) >= 0).all()


def test_zero_vectors_are_at_cosine_distance_one_from_everything():
    x = cloud(3, 4)
    x[1] = 0
    found = cosine(x, x)
    assert (found[1] == 1).all()
    assert (found[:, 1] == 1).all()


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200], ids=str)
def test_directions_do_not_depend_on_length(scale):
    x = cloud(5, 6)
    torch.testing.assert_close(unit_vectors(x * scale), unit_vectors(x), rtol=0, atol=4e-16)


def test_product_writes_into_the_buffer_it_is_given():
    x, y, bias = cloud(3, 5), cloud(4, 5, seed=1), cloud(1, 4, seed=2)[0]
    out = torch.empty(3, 4, dtype=torch.float64)
    assert product(x, y, bias, out=out) is out
    torch.testing.assert_close(out, x @ y.T + bias)
