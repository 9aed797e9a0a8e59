import h5py
import numpy as np
import pytest

MODEL = "checkpoints/digits-step1000.onnx"


def layer_groups(file: h5py.File) -> dict[str, h5py.Dataset]:
    return {group.attrs["name"]: group["activations"] for group in file["layers"].values()}


def test_a_dump_is_an_ordinary_hdf5_file(entangle, project):
    assert entangle("dump", MODEL, "test", "--file", "acts.h5", "-q").code == 0
    with h5py.File("acts.h5", "r") as file:
        layers = layer_groups(file)
        labels = file["samples/label"][:]
        logits = file["logits"][:]
    assert set(layers) == {"conv1>maxpool", "conv2>maxpool", "fc1>relu", "fc2"}
    assert (logits.argmax(1) == labels).mean() > 0.9


def test_reducing_over_space_gives_a_number_per_channel(entangle, project):
    flat = entangle("dump", MODEL, "test", "--layers", "conv1>maxpool", "--json", "-q").json
    mean = entangle(
        "dump", MODEL, "test", "--layers", "conv1>maxpool", "--reduce", "mean", "--json", "-q"
    ).json
    files = [body["provenance"]["file"] for body in (flat, mean)]
    points = []
    for name in files:
        with h5py.File(name, "r") as file:
            points.append(layer_groups(file)["conv1>maxpool"][:])
    assert points[0].reshape(len(points[0]), -1).shape[1] == 16 * 4 * 4
    expected = points[0].reshape(len(points[0]), 16, 16).mean(axis=2)
    np.testing.assert_allclose(points[1].reshape(expected.shape), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        ["checkpoints/digits-step0300.onnx", "test"],
        [MODEL, "holdout"],
        [MODEL, "test", "--layers", "fc2"],
        [MODEL, "test", "--dtype", "float16"],
        [MODEL, "test", "--preprocess", "raw"],
    ],
)
def test_a_file_that_belongs_to_something_else_is_refused(entangle, project, changed):
    entangle("dump", MODEL, "test", "--file", "acts.h5", "-q")
    before = (project / "acts.h5").read_bytes()
    found = entangle("dump", *changed, "--file", "acts.h5", "-q")
    assert found.code == 2
    assert "--overwrite" in found.error
    assert (project / "acts.h5").read_bytes() == before
    assert entangle("dump", *changed, "--file", "acts.h5", "-q", "--overwrite").code == 0


def test_the_raw_input_is_not_dumped(entangle, project):
    found = entangle("dump", MODEL, "test", "--layers", "input")
    assert found.code == 2
    assert "--layers input" in found.error
