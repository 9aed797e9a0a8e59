import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures import principal
from entangle_cli.measures.principal import principal_axes
from tests.reference.principal import principal_scores

RNG = np.random.default_rng(0)
SHAPES = [(40, 7), (12, 60), (20, 20)]


def points_of(shape):
    return RNG.normal(size=shape) * (1 + np.arange(shape[1])) + 3


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_equal_the_reference_but_for_the_sign(shape):
    points, others = points_of(shape), points_of((5, shape[1]))
    found = principal_axes(points, 4)
    for scores, expected in (
        (found.scores, principal_scores(points, 4)),
        (found.project(others), principal_scores(points, 4, others)),
    ):
        signs = np.sign((scores * expected).sum(axis=0))
        np.testing.assert_allclose(scores, expected * signs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_projecting_the_points_gives_their_scores(shape):
    points = points_of(shape)
    found = principal_axes(points, 5)
    np.testing.assert_allclose(found.project(points), found.scores, rtol=1e-8, atol=1e-8)


def test_blocks_of_columns_make_no_difference(monkeypatch):
    points = points_of((12, 60))
    whole = principal_axes(points, 3)
    monkeypatch.setattr(principal, "_BLOCK_BYTES", 8 * 12 * 7)
    parts = principal_axes(points, 3)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-10)
    np.testing.assert_allclose(parts.project(points), whole.project(points), rtol=1e-8)


@pytest.mark.parametrize("shape", [(30, 9), (9, 30)])
def test_directions_without_variance_are_left_out(shape):
    plane = RNG.normal(size=(shape[0], 2)) @ RNG.normal(size=(2, shape[1]))
    assert principal_axes(plane, 5).scores.shape == (shape[0], 2)


def test_all_distances_are_kept_where_all_axes_are():
    points = points_of((15, 4))
    scores = principal_axes(points, 4).scores
    for i in range(14):
        expected = np.linalg.norm(points[i] - points[i + 1])
        assert np.linalg.norm(scores[i] - scores[i + 1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((5, 3)), "all points are the same"),
        (np.ones((1, 3)), "two or more rows"),
        (np.array([[0.0, 1.0], [np.nan, 1.0], [2.0, np.inf]]), r"point 1 .* \(2 such points\)"),
    ],
)
def test_points_without_axes_are_refused(points, message):
    with pytest.raises(MeasureError, match=message):
        principal_axes(points, 2)


def test_points_of_another_dimension_are_refused():
    with pytest.raises(MeasureError, match="points of 3 numbers on axes of 7"):
        principal_axes(points_of((40, 7)), 2).project(np.zeros((2, 3)))
