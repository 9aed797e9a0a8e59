import json

import numpy as np
import pytest

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.candidates import candidates_for
from entangle_cli.datasets.geometry import Geometry, ImageSizes, candidate_geometries
from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.datasets.presets import PRESETS
from entangle_cli.datasets.probing import resolve_preprocessing
from entangle_cli.datasets.settings import preset_fields
from entangle_cli.errors import DataError, ModelError

GREY28 = ImageSizes(1, (28, 28), (28, 28))
COLOR32 = ImageSizes(3, (32, 32), (32, 32))


@pytest.mark.parametrize(
    ("shape", "images", "expected"),
    [
        ((1, 1, 28, 28), GREY28, [Geometry("gray", (28, 28))]),
        ((None, 28, 28, 1), GREY28, [Geometry("gray", (28, 28), "nhwc")]),
        ((None, 3, 224, 224), COLOR32, [Geometry("rgb", (224, 224))]),
        ((None, 32, 32, 3), COLOR32, [Geometry("rgb", (32, 32), "nhwc")]),
        ((None, 1, 28, 28), COLOR32, [Geometry("gray", (28, 28))]),
        ((None, 3, None, None), COLOR32, [Geometry("rgb", (32, 32))]),
        ((1, 784, 1), GREY28, [Geometry("gray", (28, 28), "nchw", (784, 1))]),
        ((None, 784), GREY28, [Geometry("gray", (28, 28), "nchw", (784,))]),
        ((None, 784), COLOR32, [Geometry("gray", (28, 28), "nchw", (784,))]),
        ((None, 28, 28), GREY28, [Geometry("gray", (28, 28), "nchw", (28, 28))]),
        (
            (None, 3072),
            COLOR32,
            [
                Geometry("rgb", (32, 32), "nchw", (3072,)),
                Geometry("rgb", (32, 32), "nhwc", (3072,)),
            ],
        ),
        ((None, None), GREY28, [Geometry("gray", (28, 28), "nchw", (-1,))]),
    ],
)
def test_a_shape_tells_where_pixels_go(shape, images, expected):
    assert candidate_geometries(shape, images) == expected


def test_free_axes_leave_several_ways():
    layouts = {(g.color, g.layout) for g in candidate_geometries((None,) * 4, COLOR32)}
    assert layouts == {("rgb", "nchw"), ("gray", "nchw"), ("rgb", "nhwc"), ("gray", "nhwc")}
    assert candidate_geometries(None, COLOR32)[0] == Geometry("rgb", (32, 32))


@pytest.mark.parametrize("shape", [(None, 7), (None, 12, 32, 32), (), (None, 5, 5, 5, 5)])
def test_an_input_that_no_image_fills_is_refused(shape):
    with pytest.raises(DataError, match="takes no images; give arrays"):
        candidate_geometries(shape, COLOR32)


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


def classifier(dataset, truth):
    """Class scores by the nearest sample; without an error for inputs prepared by ``truth``."""
    known = truth.apply(dataset.images(range(len(dataset)))).reshape(len(dataset), -1)
    squares = (known**2).sum(axis=1)

    def predict(batch):
        flat = batch.reshape(len(batch), -1)
        distances = (flat**2).sum(axis=1)[:, None] - 2 * flat @ known.T + squares
        return -np.stack([distances[:, dataset.labels == c].min(axis=1) for c in range(10)], axis=1)

    return predict


@pytest.mark.parametrize("name", ["unit", "raw", "signed", "inverted", "mnist"])
def test_the_convention_that_a_classifier_was_made_for_is_found(digits, name):
    truth = Preprocessing(size=(8, 8), color="gray", **preset_fields(name, "test"))
    resolved = resolve_preprocessing(
        (None, 1, 8, 8), "float32", digits, predict=classifier(digits, truth)
    )
    assert resolved.source == f"probed: {name}"
    assert resolved.preprocessing == truth
    assert resolved.accuracy_on_sample > 0.99
    assert "took " + name in resolved.notes[-1]


def test_the_layout_is_found_where_the_shape_leaves_it_open(digits):
    truth = Preprocessing(size=(8, 8), color="gray", **preset_fields("unit", "test"))
    network = classifier(digits, truth)

    def channels_first_only(batch):
        if batch.shape[1:] != (1, 8, 8):
            raise ModelError("m: another shape")
        return network(batch)

    resolved = resolve_preprocessing(
        (None,) * 4, "float32", digits, predict=channels_first_only, explicit={"scale": 255}
    )
    assert resolved.preprocessing.layout == "nchw"
    assert resolved.preprocessing.color == "gray"


def test_a_tie_goes_to_the_simplest_convention(digits):
    truth = Preprocessing(size=(8, 8), color="gray", **preset_fields("unit", "test"))
    network = classifier(digits, truth)

    def scale_free(batch):
        # a network without biases does not see the scale of its input
        return network(batch / batch.max(axis=(1, 2, 3), keepdims=True))

    resolved = resolve_preprocessing((None, 1, 8, 8), "float32", digits, predict=scale_free)
    assert resolved.source == "probed: unit"


def test_guessing_proves_nothing_and_is_said(digits):
    def noise(batch):
        return np.random.default_rng(0).random((len(batch), 10))

    resolved = resolve_preprocessing((None, 1, 8, 8), "float32", digits, predict=noise)
    assert resolved.source == "assumed: unit"
    assert resolved.accuracy_on_sample is None
    assert "not verified" in resolved.notes[0]


@pytest.mark.parametrize(
    ("predict", "reason"),
    [
        (None, "gives no class scores"),
        (lambda batch: None, "gives no class scores"),
        (lambda batch: np.zeros((len(batch), 1)), "no scores of several classes"),
        (lambda batch: np.zeros((len(batch), 5)), "label 9 is beyond the model's 5 classes"),
        (lambda batch: np.full((len(batch), 10), np.nan), "guessing"),
    ],
    ids=["no model", "no scores", "one output", "few classes", "nan"],
)
def test_what_cannot_be_verified_is_assumed_and_said(digits, predict, reason):
    resolved = resolve_preprocessing((None, 1, 8, 8), "float32", digits, predict=predict)
    assert resolved.source == "assumed: unit"
    assert resolved.preprocessing.scale == 255.0
    assert "not verified" in resolved.notes[0]
    assert reason in resolved.notes[0]


def test_without_labels_nothing_is_probed(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 8), np.uint8))
    dataset = open_dataset(str(tmp_path / "images.npy"))
    resolved = resolve_preprocessing((None, 1, 8, 8), "float32", dataset, predict=lambda b: b)
    assert "the data set has no labels" in resolved.notes[0]


def test_the_models_own_reason_is_kept_where_it_takes_nothing(digits):
    def refuse(batch):
        raise ModelError("m.onnx: broken")

    with pytest.raises(ModelError, match=r"m\.onnx: broken"):
        resolve_preprocessing((None, 1, 8, 8), "float32", digits, predict=refuse)
    with pytest.raises(ModelError, match=r"m\.onnx: broken"):
        resolve_preprocessing((None, 1, 8, 8), "float32", digits, predict=refuse, explicit="raw")


def write(path, mean):
    path.write_text(json.dumps({"mean": mean}))


def test_the_strongest_source_wins(digits, tmp_path):
    model = tmp_path / "net.onnx"
    texts = {"entangle.json": '{"mean": 0.4}'}
    given = {"explicit": {"mean": 0.1}, "project": {"mean": 0.2}, "embedded": texts}
    write(tmp_path / "net.preprocess.json", 0.3)
    (tmp_path / "config.json").write_text('{"mean": [0.5], "std": [1]}')

    def resolved():
        found = resolve_preprocessing((None, 1, 8, 8), "float32", digits, model_path=model, **given)
        return found.preprocessing.mean, found.source

    assert resolved() == ((0.1,), "command line")
    del given["explicit"]
    assert resolved() == ((0.2,), "entangle.toml")
    del given["project"]
    assert resolved() == ((0.3,), "net.preprocess.json")
    (tmp_path / "net.preprocess.json").unlink()
    assert resolved() == ((0.4,), "entangle.json in the model")
    given["embedded"] = '{"mean": 0.45}'
    assert resolved()[0] == (0.45,)
    del given["embedded"]
    assert resolved() == ((0.5,), "timm's config.json")
    (tmp_path / "config.json").unlink()
    assert resolved()[1] == "assumed: unit"


def test_a_given_preset_is_used_and_its_accuracy_told(digits):
    truth = Preprocessing(size=(8, 8), color="gray", **preset_fields("signed", "test"))
    resolved = resolve_preprocessing(
        (1, 64), "float32", digits, predict=classifier(digits, truth), explicit="signed"
    )
    assert resolved.source == "command line: signed"
    assert resolved.preprocessing.shape == (64,)
    assert resolved.accuracy_on_sample > 0.99


def test_a_settings_file_is_read(digits, tmp_path):
    write(tmp_path / "mine.json", 0.25)
    way = resolve_preprocessing(
        (None, 1, 8, 8), "float32", digits, explicit=str(tmp_path / "mine.json")
    )
    assert way.preprocessing.mean == (0.25,)


@pytest.mark.parametrize(
    ("explicit", "message"),
    [
        ("imagnet", "no preset 'imagnet' .did you mean 'imagenet'"),
        ("imagenet", "3 values for 1 channel"),
        ({"input_size": [1, 9, 9]}, "gives samples of 1x9x9, but the model takes 1x8x8"),
        ({"layout": "nhwc"}, "layout nhwc does not fit"),
        ({"color": "rgb"}, "the model takes 1"),
        ("no.json", "cannot be read"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(digits, explicit, message):
    with pytest.raises(DataError, match=message):
        resolve_preprocessing((None, 1, 8, 8), "float32", digits, explicit=explicit)


def test_a_mean_for_pixels_0_to_255_is_pointed_out(digits):
    way = resolve_preprocessing((None, 1, 8, 8), "float32", digits, explicit={"mean": 127.5})
    assert "set scale = 1" in way.notes[0]


def test_arrays_pass_untouched(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 4)))
    resolved = resolve_preprocessing((None, 4), "float32", open_dataset(str(tmp_path / "x.npy")))
    assert resolved.preprocessing is None


def test_models_that_take_bytes_are_given_raw_pixels(digits):
    way = resolve_preprocessing((None, 8, 8, 1), "uint8", digits)
    assert way.preprocessing.dtype == "uint8"
    assert way.preprocessing.scale == 1.0


def test_larger_images_of_other_proportions_are_cropped_or_stretched():
    sizes = ImageSizes(3, None, (300, 200))
    found = candidates_for((None, 3, 64, 64), "float32", sizes, {"scale": 255.0})
    assert [c.preprocessing.crop_pct for c in found] == [0.875, None]


def test_images_of_many_sizes_need_a_size_where_the_model_names_none():
    sizes = ImageSizes(3, None, (10, 10))
    with pytest.raises(DataError, match="give the preprocessing an input_size"):
        candidates_for((None, 3, None, None), "float32", sizes, {})


def test_every_preset_stands_alone():
    fields = [tuple(sorted(preset.fields.items())) for preset in PRESETS.values()]
    assert len(set(fields)) == len(fields)
