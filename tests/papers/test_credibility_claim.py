"""Credibility under attack on digits, small enough for seconds."""

import numpy as np
import pytest
import torch

from entangle_cli.papers.claims import credibility, triplet_credibility
from entangle_cli.papers.credibility import CredibilitySizes, attacked, stage
from entangle_cli.papers.pairs import PairSizes, pairs
from entangle_cli.papers.triplets import TripletTraining
from entangle_cli.training.loop import as_inputs
from entangle_cli.training.networks import build_network
from entangle_cli.training.settings import TrainingSettings

PAIRS = PairSizes(
    network="mlp",
    runs=2,
    steps=60,
    batch_size=32,
    alphas=(-0.01,),
    search_steps=5,
    held_out=100,
    checkpoints=2,
)
TINY = CredibilitySizes(
    PAIRS, runs=2, train_points=300, k=15, calibration=80, test_points=60, epsilons=(0.05, 0.3)
)


def test_the_claim_from_data_to_comparison(settings_for):
    found = credibility.run(settings_for(TINY), "mnist")
    # clean, and four attacks of two strengths, for two models in two runs
    assert len(found.rows) == 4 * (1 + 4 * 2)
    for row in found.rows:
        # deleting zeros can only raise a p-value
        assert row["credibility"] >= row["credibility_kept"]
    clean = [r for r in found.rows if r["attack"] == "none"]
    hit = [r for r in found.rows if r["attack"] == "bim" and r["epsilon"] == 0.3]
    assert np.mean([r["model_accuracy"] for r in hit]) < np.mean(
        [r["model_accuracy"] for r in clean]
    )
    names = [one.quantity for one in found.comparisons]
    assert any("figure 20" in name for name in names)


def test_calibration_and_test_images_are_disjoint(settings_for):
    settings = settings_for(TINY)
    test = settings.shelf.load("mnist", "test")
    scene = stage(settings.shelf.load("mnist", "train"), test, TINY, 0)
    assert (len(scene.calibration.images), len(scene.test.images)) == (80, 60)
    rows = {image.numpy().tobytes() for image in test.images}
    if len(rows) == len(test.images):
        both = torch.cat([scene.calibration.images, scene.test.images])
        assert len({image.numpy().tobytes() for image in both}) == 140


@pytest.mark.parametrize("method", ["fgsm", "bim"])
def test_attacks_stay_within_epsilon_and_the_range_of_pixels(settings_for, method):
    settings = settings_for(TINY)
    network = pairs(settings, "mnist", PAIRS, runs=1).baseline[0].network
    scene = stage(
        settings.shelf.load("mnist", "train"), settings.shelf.load("mnist", "test"), TINY, 0
    )
    moved = attacked(network, scene.test, 0.1, method, TINY)
    change = (moved - as_inputs(scene.test.images)).abs().max()
    assert 0 < float(change) <= 0.1 + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


def test_a_line_through_points_on_a_line():
    rows = [
        {"run": 0, "model": "m", "accuracy": x, "credibility": 0.2 + 0.5 * x}
        for x in (0.1, 0.5, 0.9)
    ]
    line = credibility.fit(rows, 0, "m")
    assert line["correlation"] == pytest.approx(1.0)
    assert (line["slope"], line["intercept"]) == pytest.approx((0.5, 0.2))
    flat = credibility.fit([row | {"accuracy": 0.5} for row in rows], 0, "m")
    assert (flat["correlation"], flat["slope"]) == (0.0, 0.0)


def test_the_triplet_claim_from_data_to_comparison(settings_for):
    found = triplet_credibility.run(settings_for(TINY))
    assert {row["model"] for row in found.rows} == set(triplet_credibility.MODELS)
    # clean and two strengths, for three models in two runs
    assert len(found.rows) == 2 * 3 * 3
    assert len(found.tables["lines"]) == 6


def test_triplets_are_the_same_after_a_resume(settings_for):
    data = settings_for(TINY).shelf.load("mnist", "train")
    plan = TrainingSettings(steps=6, batch_size=16, alpha=-0.1)

    def begun():
        network = build_network("mlp", data.shape, data.classes, 0)
        return TripletTraining(network, data.images, data.labels, plan)

    whole, first, rest = begun(), begun(), begun()
    for _ in range(6):
        whole.advance()
    for _ in range(2):
        first.advance()
    rest.restore(first.state())
    while rest.step < 6:
        rest.advance()
    for a, b in zip(whole.network.parameters(), rest.network.parameters(), strict=True):
        assert torch.equal(a, b)
