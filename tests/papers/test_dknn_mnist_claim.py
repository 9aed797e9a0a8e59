"""The DkNN's published run on digits, small enough for seconds."""

import pytest
import torch

from entangle_cli.papers.claims import dknn_mnist
from entangle_cli.papers.claims.dknn_mnist import DknnSizes, PublishedCNN
from entangle_cli.training.networks import build_network
from entangle_cli.training.taps import find_taps, run_tapped

TINY = DknnSizes(
    runs=2,
    test_points=60,
    network="mlp",
    steps=60,
    batch_size=32,
    train_points=300,
    k=15,
    calibration=80,
)


def test_the_claim_from_data_to_comparison(settings_for):
    found = dknn_mnist.run(settings_for(TINY))
    assert [row["inputs"] for row in found.rows] == ["clean", "fgsm"] * 2
    assert {row["n"] for row in found.rows} == {60}
    clean, attacked = found.rows[:2]
    assert clean["accuracy"] > attacked["accuracy"]
    # deleting zeros can only raise a p-value
    assert clean["credibility"] >= clean["credibility_kept"]
    named = {one.quantity: one for one in found.comparisons}
    accuracy = named["clean: DkNN accuracy"]
    assert accuracy.measured == pytest.approx((clean["accuracy"] + found.rows[2]["accuracy"]) / 2)
    assert accuracy.runs == 2
    spread = {(r["inputs"], r["quantity"]): r for r in found.tables["spread"]}
    of_accuracy = spread["clean", "accuracy"]
    assert of_accuracy["mean"] == pytest.approx(accuracy.measured)
    # the deviation of two runs
    assert of_accuracy["deviation"] == pytest.approx(
        (of_accuracy["highest"] - of_accuracy["lowest"]) / 2**0.5
    )


def test_bins_are_shares_of_all_images(settings_for):
    bins = dknn_mnist.run(settings_for(TINY)).tables["bins"]
    for kind in ("clean", "fgsm"):
        first = [row for row in bins if (row["run"], row["inputs"]) == (0, kind)]
        assert len(first) == 10
        for key in ("share", "printed"):
            assert sum(row[key] for row in first) == pytest.approx(1.0)


def test_the_published_bins_give_the_published_means():
    middles = [0.05 + 0.1 * i for i in range(10)]
    for kind, target in (("clean", 0.763), ("fgsm", 0.143)):
        counts = dknn_mnist.PUBLISHED_BINS[kind]
        assert sum(counts) == 9250
        mean = sum(c * m for c, m in zip(counts, middles, strict=True)) / 9250
        assert mean == pytest.approx(target, abs=0.001)
        assert dknn_mnist.TARGETS[kind, "credibility"][0] == target


def test_calibration_images_are_not_judged(settings_for):
    settings = settings_for(TINY)
    train, test = (settings.shelf.load("mnist", split) for split in ("train", "test"))
    scenes = [dknn_mnist._stage(train, test, TINY, number, 0) for number in range(3)]
    # the first run calibrates with the first images, as published, the others with their own
    assert torch.equal(scenes[0].calibration.images, test.images[:80])
    for scene, other in ((scenes[1], scenes[0]), (scenes[2], scenes[1])):
        assert not torch.equal(scene.calibration.images, other.calibration.images)
    rows = {image.numpy().tobytes() for image in test.images}
    assert len(rows) == len(test.images)
    for scene in scenes:
        both = torch.cat([scene.calibration.images, scene.test.images])
        assert len({image.numpy().tobytes() for image in both}) == 80 + 60


def test_the_published_network_has_the_published_shapes():
    network = build_network(PublishedCNN, (1, 28, 28), 10).eval()
    images = torch.rand(2, 1, 28, 28)
    logits, layers = run_tapped(network, find_taps(network, (), images), images)
    assert logits.shape == (2, 10)
    assert {name: tuple(values.shape[1:]) for name, values in layers.items()} == {
        "conv1>relu": (64, 14, 14),
        "conv2>relu": (128, 5, 5),
        "conv3>relu": (128, 1, 1),
    }
