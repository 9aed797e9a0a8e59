"""Groups of a visit: every pair once, about equal work, and the bits of any number of threads."""

import numpy as np
import pytest
import torch

from entangle_cli.measures import visits
from entangle_cli.measures.nearest import Minima
from entangle_cli.measures.pairs import triangle
from entangle_cli.measures.points import prepare
from entangle_cli.measures.sums import WeightedSums, triangle_sums
from entangle_cli.measures.visits import groups, visited_part


@pytest.fixture
def points(monkeypatch):
    monkeypatch.setattr("entangle_cli.measures.pairs.HEIGHT", 16)
    monkeypatch.setattr("entangle_cli.measures.pairs.WIDTH", 32)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 700)
    values = generator.standard_normal((700, 6)).astype(np.float32)
    return prepare(values, labels)


@pytest.fixture
def large(points, monkeypatch):
    monkeypatch.setattr(visits, "GROUPED", 600)
    monkeypatch.setattr(visits, "GROUPS", 8)
    return points


def pairs_of(tiles) -> int:
    sides = [(t.rows.stop - t.rows.start, t.columns.stop - t.columns.start) for t in tiles]
    diagonal = [tile.diagonal for tile in tiles]
    return sum(h * (h + 1) // 2 if d else h * w for (h, w), d in zip(sides, diagonal, strict=True))


def test_groups_hold_every_tile_once_in_order(large):
    assert [tile for tiles in groups(large) for tile in tiles] == list(triangle(large))


def test_groups_are_of_about_equal_work(large):
    work = [pairs_of(tiles) for tiles in groups(large)]
    assert len(work) == 8
    assert sum(work) == 700 * 701 // 2
    # rows of tiles are not cut
    row = 16 * 700
    assert max(work) <= sum(work) / 8 + row
    assert min(work) >= sum(work) / 8 - row


def test_a_small_set_is_cut_into_rows_of_tiles(points):
    rows = {tile.rows.start for tile in triangle(points)}
    assert len(list(groups(points))) == len(rows)


VISIT = WeightedSums([0.5, 0.25], [0.0, 0.0], torch.float32, 2)


def test_parts_that_are_found_elsewhere_are_merged_to_the_same_bits(large):
    asked = []

    def elsewhere(visit, count):
        asked.append(count)
        found = [next(iter(visited_part(large, visit, n, n + 1))) for n in range(count)[::-1]]
        return iter(found[::-1])

    whole = triangle_sums(large, VISIT)
    assert torch.equal(triangle_sums(large, VISIT, elsewhere=elsewhere), whole)
    assert asked == [8]


@pytest.mark.parametrize("visit", [VISIT, Minima(torch.float32)])
def test_the_number_of_threads_does_not_matter(large, visit):
    threads = torch.get_num_threads()
    found = []
    for number in (1, 3):
        torch.set_num_threads(number)
        found.append(list(visits.visited(large, visit)))
    torch.set_num_threads(threads)
    assert all(torch.equal(one, three) for one, three in zip(*found, strict=True))


def test_sums_are_those_of_all_pairs(large):
    sums = triangle_sums(large, WeightedSums([0.5], [0.0], torch.float64, 1))[0, :, 0]
    rows = large.exact(slice(None)) - large.center
    weights = torch.exp(-torch.cdist(rows, rows).square() / 0.5).fill_diagonal_(0)
    same = large.classes[:, None] == large.classes[None, :]
    expected = torch.stack([(weights * same).sum(1), (weights * ~same).sum(1)])
    assert torch.allclose(sums, expected, rtol=1e-9)
