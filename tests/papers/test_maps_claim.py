"""The t-SNE figures on digits: maps, and the numbers beside them."""

import numpy as np
import pytest

from entangle_cli.papers.claims import maps
from entangle_cli.papers.pairs import PairSizes

TINY = maps.MapSizes(
    PairSizes(
        network="mlp",
        runs=2,
        steps=40,
        batch_size=32,
        alphas=(-0.01,),
        search_steps=5,
        held_out=100,
        checkpoints=2,
    ),
    points=40,
)


@pytest.mark.parametrize(
    ("run", "key", "rows"),
    [(maps.gradients, "cosine", 2), (maps.logits, "auroc", 4), (maps.adversarial, "layer", 4)],
)
def test_the_claims_from_data_to_comparison(settings_for, run, key, rows):
    found = run(settings_for(TINY))
    assert len(found.rows) == rows
    assert all(key in row for row in found.rows)
    assert all(0 <= row["entanglement"] <= 1 for row in found.rows)
    # a map of both kinds for each model
    assert len(found.tables["map"]) == 2 * 2 * 40
    assert len(found.figure.panels) == 2
    baseline, entangled = (
        [row["entanglement"] for row in found.rows if row["model"] == model]
        for model in maps.MODELS
    )
    told = next(one for one in found.comparisons if one.quantity.startswith("entanglement of"))
    assert told.measured == pytest.approx(np.mean(np.subtract(baseline, entangled)))


def test_gradients_of_one_network_have_cosine_one(settings_for):
    settings = settings_for(TINY)
    found = maps.pairs(settings, "mnist", TINY.pairs, runs=1)
    images = settings.shelf.load("mnist", "test").images[:20]
    directions = maps._directions(found.baseline[0], images)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(np.ones(20), abs=1e-5)
    assert (directions * directions).sum(1) == pytest.approx(np.ones(20), abs=1e-5)


def test_no_network_is_in_two_pairs():
    assert maps._by_two(5) == [(0, 1), (2, 3)]
