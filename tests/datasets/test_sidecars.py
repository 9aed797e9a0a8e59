import json

import pytest

from entangle_cli.datasets.sidecars import read_config, read_embedded, read_sidecar
from entangle_cli.errors import DataError


@pytest.fixture
def model(tmp_path):
    return tmp_path / "net.onnx"


def write(model, name, content):
    text = content if isinstance(content, str) else json.dumps(content)
    model.with_name(name).write_text(text)


def test_nothing_beside_the_model_is_nothing(model):
    assert read_sidecar(model) is read_config(model) is None
    assert read_embedded({}, model) is None


@pytest.mark.parametrize("name", ["net.preprocess.json", "net.onnx.preprocess.json"])
def test_the_file_named_after_the_model_is_read(model, name):
    write(model, name, {"mean": 0.5, "std": [0.25], "color": "RGB"})
    found = read_sidecar(model)
    assert found.fields == {"mean": (0.5,), "std": (0.25,), "color": "rgb"}
    assert found.source == name


def test_the_text_inside_a_model_is_read():
    assert read_embedded({"entangle.json": '{"scale": 1}'}, "m").fields == {"scale": 1.0}
    nested = '{"preprocess": {"preset": "signed"}}'
    assert read_embedded({"entangle.json": nested}, "m").fields["mean"] == (0.5,)


def test_onnx_image_metadata_is_understood():
    metadata = {"Image.NominalPixelRange": "NominalRange_0_255", "Image.BitmapPixelFormat": "Bgr8"}
    fields = read_embedded(metadata, "m").fields
    assert fields["scale"] == 1.0
    assert fields["color"] == "bgr"


def test_timm_configuration_is_read(model):
    config = {
        "architecture": "resnet18",
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "interpolation": "bicubic",
            "crop_pct": 0.95,
            "crop_mode": "center",
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "tag": "a1_in1k",
        },
    }
    write(model, "config.json", config)
    assert read_config(model).fields == {
        "color": "rgb",
        "size": (224, 224),
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    }


def test_another_config_json_is_not_timms(model):
    write(model, "config.json", {"hidden_size": 768})
    assert read_config(model) is None


def test_hugging_face_configuration_is_read(model):
    config = {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 0.00392156862745098,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor",
    }
    write(model, "preprocessor_config.json", config)
    assert read_config(model).fields == {
        "size": (224, 224),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "scale": 255.0,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    write(model, "preprocessor_config.json", {"do_rescale": False, "size": 32})
    assert read_config(model).fields == {"scale": 1.0, "size": (32, 32)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"net\.preprocess\.json: not valid JSON"),
        ("[1]", "not a JSON object"),
        ("\xff", "not valid JSON"),
        ({"meen": 1}, r"net\.preprocess\.json: unknown key 'meen'"),
        ("[" * 100_000, "not valid JSON|not a JSON object"),
    ],
    ids=["cut", "list", "no JSON", "key", "deep"],
)
def test_a_malformed_file_is_refused_by_name(model, content, message):
    write(model, "net.preprocess.json", content)
    with pytest.raises(DataError, match=message):
        read_sidecar(model)


def test_malformed_configurations_are_refused(model):
    write(model, "preprocessor_config.json", {"size": {"longest_edge": 5}})
    with pytest.raises(DataError, match=r"preprocessor_config\.json: size is"):
        read_config(model)
    write(model, "preprocessor_config.json", {"rescale_factor": "a"})
    with pytest.raises(DataError, match="rescale_factor is 'a'"):
        read_config(model)
