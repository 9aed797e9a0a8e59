"""Figures 1, 2 and 13 with few steps, and what their numbers mean."""

import math

import pytest
import torch

from entangle_cli.papers.claims import points
from entangle_cli.papers.verdicts import Verdict


def test_the_claim_from_nothing_to_comparison(settings_for):
    found = points.run(settings_for(points.Sizes(runs=2, steps=60)))
    # two starts and six moves of 200 points, of the first run
    assert len(found.rows) == 8 * points.POINTS
    assert len(found.figure.panels) == 8
    assert [panel.title.split(":")[0] for panel in found.figure.panels][:5] == ["random"] * 5
    spread = {
        (r["points"], r["loss"], r["goal"]): r for r in found.tables["spread"] if r["run"] == 0
    }
    start, end = spread["random", "start", ""], spread["random", "snnl", "min"]
    assert end["knn_accuracy"] > start["knn_accuracy"]
    assert (
        spread["modes", "triplet", "min"]["mean_distance"]
        < (spread["modes", "start", ""]["mean_distance"])
    )
    mixed = next(
        c
        for c in found.comparisons
        if c.quantity.endswith("snnl maximized") and c.printed == "classes mixed"
    )
    assert mixed.verdict is Verdict.reproduced


def test_runs_differ_and_repeat():
    first, labels = points.random_points(0)
    assert torch.equal(first, points.random_points(0)[0])
    assert not torch.equal(first, points.random_points(1)[0])
    assert set(labels.tolist()) == set(range(points.CLASSES))


def test_modes_are_opposite_and_of_one_class():
    place, labels = points.modes(0)
    mode = torch.arange(points.POINTS) % 8
    for c in range(points.CLASSES):
        a, b = place[mode == c].mean(0), place[mode == c + 4].mean(0)
        assert float((a - b).norm()) == pytest.approx(2 * points.RADIUS, abs=1)
        assert set(labels[mode == c].tolist()) == set(labels[mode == c + 4].tolist()) == {c}


def test_modes_are_kept_while_their_gap_is_wider_than_anything_inside():
    mode = torch.tensor([0, 0, 0, 1, 1, 1])
    apart = torch.tensor([[0.0, 0], [1, 0], [2, 0], [4, 0], [5, 0], [6, 0]])
    assert points.kept(apart, mode, 0, 1)
    touching = apart.clone()
    touching[3:, 0] -= 1.5
    assert not points.kept(touching, mode, 0, 1)


def test_the_radius_of_a_ring_does_not_vary():
    angle = torch.arange(points.POINTS) * (2 * math.pi / points.POINTS)
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    labels = torch.arange(points.POINTS) % 4
    row = points.describe(ring, labels, two_modes=False)
    assert row["radius_variation"] == pytest.approx(0, abs=1e-5)
    assert row["poles"] == pytest.approx(0, abs=1e-5)
    assert row["modes_kept"] is None


def test_two_poles_are_no_ring_though_their_radius_does_not_vary():
    poles = torch.tensor([[0.0, 1.0], [0.0, -1.0]]).repeat(points.POINTS // 2, 1)
    row = points.describe(poles, torch.arange(points.POINTS) % 4, two_modes=False)
    assert row["radius_variation"] == pytest.approx(0, abs=1e-5)
    assert row["poles"] == pytest.approx(1, abs=1e-5)
