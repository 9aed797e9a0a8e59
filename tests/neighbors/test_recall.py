"""Recall: what share of the truth was found."""

import numpy as np

from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.recall import SAMPLE_QUERIES, recall, sampled_recall


def neighbors(indices, distances):
    return Neighbors(np.array(indices), np.array(distances, dtype=float))


EXACT = neighbors([[4, 7, 1], [2, 3, 5]], [[1, 2, 3], [1, 1, 1]])


def test_recall_is_one_when_everything_was_found():
    assert recall(EXACT, EXACT) == 1


def test_missing_and_farther_neighbors_are_not_found():
    found = neighbors([[4, 7, 8], [2, 3, -1]], [[1, 2, 3.1], [1, 1, np.inf]])
    assert recall(found, EXACT) == 4 / 6


def test_a_missing_neighbor_does_not_count_even_where_distances_are_unlimited():
    found = neighbors([[-1]], [[np.inf]])
    assert recall(found, neighbors([[0]], [[np.inf]])) == 0


def test_another_point_at_the_same_distance_counts():
    found = neighbors([[4, 7, 1], [2, 8, 9]], [[1, 2, 3], [1, 1, 1]])
    assert recall(found, EXACT) == 1


def test_nothing_asked_is_nothing_missed():
    nothing = Neighbors(np.empty((0, 3), np.int64), np.empty((0, 3)))
    assert recall(nothing, nothing) == 1


def test_sampled_recall_compares_each_query_with_its_own_answer():
    points = np.random.default_rng(0).normal(size=(600, 5))
    index, own = ExactIndex(points), np.arange(600)
    found = index.query(points, k=4, exclude=own)
    assert sampled_recall(found, index, points, exclude=own) == 1
    worse = index.query(points, k=5, exclude=own)
    shifted = Neighbors(worse.indices[:, 1:], worse.distances[:, 1:])
    assert sampled_recall(shifted, index, points, exclude=own) == 0.75


def test_the_sample_is_small_and_chosen_by_the_seed():
    points = np.random.default_rng(0).normal(size=(600, 5))
    asked = []

    class Recorder:
        def query(self, points, *, k, exclude):
            asked.append(exclude)
            return Neighbors(np.zeros((len(points), k), np.int64), np.zeros((len(points), k)))

    found = Neighbors(np.zeros((600, 2), np.int64), np.zeros((600, 2)))
    for seed in (0, 0, 1):
        sampled_recall(found, Recorder(), points, exclude=np.arange(600), seed=seed)
    assert [len(rows) for rows in asked] == [SAMPLE_QUERIES] * 3
    assert (asked[0] == asked[1]).all()
    assert (asked[0] != asked[2]).any()
