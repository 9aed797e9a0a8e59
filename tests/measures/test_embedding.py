import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures import embedding
from entangle_cli.measures.embedding import embed, require_opentsne, require_size

RNG = np.random.default_rng(0)
CENTERS = RNG.normal(size=(3, 8)) * 8
LABELS = np.repeat([0, 1, 2], 30)
POINTS = CENTERS[LABELS] + RNG.normal(size=(90, 8))
OTHERS = CENTERS[[0, 1, 2] * 4] + RNG.normal(size=(12, 8))

needs_opentsne = pytest.mark.skipif(
    embedding.find_spec("openTSNE") is None, reason="maps need the extra 'report'"
)


@pytest.fixture(scope="module")
def found():
    return embed(POINTS, perplexity=8)


def nearest(coordinates, others):
    return np.linalg.norm(others[:, None] - coordinates[None], axis=2).argmin(axis=1)


@needs_opentsne
def test_clusters_stay_together(found):
    assert found.coordinates.shape == (90, 2)
    distances = np.linalg.norm(found.coordinates[:, None] - found.coordinates[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (LABELS[distances.argmin(axis=1)] == LABELS).all()


@needs_opentsne
def test_other_points_are_placed_among_their_own(found):
    before = found.coordinates.copy()
    placed = found.place(OTHERS)
    assert (LABELS[nearest(found.coordinates, placed)] == np.tile([0, 1, 2], 4)).all()
    assert (found.coordinates == before).all()


@needs_opentsne
def test_equal_points_give_equal_coordinates(found):
    again = embed(POINTS, perplexity=8)
    assert (again.coordinates == found.coordinates).all()
    assert (again.place(OTHERS) == found.place(OTHERS)).all()


@needs_opentsne
def test_placed_points_do_not_move_one_another(found):
    np.testing.assert_allclose(found.place(OTHERS[:3]), found.place(OTHERS)[:3], rtol=1e-9)


@needs_opentsne
def test_points_on_a_line_have_a_map():
    line = RNG.normal(size=(40, 1))
    found = embed(line, perplexity=5)
    assert np.isfinite(found.coordinates).all()
    assert np.isfinite(found.place(line[:4])).all()


@needs_opentsne
def test_copies_have_a_map():
    points = np.repeat(RNG.normal(size=(10, 3)), 6, axis=0)
    assert np.isfinite(embed(points, perplexity=5).coordinates).all()


@needs_opentsne
def test_points_that_are_not_finite_are_refused(found):
    broken = OTHERS.copy()
    broken[2, 0] = np.nan
    with pytest.raises(MeasureError, match="point 2 has a value that is NaN"):
        found.place(broken)


@pytest.mark.parametrize(
    ("count", "perplexity", "message"),
    [
        (90, 30, "needs 91 or more"),
        (10, 2, "needs 16 or more"),
        (10_001, 30, "at most 10000"),
    ],
)
def test_too_few_or_too_many_points_are_refused(count, perplexity, message):
    with pytest.raises(MeasureError, match=message):
        require_size(count, perplexity)
    require_size(91, 30)


def test_without_opentsne_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    with pytest.raises(MeasureError, match=r"entangle-cli\[report\]"):
        require_opentsne()
