import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.datasets.presets import PRESETS
from entangle_cli.datasets.settings import parse_settings, preset_fields
from entangle_cli.errors import DataError

CIFAR = preset_fields("cifar10", "test")


def image(height=6, width=5, channels=3, seed=0):
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def by_hand(images, mean, std):
    """(n, c, h, w) float64: (pixel / 255 - mean) / std, one value after another."""
    n, (h, w, c) = len(images), images[0].shape
    out = np.empty((n, c, h, w))
    for i in range(n):
        for k in range(c):
            for y in range(h):
                for x in range(w):
                    out[i, k, y, x] = (images[i][y, x, k] / 255 - mean[k]) / std[k]
    return out


def test_values_are_scaled_and_standardized_channel_by_channel():
    images = [image(seed=seed) for seed in range(3)]
    expected = by_hand(images, CIFAR["mean"], CIFAR["std"])
    batch = Preprocessing(color="rgb", **CIFAR).apply(images)
    assert batch.dtype == np.float32
    assert batch.shape == (3, 3, 6, 5)
    assert np.abs(batch - expected).max() < 3e-7
    last = Preprocessing(color="rgb", layout="nhwc", **CIFAR).apply(images)
    assert np.array_equal(np.moveaxis(last, -1, 1), batch)


def test_float_images_count_as_pixels_divided_by_255():
    pixels = image()
    floats = (pixels / 255).astype(np.float32)
    for name in ("unit", "raw", "cifar10"):
        way = Preprocessing(color="rgb", **preset_fields(name, "test"))
        assert np.allclose(way.apply([pixels]), way.apply([floats]), rtol=1e-5, atol=1e-5)


def test_images_of_both_kinds_and_sizes_go_into_one_batch_in_order():
    mixed = [image(9, 9, 1, 1), image(6, 5, 3, 2), (image(6, 5, 3, 3) / 255).astype(np.float32)]
    way = Preprocessing(size=(6, 5), color="rgb")
    batch = way.apply(mixed)
    for row, one in enumerate(mixed):
        assert np.array_equal(batch[row], way.apply([one])[0])


@pytest.mark.parametrize(
    ("name", "low", "high"), [("unit", 0, 1), ("raw", 0, 255), ("signed", -1, 1)]
)
def test_presets_have_their_range(name, low, high):
    ends = np.array([[[0], [255]]], np.uint8)
    batch = Preprocessing(color="gray", **preset_fields(name, "test")).apply([ends])
    assert batch.ravel().tolist() == [low, high]


def test_inverted_turns_black_into_one():
    ends = np.array([[[0], [255]]], np.uint8)
    batch = Preprocessing(color="gray", **preset_fields("inverted", "test")).apply([ends])
    assert batch.ravel().tolist() == [1, 0]


def test_none_leaves_values_as_they_are_stored():
    way = Preprocessing(**preset_fields("none", "test"))
    assert way.apply([image()]).max() > 1
    floats = np.array([[[0.25]]], np.float32)
    assert way.apply([floats]).item() == 0.25


def test_grey_is_pillows_luma():
    pixels = image(40, 40)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    batch = Preprocessing(color="gray", **preset_fields("raw", "test")).apply([pixels])
    assert np.array_equal(batch[0, 0], expected)
    floats = Preprocessing(color="gray", scale=None).apply([(pixels / 255).astype(np.float32)])
    assert np.abs(floats[0, 0] * 255 - expected).max() <= 0.51


def test_grey_becomes_color_by_repeating_and_bgr_swaps():
    raw = preset_fields("raw", "test")
    grey = image(channels=1)
    assert np.array_equal(
        Preprocessing(color="rgb", **raw).apply([grey])[0], np.repeat(grey, 3, 2).transpose(2, 0, 1)
    )
    pixels = image()
    swapped = Preprocessing(color="bgr", **raw).apply([pixels])
    assert np.array_equal(swapped[0], pixels[..., ::-1].transpose(2, 0, 1))


def test_a_fourth_channel_is_dropped():
    pixels = image(channels=4)
    batch = Preprocessing(color="rgb", **preset_fields("raw", "test")).apply([pixels])
    assert np.array_equal(batch[0], pixels[..., :3].transpose(2, 0, 1))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_resizing_is_pillows(interpolation):
    pixels = image(32, 20)
    method = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(pixels).resize((7, 9), method))
    way = Preprocessing(size=(9, 7), color="rgb", scale=1.0, interpolation=interpolation)
    assert np.array_equal(way.apply([pixels])[0], expected.transpose(2, 0, 1))


def test_a_center_crop_keeps_the_aspect():
    pixels = image(100, 60)
    way = Preprocessing(size=(28, 28), color="rgb", scale=1.0, crop_pct=0.875)
    # the shorter side becomes 32, the longer 53, then the middle 28x28
    whole = np.asarray(Image.fromarray(pixels).resize((32, 53), Image.Resampling.BILINEAR))
    assert np.array_equal(way.apply([pixels])[0], whole[12:40, 2:30].transpose(2, 0, 1))


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.sampled_from([None, 0.5, 0.875, 1.0]),
)
def test_any_size_becomes_the_size_asked_for(have, want, crop_pct):
    batch = Preprocessing(size=want, color="gray", crop_pct=crop_pct).apply([image(*have, 1)])
    assert batch.shape == (1, 1, *want)


def test_odd_shapes_hold_the_values_in_the_layouts_order():
    pixels = image()
    chw = pixels.transpose(2, 0, 1).ravel()
    raw = {"color": "rgb", **preset_fields("raw", "test")}
    assert np.array_equal(Preprocessing(**raw, shape=(-1,)).apply([pixels])[0], chw)
    assert Preprocessing(**raw, shape=(90, 1)).apply([pixels]).shape == (1, 90, 1)
    flat = Preprocessing(**raw, layout="nhwc", shape=(1, 90)).apply([pixels])
    assert np.array_equal(flat.ravel(), pixels.ravel())
    with pytest.raises(DataError, match=r"do not fill the shape \(91,\)"):
        Preprocessing(**raw, shape=(91,)).apply([pixels])


def test_other_types_are_given_to_models_that_take_them():
    raw = preset_fields("raw", "test")
    batch = Preprocessing(color="rgb", dtype="uint8", **raw).apply([image()])
    assert batch.dtype == np.uint8
    assert np.array_equal(batch[0], image().transpose(2, 0, 1))
    assert Preprocessing(color="rgb", dtype="float16").apply([image()]).dtype == np.float16
    with pytest.raises(DataError, match="pixels must stay 0-255"):
        Preprocessing(color="rgb", dtype="uint8")


def test_different_sizes_need_a_size():
    with pytest.raises(DataError, match="give the preprocessing a size"):
        Preprocessing(color="rgb").apply([image(6, 5), image(5, 6)])


def test_no_images_are_refused():
    with pytest.raises(DataError, match="at least one"):
        Preprocessing().apply([])


def test_means_must_fit_the_channels():
    with pytest.raises(DataError, match="mean has 3 values for 1 channel"):
        Preprocessing(color="gray", mean=(1.0, 2.0, 3.0))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [None, (32, 30)])
def test_json_gives_back_the_same_preprocessing(name, size):
    fields = {"color": "rgb" if PRESETS[name].channels == 3 else "gray"} | dict(
        PRESETS[name].fields
    )
    way = Preprocessing(size=size, shape=(-1,), crop_pct=0.9, **fields)
    assert Preprocessing.from_json(json.loads(json.dumps(way.to_json()))) == way
    assert "\n" not in way.describe()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"maen": 1}, r"x: unknown key 'maen' \(did you mean 'mean'"),
        ({"mean": "a"}, "x: mean is 'a'; give a number"),
        ({"mean": [float("nan")]}, "x: mean is nan"),
        ({"std": [0]}, "x: std is .0.; give numbers, std without a zero"),
        ({"std": []}, r"x: std is \[\]"),
        ({"scale": -1}, "x: scale is -1"),
        ({"input_size": [3, 32]}, "x: input_size is .3, 32.; give"),
        ({"input_size": [3, 32.5, 1]}, "positive whole numbers"),
        ({"layout": "chwn"}, "x: layout is 'chwn'"),
        ({"interpolation": "cubic"}, "did you mean 'bicubic'"),
        ({"crop_pct": 2}, "a share from 0.05"),
        ({"crop_mode": "border"}, "x: crop_mode is 'border'"),
        ({"preset": "imagnet"}, "did you mean 'imagenet'"),
        ({"color": "red"}, "x: color is 'red'"),
        ([1], "not a table of settings"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_key(values, message):
    with pytest.raises(DataError, match=message):
        parse_settings(values, "x")


def test_other_keys_override_a_preset():
    fields = parse_settings({"preset": "imagenet", "std": [1, 1, 1], "input_size": [3, 8, 9]}, "x")
    assert fields["mean"] == (0.485, 0.456, 0.406)
    assert fields["std"] == (1.0, 1.0, 1.0)
    assert fields["size"] == (8, 9)
