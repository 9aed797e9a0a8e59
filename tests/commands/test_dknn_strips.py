"""What dknn keeps for the report: the least credible inputs with small images."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from entangle_cli.datasets.thumbnails import thumbnails


def pixels(address):
    head, _, body = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_small_images_keep_their_pixels():
    generator = np.random.default_rng(0)
    gray = generator.integers(0, 256, (9, 7, 1), dtype=np.uint8)
    color = generator.random((8, 8, 3)).astype(np.float32)
    first, second = thumbnails([gray, color])
    assert np.array_equal(pixels(first), gray[..., 0])
    assert np.array_equal(pixels(second), (color * 255).round().astype(np.uint8))


def test_large_images_shrink_and_keep_their_shape():
    (made,) = thumbnails([np.zeros((100, 400, 4), np.uint8)], side=40)
    assert pixels(made).shape == (10, 40, 3)


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 5)), (2, (5, 5)), (5, (5, 5, 3))])
def test_any_number_of_channels_is_shown(channels, shape):
    (made,) = thumbnails([np.zeros((5, 5, channels), np.uint8)])
    assert pixels(made).shape == shape


def test_values_that_are_not_finite_or_outside_are_clipped():
    (made,) = thumbnails([np.array([[[np.nan], [-1.0]], [[2.0], [0.5]]])])
    assert pixels(made).tolist() == [[0, 0], [255, 128]]


def test_the_least_credible_inputs_are_kept_with_their_neighbors(entangle, project):
    model = "checkpoints/digits-step1000.onnx"
    words = (
        "--calib",
        "holdout",
        "--test",
        "test",
        "--layers",
        "fc1>relu",
        "--layers",
        "fc2",
        "-k",
        20,
        "--json",
        "-q",
    )
    assert entangle("dknn", model, *words).code == 0
    kept = json.loads((project / "entangle-out" / "dknn-strips.json").read_text())["inputs"]
    rows = [one["credibility"] for one in kept]
    assert len(rows) == 10
    assert rows == sorted(rows)
    for one in kept:
        assert [layer["layer"] for layer in one["layers"]] == ["fc1>relu", "fc2"]
        assert pixels(one["image"]).shape == (8, 8)
        for layer in one["layers"]:
            distances = [neighbor["distance"] for neighbor in layer["neighbors"]]
            assert len(distances) == 5
            assert distances == sorted(distances)
            assert all(pixels(n["image"]).shape == (8, 8) for n in layer["neighbors"])


def test_arrays_have_names_and_numbers_alone(entangle, project):
    generator = np.random.default_rng(0)
    for name, count in (("train", 200), ("calib", 60), ("test", 30)):
        np.savez(
            project / f"{name}.npz",
            x=generator.standard_normal((count, 1, 8, 8), np.float32),
            labels=generator.integers(0, 10, count),
        )
    words = ("--train", "train.npz", "--calib", "calib.npz", "--test", "test.npz")
    found = entangle("dknn", "checkpoints/digits-step1000.onnx", *words, "-k", 5, "-q")
    assert found.code == 0, found.stderr
    kept = json.loads((project / "entangle-out" / "dknn-strips.json").read_text())["inputs"]
    assert {one["image"] for one in kept} == {None}
    assert all(layer["neighbors"] for one in kept for layer in one["layers"])
