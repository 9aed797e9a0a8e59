import numpy as np
import pytest
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.measures.snnl import soft_nearest_neighbor_loss
from tests.measures.layers import mixture, near_duplicates
from tests.reference import snnl as reference

PAIRED = np.array([[0.0], [1.0], [3.0], [4.0]]), [0, 0, 1, 1]
ALTERNATING = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 1, 0, 1]
GOLDEN = [
    (PAIRED, 0.5, 0.0012379549649519),
    (PAIRED, 1.0, 0.024621282859996),
    (PAIRED, 2.0, 0.117484792160972),
    (PAIRED, 5.0, 0.392254939875880),
    (PAIRED, 10.0, 0.649131911030728),
    (PAIRED, 100.0, 1.043156932844170),
    (PAIRED, 1e6, 1.098606622013554),
    (ALTERNATING, 1.0, 3.383321386107054),
    (ALTERNATING, 10.0, 1.196112622874639),
    (ALTERNATING, 100.0, 1.105600090252685),
]


@pytest.mark.parametrize(("case", "temperature", "expected"), GOLDEN)
def test_published_arithmetic_is_met(route, case, temperature, expected):
    value = soft_nearest_neighbor_loss(*case, temperature=temperature, precision="float64")
    assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 1.0, 30.0, 1e4], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_loss_agrees_with_loops(route, metric, temperature, seed):
    points, labels = mixture(20 + 7 * seed, dimension=1 + 3 * seed, classes=2 + seed, seed=seed)
    value = soft_nearest_neighbor_loss(
        points, labels, temperature=temperature, metric=metric, precision="float64"
    )
    expected = reference.snnl(points, labels, temperature, metric)
    assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.3, 2.0, 20.0], ids=str)
def test_default_precision_agrees_with_float64_on_many_points(temperature):
    points, labels = mixture(2600, dimension=16, classes=10, dtype=np.float32)
    value = soft_nearest_neighbor_loss(points, labels, temperature=temperature)
    distances = reference.all_distances(points)
    expected = reference.snnl_of_distances(distances, labels, temperature)
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1e-7, 3e-6, 1e-3, 0.5], ids=str)
@pytest.mark.parametrize("offset", [0.0, 1e4], ids=["centered", "offset"])
def test_near_duplicates_keep_the_precision(route, offset, temperature):
    points, labels = near_duplicates(240, offset=offset)
    value = soft_nearest_neighbor_loss(points, labels, temperature=temperature)
    distances = reference.all_distances(points)
    expected = reference.snnl_of_distances(distances, labels, temperature)
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 5.0, 50.0], ids=str)
def test_float32_points_far_from_the_origin_keep_the_precision(route, temperature):
    points, labels = mixture(300, dimension=12)
    points = (points + 1e4).astype(np.float32)
    value = soft_nearest_neighbor_loss(points, labels, temperature=temperature)
    expected = reference.snnl_of_distances(reference.all_distances(points), labels, temperature)
    assert value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("share", [1e-6, 1e-4, 2e-3, 5e-3, 2e-2], ids=str)
def test_underflowing_weights_do_not_matter(route, share):
    points, labels = mixture(200, dimension=100, spread=0.6)
    points[:10] *= 30  # some points far from all others, and from each other
    distances = reference.all_distances(points)
    temperature = share * np.median(distances)
    value = soft_nearest_neighbor_loss(points, labels, temperature=temperature)
    expected = reference.snnl_of_distances(distances, labels, temperature)
    assert value == pytest.approx(expected, rel=1e-6)


def test_a_tiny_loss_keeps_its_relative_accuracy(route):
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(20, 4)), generator.normal(size=(20, 4)) + 20])
    labels = np.repeat([0, 1], 20)
    value = soft_nearest_neighbor_loss(points, labels, temperature=20.0)
    assert 0 < value < 1e-20
    assert value == pytest.approx(reference.snnl(points, labels, 20.0), rel=1e-6)


def test_real_pixels_agree_with_the_reference(some_digits):
    points, labels, distances = some_digits
    for temperature in (0.5, 3.0, 100.0):
        expected = reference.snnl_of_distances(distances, labels, temperature)
        value = soft_nearest_neighbor_loss(points, labels, temperature=temperature)
        assert value == pytest.approx(expected, rel=1e-9)


def test_real_pixels_in_float32_passes_agree_with_the_reference(some_digits, streamed):
    points, labels, distances = some_digits
    for temperature in (0.5, 3.0, 100.0):
        expected = reference.snnl_of_distances(distances, labels, temperature)
        value = soft_nearest_neighbor_loss(points, labels, temperature=temperature)
        assert value == pytest.approx(expected, rel=1e-6)


def test_fifty_digits_agree(route):
    mpmath = pytest.importorskip("mpmath")
    points, labels = mixture(12, dimension=3, seed=5)
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for i, x in enumerate(points):
            sums = {True: mpmath.mpf(0), False: mpmath.mpf(0)}
            for j, z in enumerate(points):
                if i != j:
                    steps = [mpmath.mpf(a) - mpmath.mpf(b) for a, b in zip(x, z, strict=True)]
                    d = mpmath.fsum(step**2 for step in steps)
                    sums[labels[i] == labels[j]] += mpmath.exp(-d / mpmath.mpf("0.25"))
            total -= mpmath.log(sums[True] / (sums[True] + sums[False]))
        expected = float(total / len(points))
    value = soft_nearest_neighbor_loss(points, labels, temperature=0.25, precision="float64")
    assert value == pytest.approx(expected, rel=1e-12)


def test_points_alone_in_their_class_leave_the_mean_and_stay_neighbors(route):
    points, labels = mixture(30)
    labels = labels.copy()
    labels[3], labels[11] = 7, 8
    value = soft_nearest_neighbor_loss(points, labels, temperature=2.0)
    assert value == pytest.approx(reference.snnl(points, labels, 2.0), rel=1e-6)


def test_one_class_has_no_loss(route):
    points, _ = mixture(10)
    assert soft_nearest_neighbor_loss(points, np.zeros(10), temperature=1.0) == 0.0


def test_zero_vectors_are_far_from_everything_under_cosine(route):
    points, labels = mixture(40)
    points[[2, 5, 17]] = 0
    value = soft_nearest_neighbor_loss(points, labels, temperature=0.2, metric="cosine")
    assert value == pytest.approx(reference.snnl(points, labels, 0.2, "cosine"), rel=1e-6)


@pytest.mark.parametrize(
    "convert",
    [torch.from_numpy, lambda x: torch.from_numpy(x).half(), lambda x: x.astype(np.float16)],
    ids=["tensor", "half tensor", "float16"],
)
def test_any_float_array_is_taken(convert):
    points, labels = mixture(30, dtype=np.float32)
    given = convert(points)
    value = soft_nearest_neighbor_loss(given, labels, temperature=1.0)
    exact = np.asarray(given, dtype=np.float64)
    assert value == pytest.approx(reference.snnl(exact, labels, 1.0), rel=1e-9)


@pytest.mark.parametrize("exponent", [-140, -20, 20, 140])
def test_extreme_scales_change_nothing(route, exponent):
    points, labels = mixture(40)
    value = soft_nearest_neighbor_loss(
        points * 10.0**exponent, labels, temperature=2.0 * 10.0 ** (2 * exponent)
    )
    assert value == pytest.approx(reference.snnl(points, labels, 2.0), rel=1e-6)


def test_a_point_that_is_not_finite_is_named():
    points, labels = mixture(30)
    points[17, 2] = np.nan
    with pytest.raises(MeasureError, match="point 17 holds a value that is not finite"):
        soft_nearest_neighbor_loss(points, labels, temperature=1.0)


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (np.zeros((3, 2)), [0, 1], "3 points but 2 labels"),
        (np.zeros((1, 2)), [0], "1 points"),
        (np.zeros(4), [0, 0, 1, 1], "rows"),
        (np.zeros((4, 0)), [0, 0, 1, 1], "no entries"),
        (np.zeros((2, 2)), [[0], [1]], "one label per point"),
        (np.zeros((2, 2)), [0, np.nan], "not finite"),
        (np.array([["a"], ["b"]]), [0, 0], "real numbers"),
        (np.arange(6.0).reshape(3, 2), [0, 1, 2], "alone in"),
    ],
    ids=[
        "mismatch",
        "one point",
        "flat",
        "no entries",
        "label matrix",
        "nan",
        "text",
        "singletons",
    ],
)
def test_input_without_an_answer_is_refused(points, labels, message):
    with pytest.raises(MeasureError, match=message):
        soft_nearest_neighbor_loss(points, labels, temperature=1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf, 1e-300], ids=str)
def test_temperatures_out_of_range_are_refused(temperature):
    with pytest.raises(MeasureError, match="temperature"):
        soft_nearest_neighbor_loss(*mixture(10), temperature=temperature)


@pytest.mark.parametrize("option", ["metric", "precision"])
def test_unknown_options_are_refused(option):
    with pytest.raises(MeasureError, match=f"{option} 'best' is unknown"):
        soft_nearest_neighbor_loss(*mixture(10), temperature=1.0, **{option: "best"})


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_points_whose_squares_leave_the_range_of_numbers_are_refused(size):
    points = np.random.default_rng(0).normal(size=(8, 2)) * size
    with pytest.raises(MeasureError, match="whose square float64 cannot hold; scale them"):
        soft_nearest_neighbor_loss(points, np.arange(8) % 2, temperature=1.0)
