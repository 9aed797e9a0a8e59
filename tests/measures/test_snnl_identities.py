"""What must hold for any points: symmetries, scaling, bounds and limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entangle_cli.measures.snnl import soft_nearest_neighbor_loss
from entangle_cli.measures.temperature import entanglement
from tests.measures.layers import mixture
from tests.reference import snnl as reference

seeds = st.integers(0, 10_000)
temperatures = st.floats(-3, 4).map(lambda exponent: 10.0**exponent)
examples = settings(max_examples=25, deadline=None)


def layer(seed):
    generator = np.random.default_rng(seed)
    classes = int(generator.integers(2, 5))
    n = 3 * classes + int(generator.integers(0, 20))
    spread = float(generator.uniform(0, 2))
    return mixture(n, int(generator.integers(1, 8)), classes, spread, seed)


def loss(points, labels, temperature, metric="euclidean"):
    return soft_nearest_neighbor_loss(points, labels, temperature=temperature, metric=metric)


@examples
@given(seeds, temperatures)
def test_loss_is_that_of_the_reference(seed, temperature):
    points, labels = layer(seed)
    expected = reference.snnl(points, labels, temperature)
    assert loss(points, labels, temperature) == pytest.approx(expected, rel=1e-9)


@examples
@given(seeds, temperatures)
def test_order_of_points_changes_nothing(seed, temperature):
    points, labels = layer(seed)
    order = np.random.default_rng(seed).permutation(len(points))
    expected = loss(points, labels, temperature)
    assert loss(points[order], labels[order], temperature) == pytest.approx(expected, rel=1e-9)


@examples
@given(seeds, temperatures)
def test_names_of_classes_change_nothing(seed, temperature):
    points, labels = layer(seed)
    names = np.array(["cat", "dog", "ant", "eel", "bee"])[labels]
    assert loss(points, names, temperature) == pytest.approx(loss(points, labels, temperature))


@examples
@given(seeds, temperatures)
def test_rotation_changes_nothing(seed, temperature):
    points, labels = layer(seed)
    dimension = points.shape[1]
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimension, dimension)))
    expected = loss(points, labels, temperature)
    assert loss(points @ turn, labels, temperature) == pytest.approx(expected, rel=1e-7)


@examples
@given(seeds, temperatures)
def test_translation_changes_nothing(seed, temperature):
    points, labels = layer(seed)
    # multiples of a power of two, so that the sum is exact
    points = np.round(points * 1024) / 1024
    expected = loss(points, labels, temperature)
    assert loss(points + 4096.0, labels, temperature) == pytest.approx(expected, rel=1e-9)


@examples
@given(seeds, temperatures, st.sampled_from([1e-6, 0.3, 7.0, 1e5]))
def test_temperature_scales_with_the_squared_distance(seed, temperature, factor):
    points, labels = layer(seed)
    scaled = loss(points * factor, labels, temperature * factor**2)
    assert scaled == pytest.approx(loss(points, labels, temperature), rel=1e-7)


@examples
@given(seeds, temperatures)
def test_a_constant_entry_changes_nothing(seed, temperature):
    points, labels = layer(seed)
    wider = np.hstack([points, np.full((len(points), 1), 7.0)])
    expected = loss(points, labels, temperature)
    assert loss(wider, labels, temperature) == pytest.approx(expected, rel=1e-9)


@examples
@given(seeds, temperatures)
def test_cosine_is_half_the_squared_distance_of_unit_vectors(seed, temperature):
    points, labels = layer(seed)
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    by_cosine = loss(points, labels, temperature, "cosine")
    assert by_cosine == pytest.approx(loss(units, labels, 2 * temperature), rel=1e-7, abs=1e-300)


@examples
@given(seeds)
def test_minimum_is_invariant_to_scale(seed):
    points, labels = layer(seed)
    one, other = entanglement(points, labels), entanglement(points * 37.0, labels)
    assert other.snnl == pytest.approx(one.snnl, rel=1e-6)
    assert other.boundary == one.boundary
    if one.boundary == "none":
        assert other.temperature == pytest.approx(one.temperature * 37.0**2, rel=0.02)


@examples
@given(seeds)
def test_minimum_is_at_most_the_ceiling_and_no_temperature_is_below_it(seed):
    points, labels = layer(seed)
    found = entanglement(points, labels)
    assert 0 <= found.snnl <= found.ceiling
    assert 0 <= found.entanglement <= 1
    for exponent in np.linspace(-4, 5, 28):
        assert found.snnl <= loss(points, labels, 10.0**exponent) * (1 + 1e-9)


@examples
@given(seeds)
def test_loss_tends_to_the_ceiling(seed):
    points, labels = layer(seed)
    limit = reference.ceiling(labels)
    assert loss(points, labels, 1e9) == pytest.approx(limit, rel=1e-6)
    assert entanglement(points, labels).ceiling == pytest.approx(limit, rel=1e-12)


@examples
@given(seeds)
def test_boundary_zero_means_that_every_nearest_neighbor_agrees(seed):
    points, labels = layer(seed)
    accuracy = reference.nearest_neighbor_accuracy(points, labels)
    found = entanglement(points, labels)
    assert found.knn_accuracy == accuracy
    assert (found.boundary == "zero") == (accuracy == 1.0)
