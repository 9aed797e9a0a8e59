"""The claims about generators, layers over training and alpha, at tiny sizes on digits."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.papers.claims import (
    alpha_search,
    gan_curves,
    layers_over_training,
    snnl_generators,
)
from entangle_cli.papers.generators import generated, pictures, real_images
from entangle_cli.papers.maps import tsne
from entangle_cli.papers.verdicts import Verdict
from entangle_cli.report.panels import ImageGrid, Panel
from entangle_cli.training.generative.settings import GeneratorSettings

MODULES = (gan_curves, snnl_generators, layers_over_training, alpha_search)
CLAIMS = {claim.name: claim for module in MODULES for claim in module.CLAIMS}
GANS = {"runs": 2, "steps": 6, "images": 120, "held": 128, "width": 4, "snapshots": 3}
ALONE = {"runs": 2, "steps": 6, "images": 120, "held": 128, "width": 4, "batch": 16}
TINY = {
    "figure-4": gan_curves.Sizes("cifar10", **GANS),
    "figure-5": gan_curves.Sizes("cifar10", **GANS),
    "figure-17": gan_curves.Sizes("mnist", **GANS),
    "figure-6": snnl_generators.Sizes(**ALONE, rate=1e-3, latent=2, classifier_steps=5),
    "figure-23": snnl_generators.Sizes(**ALONE, rate=1e-3, latent=4, classifier_steps=5),
    "figure-3": layers_over_training.Sizes(
        runs=2, steps=4, batch=16, images=64, test=64, checkpoints=2
    ),
    "figure-7": alpha_search.Sizes(searches=2, trials=5, steps=3, images=100, first=2),
}


def test_every_claim_here_is_tried():
    assert set(TINY) == set(CLAIMS)


@pytest.mark.parametrize("name", TINY)
def test_a_claim_runs_and_says_the_same_again(name, settings_for):
    if name == "figure-7":
        pytest.importorskip("optuna")
    settings = settings_for(TINY[name])
    found = CLAIMS[name].run(settings)
    assert found.rows
    assert found.comparisons
    for one in found.comparisons:
        assert one.verdict in set(Verdict)
        assert one.runs == 2
    for panel in found.figure.panels:
        assert isinstance(panel, Panel | ImageGrid)
        if isinstance(panel, Panel):
            for series in panel.series:
                assert len(series.x) == len(series.y)
                assert np.isfinite(series.y).all()
    json.dumps(asdict(TINY[name]))
    # the second time networks and generators are taken from their folder
    again = CLAIMS[name].run(settings)
    assert again.rows == found.rows
    assert again.comparisons == found.comparisons


def test_the_curves_hold_every_type_run_and_snapshot(settings_for):
    found = gan_curves.run_curves(settings_for(TINY["figure-17"]))
    assert len(found.rows) == 3 * 2 * 3
    assert {row["gan"] for row in found.rows} == {"nonsaturating", "hinge", "wgan-gp"}
    assert {row["n"] for row in found.rows} == {128}
    assert found.rows[0]["ceiling"] == pytest.approx(0.701, abs=5e-4)
    # of three types, from the untrained generator and from an early step
    assert len(found.comparisons) == 6


def test_the_shares_of_classes_add_up(settings_for):
    found = snnl_generators.run_pixels(settings_for(TINY["figure-6"]))
    shares = found.tables["classes"]
    for key in ("nearest", "classifier"):
        last = [r[key] for r in shares if (r["run"], r["step"]) == (0, 6)]
        assert len(last) == 10
        assert sum(last) == pytest.approx(1)


def test_the_layers_are_those_of_both_figures(settings_for):
    found = layers_over_training.run(settings_for(TINY["figure-3"]))
    layers = {row["layer"] for row in found.rows}
    assert layers == {*(f"block{i}" for i in range(1, 8)), *layers_over_training.INSIDE}
    assert [len(panel.series) for panel in found.figure.panels] == [5, 7]
    assert {row["step"] for row in found.rows} == {0, 4}


def test_held_out_images_are_not_trained_on(settings_for):
    real = real_images(settings_for(None), "mnist", 200, 128)
    assert (len(real.train.images), len(real.held.images)) == (200, 128)
    seen = {image.numpy().tobytes() for image in real.train.images}
    assert not [image for image in real.held.images if image.numpy().tobytes() in seen]
    assert 0 < real.itself < 0.75


def test_generators_are_shared_by_their_settings_and_images(settings_for):
    settings = settings_for(None)
    made = GeneratorSettings(steps=2, width=4, samples=8, batch_size=8)
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    first = generated(settings, made, images)
    assert generated(settings, made, images).files == first.files
    generated(settings, made, images[:-1])
    assert sum(path.is_dir() for path in settings.networks.iterdir()) == 2


def test_maps_keep_groups_apart_and_repeat():
    generator = np.random.default_rng(0)
    points = generator.normal(size=(60, 80))
    points[30:] += 5
    where = tsne(points)
    assert where.shape == (60, 2)
    assert np.array_equal(where, tsne(points))
    near = np.linalg.norm(where[:, None] - where[None], axis=-1) + np.diag([np.inf] * 60)
    assert ((near.argmin(1) < 30) == (np.arange(60) < 30)).all()
    assert tsne(points[:5]).shape == (5, 2)


def test_pictures_are_gray_or_colored_rows():
    grid = pictures(torch.full((5, 1, 2, 3), 255, dtype=torch.uint8), "t", 2)
    assert [len(row) for row in grid.rows] == [2, 2, 1]
    assert grid.rows[0][0].shape == (2, 3)
    assert grid.rows[0][0].max() == 1
    assert pictures(torch.zeros(1, 3, 2, 3), "t", 2).rows[0][0].shape == (2, 3, 3)


def test_without_optuna_the_search_fails_alone(settings_for, monkeypatch):
    from entangle_cli.training import proposals

    monkeypatch.setattr(proposals, "find_spec", lambda name: None)
    # a wrong use would end the whole command, this does not
    with pytest.raises(MeasureError, match="needs Optuna: pip install"):
        alpha_search.run(settings_for(TINY["figure-7"]))


def test_a_best_alpha_at_the_end_of_the_space_is_said(settings_for):
    pytest.importorskip("optuna")
    notes = alpha_search.run(settings_for(TINY["figure-7"])).notes
    assert notes[0] == "0 of 10 trials ended early and count as accuracy 0"
    assert notes[1].startswith("accuracies are measured on 20 images")
    trial = {"validation_accuracy": 0.9}
    found = [[trial | {"alpha": -0.999}], [trial | {"alpha": 0.5}]]
    assert alpha_search._at_the_end(found, 1.0).startswith("in 1 of 2 searches")
