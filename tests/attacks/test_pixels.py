"""What a network is fed with is the same whether it comes from pixels or from the data set."""

import numpy as np
import pytest
import torch

from entangle_cli.attacks.pixels import PixelFeed, as_images
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.errors import DataError

CASES = {
    "unit": Preprocessing(),
    "raw": Preprocessing(scale=1.0),
    "as stored": Preprocessing(scale=None),
    "statistics": Preprocessing(color="rgb", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)),
    "bgr": Preprocessing(color="bgr", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)),
    "gray": Preprocessing(color="gray"),
    "channels last": Preprocessing(layout="nhwc", mean=(0.5,), std=(0.5,)),
    "resized": Preprocessing(size=(6, 10)),
    "flat": Preprocessing(color="gray", shape=(-1,)),
    "column": Preprocessing(color="gray", shape=(56, 1)),
    "double": Preprocessing(dtype="float64"),
}


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (7, 8, 3), dtype=np.uint8) for _ in range(5)]


@pytest.mark.parametrize("name", CASES)
def test_pixels_feed_what_the_preprocessing_feeds(name, images):
    feed = PixelFeed(CASES[name])
    found = feed(feed.pixels(images)).numpy()
    expected = CASES[name].apply(images)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    # the preprocessing works on whole pixels in double precision
    assert np.allclose(found, expected, atol=2e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("name", ["unit", "raw", "statistics", "bgr", "gray", "channels last"])
def test_images_made_of_pixels_are_fed_the_same_again(name, images):
    feed = PixelFeed(CASES[name])
    pixels = feed.pixels(images)
    again = CASES[name].apply(list(as_images(pixels)))
    assert np.allclose(again, feed(pixels).numpy(), atol=1e-4 * max(1, np.abs(again).max()))


def test_torch_differentiates_through_it(images):
    feed = PixelFeed(CASES["bgr"])
    pixels = feed.pixels(images).requires_grad_()
    feed(pixels)[:, 0].sum().backward()
    # the network's first channel is blue, the last one of the pixels
    assert torch.allclose(pixels.grad[:, 2], torch.tensor(1 / 0.2))
    assert not pixels.grad[:, :2].any()


def test_whole_pixels_have_no_gradient():
    with pytest.raises(DataError, match="uint8 pixels, which have no gradient"):
        PixelFeed(Preprocessing(scale=1.0, dtype="uint8"))
