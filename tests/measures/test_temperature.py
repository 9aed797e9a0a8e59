import math

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.snnl import soft_nearest_neighbor_loss
from entangle_cli.measures.temperature import entanglement
from tests.measures.layers import hierarchy, mixture, near_duplicates
from tests.reference import snnl as reference
from tests.reference import temperature as reference_temperature


def exact_minimum(points, labels, **options):
    distances = reference.all_distances(points)
    return reference_temperature.minimum(distances, labels, **options)


@pytest.mark.parametrize("seed", range(6))
def test_minimum_agrees_with_grid_and_brent(route, seed):
    points, labels = mixture(90 + 30 * seed, 2 + 3 * seed, classes=2 + seed, spread=0.8, seed=seed)
    found = entanglement(points, labels)
    loss, temperature, minima = exact_minimum(points, labels)
    assert found.snnl == pytest.approx(loss, rel=1e-6)
    assert found.temperature == pytest.approx(temperature, rel=0.02)
    assert found.boundary == "none"
    assert found.local_minima == minima
    assert found.ceiling == pytest.approx(reference.ceiling(labels), rel=1e-12)
    assert found.entanglement == pytest.approx(found.snnl / found.ceiling)
    assert found.knn_accuracy == reference.nearest_neighbor_accuracy(points, labels)


def test_the_loss_at_the_temperature_found_is_the_loss_found(route):
    points, labels = mixture(150, spread=0.8)
    found = entanglement(points, labels)
    again = soft_nearest_neighbor_loss(points, labels, temperature=found.temperature)
    assert again == pytest.approx(found.snnl, rel=1e-6)


def test_cosine_minimum_is_that_of_unit_vectors_at_half_the_temperature(route):
    points, labels = mixture(150, dimension=12, spread=0.5)
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    by_cosine = entanglement(points, labels, metric="cosine")
    by_distance = entanglement(units, labels)
    assert by_cosine.snnl == pytest.approx(by_distance.snnl, rel=1e-6)
    assert by_cosine.temperature == pytest.approx(by_distance.temperature / 2, rel=1e-2)


def test_minimum_on_real_pixels_agrees_with_the_reference(some_digits, least_loss_of_digits):
    points, labels, _ = some_digits
    assert entanglement(points, labels).snnl == pytest.approx(least_loss_of_digits, rel=1e-6)


@pytest.mark.usefixtures("streamed")
def test_minimum_on_real_pixels_by_float32_passes(some_digits, least_loss_of_digits):
    points, labels, _ = some_digits
    found = entanglement(points, labels)
    assert found.snnl == pytest.approx(least_loss_of_digits, rel=1e-5)
    assert found.passes <= 5


@pytest.mark.parametrize("offset", [0.0, 1e4], ids=["centered", "offset"])
def test_minimum_among_near_duplicates(route, offset):
    points, labels = near_duplicates(240, offset=offset)
    loss, _, _ = exact_minimum(points, labels, low=1e-9)
    assert entanglement(points, labels).snnl == pytest.approx(loss, rel=1e-5)


def test_a_low_basin_that_no_subsample_shows_is_found(streamed):
    # twins share a random label: without its twin a point knows nothing of its class
    generator = np.random.default_rng(0)
    points = np.repeat(generator.normal(size=(200, 6)), 2, 0)
    points += 1e-4 * generator.normal(size=points.shape)
    labels = np.repeat(generator.integers(0, 2, 200), 2)
    labels[0] = 1 - labels[0]
    found = entanglement(points, labels)
    loss, temperature, _ = exact_minimum(points, labels, low=1e-6)
    assert found.snnl == pytest.approx(loss, rel=1e-5)
    assert found.temperature == pytest.approx(temperature, rel=0.1)
    assert found.snnl < 0.2 * entanglement(points[::2], labels[::2]).snnl


TWO_BASINS = {
    "lower": {
        "seed": 568,
        "blobs": 3,
        "coarse": 119.94950341649626,
        "offset": 14.409789815723112,
        "inner": 1.3676769200368768,
        "noise": 0.1,
        "dimension": 6,
        "classes": 2,
    },
    "upper": {
        "seed": 1882,
        "blobs": 3,
        "coarse": 50.00182329098334,
        "offset": 52.48781407935503,
        "inner": 1.2254944947175854,
        "noise": 0.1,
        "dimension": 14,
        "classes": 2,
    },
}


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_of_two_nearly_equal_minima_the_global_one_is_found(route, side):
    points, labels = hierarchy(n=400, **TWO_BASINS[side])
    found = entanglement(points, labels)
    loss, temperature, minima = exact_minimum(points, labels)
    assert minima == 2
    assert found.local_minima == 2
    assert found.snnl == pytest.approx(loss, rel=1e-5)
    assert found.temperature == pytest.approx(temperature, rel=0.05)


def test_the_global_minimum_of_many_points_is_found_against_the_subsample():
    points, labels = hierarchy(
        seed=1873,
        n=3000,
        blobs=2,
        coarse=51.6,
        offset=36.5,
        inner=0.443,
        noise=0.08,
        dimension=17,
        classes=2,
    )
    found = entanglement(points, labels)
    # a thousand of the points have their minimum, 0.1620, near 11,000
    assert entanglement(points[:1000], labels[:1000]).temperature > 1e4
    distances = reference.all_distances(points)
    assert found.local_minima == 2
    assert found.temperature == pytest.approx(2.49, rel=0.1)
    assert found.snnl == pytest.approx(
        min(reference.snnl_of_distances(distances, labels, t) for t in np.linspace(2.46, 2.52, 4)),
        rel=1e-5,
    )
    assert found.snnl < reference.snnl_of_distances(distances, labels, 9649.0)


def test_separated_classes_have_their_infimum_at_zero(route):
    found = entanglement([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1])
    assert (found.snnl, found.temperature, found.boundary) == (0.0, 0.0, "zero")
    assert found.entanglement == 0.0
    assert found.knn_accuracy == 1.0
    assert "nearest neighbor has its class" in found.notes[0]


def test_alternating_classes_have_their_infimum_at_infinity(route):
    found = entanglement([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert found.snnl == found.ceiling == pytest.approx(math.log(3))
    assert (found.temperature, found.boundary, found.entanglement) == (None, "infinity", 1.0)
    assert "no temperature gives less" in found.notes[0]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_constant_layer_is_at_its_ceiling(route, metric):
    labels = np.arange(40) % 4
    found = entanglement(np.full((40, 3), 0.1), labels, metric=metric)
    assert found.snnl == found.ceiling == pytest.approx(reference.ceiling(labels))
    assert (found.temperature, found.boundary, found.duplicates) == (None, "infinity", 39)
    assert found.knn_accuracy == reference.nearest_neighbor_accuracy(np.zeros((40, 3)), labels)
    assert "all points are the same" in found.notes[0]


def test_a_dead_layer_is_at_its_ceiling_under_cosine(route):
    found = entanglement(np.zeros((20, 3)), np.arange(20) % 2, metric="cosine")
    assert found.snnl == found.ceiling
    assert found.zero_vectors == 20
    assert "20 zero vectors" in " ".join(found.notes)


def test_points_at_equal_distances_are_at_their_ceiling(route):
    found = entanglement(np.eye(24), np.arange(24) % 3)
    assert found.snnl == pytest.approx(found.ceiling, rel=1e-12)
    assert found.boundary == "infinity"


def test_one_class_has_no_entanglement():
    found = entanglement(mixture(12)[0], np.zeros(12, dtype=int))
    assert (found.snnl, found.ceiling, found.entanglement) == (0.0, 0.0, None)
    assert found.classes == 1
    assert "one class" in found.notes[0]


def test_copies_with_different_labels_leave_a_finite_limit_at_zero(route):
    # two pairs of copies, each with its own label, and one site shared by both classes
    sites = np.array([[0.0, 0], [0, 0], [9, 0], [9, 0], [0, 9], [0, 9], [0, 9], [0, 9]])
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    found = entanglement(sites, labels)
    assert found.boundary == "zero"
    assert found.temperature == 0.0
    assert found.snnl == pytest.approx(4 * math.log(3) / 8)
    assert found.duplicates == 5
    assert "equally far" in found.notes[0]
    for temperature in np.logspace(-2, 4, 60):
        assert found.snnl <= reference.snnl(sites, labels, temperature) + 1e-12


def test_an_interior_minimum_can_beat_the_limit_of_ties(route):
    generator = np.random.default_rng(3)
    points = np.concatenate([generator.normal(size=(30, 2)), generator.normal(size=(30, 2)) + 40])
    labels = np.repeat([0, 1], 30)
    points[1], labels[1] = points[0], 1
    points[2] = points[0]
    labels[2] = 1
    found = entanglement(points, labels)
    distances = reference.all_distances(points)
    # the first point has no same-class point where it is: low temperatures cost it dearly
    assert found.boundary == "none"
    loss, _, _ = reference_temperature.minimum(distances, labels)
    assert found.snnl == pytest.approx(loss, rel=1e-5)


def test_zero_vectors_are_counted_under_cosine(route):
    points, labels = mixture(60, dimension=4)
    points[[4, 9]] = 0
    found = entanglement(points, labels, metric="cosine")
    assert found.zero_vectors == 2
    assert entanglement(points, labels).zero_vectors == 0
    at_best = reference.snnl(points, labels, found.temperature, "cosine")
    assert found.snnl == pytest.approx(at_best, rel=1e-5)


def test_singletons_are_counted(route):
    points, labels = mixture(60)
    labels = labels.copy()
    labels[[3, 8]] = 10, 11
    found = entanglement(points, labels)
    assert (found.singletons, found.classes, found.n) == (2, 5, 60)
    assert found.ceiling == pytest.approx(reference.ceiling(labels), rel=1e-12)
    assert "2 points alone in their class" in " ".join(found.notes)
    assert found.snnl == pytest.approx(reference.snnl(points, labels, found.temperature), rel=1e-5)


def test_the_first_of_equally_near_points_decides_accuracy(route):
    points = np.array([[0.0], [1.0], [-1.0], [5.0], [5.5]])
    for labels in ([0, 0, 1, 1, 1], [0, 1, 0, 1, 1], [1, 1, 0, 0, 1]):
        expected = reference.nearest_neighbor_accuracy(points, labels)
        assert entanglement(points, labels).knn_accuracy == expected


@pytest.mark.parametrize("shift", [0.0, 1e4], ids=["centered", "offset"])
def test_accuracy_is_exact_where_rounding_could_decide(streamed, shift):
    # same-class and other-class neighbors that differ in the seventh digit of the distance
    generator = np.random.default_rng(0)
    sites = 50 * generator.normal(size=(80, 10))
    points = np.concatenate([sites, sites, sites])
    points[80:160, 0] += 1.0
    points[160:, 0] -= 1.0 + 1e-7 * generator.normal(size=80)
    points = points + shift
    labels = np.concatenate([np.arange(80) % 2, np.arange(80) % 2, 1 - np.arange(80) % 2])
    found = entanglement(points, labels)
    assert found.knn_accuracy == reference.nearest_neighbor_accuracy(points, labels)


def test_a_given_temperature_is_used(route):
    points, labels = mixture(60)
    found = entanglement(points, labels, temperature=0.7)
    assert (found.temperature, found.boundary, found.local_minima) == (0.7, "none", None)
    assert found.snnl == pytest.approx(reference.snnl(points, labels, 0.7), rel=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_relative_temperature_is_a_multiple_of_the_median_distance(metric):
    points, labels = mixture(40)
    pairs = [reference.distance(points[i], points[j], metric) for i in range(40) for j in range(i)]
    found = entanglement(points, labels, metric=metric, relative_temperature=0.1)
    assert found.temperature == pytest.approx(0.1 * np.median(pairs), rel=1e-12)
    expected = reference.snnl(points, labels, found.temperature, metric)
    assert found.snnl == pytest.approx(expected, rel=1e-9)


def test_two_temperatures_are_refused():
    with pytest.raises(MeasureError, match="give one of them"):
        entanglement(*mixture(12), temperature=1.0, relative_temperature=1.0)


def test_many_copies_leave_the_loss_as_it_is(route):
    points, labels = mixture(150, dimension=6)
    points[::3] = 0
    points[1::7] = points[1]
    found = entanglement(points, labels)
    loss, _, _ = exact_minimum(points, labels)
    assert found.snnl == pytest.approx(min(loss, found.ceiling), rel=1e-5)
    assert found.duplicates == len(points) - len(np.unique(points, axis=0))
    assert found.knn_accuracy == reference.nearest_neighbor_accuracy(points, labels)


def test_a_plateau_at_low_temperatures_is_not_a_row_of_minima(route):
    # saturated outputs: every distance is 0 or 2
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 200)
    points = np.eye(5)[np.where(generator.random(200) < 0.9, labels, 0)]
    found = entanglement(points, labels)
    assert found.boundary == "zero"
    assert found.local_minima == 0
    low = reference.snnl(points, labels, 1e-3)
    assert found.snnl == pytest.approx(low, rel=1e-6)


def test_many_small_classes_agree_with_the_reference(route):
    points, labels = mixture(240, classes=60, spread=2.0)
    found = entanglement(points, labels)
    loss, _, _ = exact_minimum(points, labels)
    assert found.snnl == pytest.approx(loss, rel=1e-5)


def test_a_median_distance_of_zero_gives_no_temperature():
    points = np.zeros((20, 2))
    points[:3, 0] = [1, 2, 3]
    with pytest.raises(MeasureError, match="median squared distance is 0"):
        entanglement(points, np.arange(20) % 2, relative_temperature=0.1)
