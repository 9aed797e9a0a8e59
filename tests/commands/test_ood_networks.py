"""``entangle ood`` on networks whose ends differ: softmax, no linear layer to be found, NaN."""

import csv
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from entangle_cli.datasets import open_dataset
from entangle_cli.training.checkpoints import export
from entangle_cli.training.networks import DigitsNet

PIXELS = {"scale": 255.0, "mean": [0.0], "std": [1.0]}
FAST = ("--resamples", "40", "--knn", "exact", "--json", "-q")
HEADS = ("ood", "--out", "letters", "--detectors", "msp,max_logit,energy,gen,vim,react,nci,she")


class Ending(DigitsNet):
    """The digits network with its last layer in two halves, which nobody looks for."""

    def __init__(self, classes: int = 10, *, halves: bool = False, softmax: bool = False) -> None:
        super().__init__()
        self.fc2 = nn.Linear(64, classes)
        self.halves, self.softmax = halves, softmax

    def forward(self, images):
        maps = torch.max_pool2d(torch.relu(self.conv1(images)), 2)
        maps = torch.max_pool2d(torch.relu(self.conv2(maps)), 2)
        features = torch.relu(self.fc1(torch.flatten(maps, 1)))
        if self.halves:
            halves = zip(self.fc2.weight.chunk(2), self.fc2.bias.chunk(2), strict=True)
            scores = torch.cat([nn.functional.linear(features, *half) for half in halves], dim=1)
        else:
            scores = self.fc2(features)
        return torch.softmax(scores, dim=1) if self.softmax else scores


class Divided(Ending):
    """Divides by the brightness: NaN for a black image."""

    def forward(self, images):
        return super().forward(images / images.sum(dim=(1, 2, 3), keepdim=True) * 20)


def load_digits(network, trained_onnx):
    scripted = torch.jit.load(str(trained_onnx.with_suffix(".pt")))
    network.load_state_dict(scripted.state_dict())
    return network


@pytest.fixture(scope="module")
def networks(project_folder, trained_onnx, tmp_path_factory):
    """A project with one network per kind of ending."""
    folder = tmp_path_factory.mktemp("networks") / "project"
    shutil.copytree(project_folder, folder)
    example = torch.zeros(2, 1, 8, 8)
    kinds = {
        "softmax": Ending(softmax=True),
        "halves": Ending(halves=True),
        "hidden": Ending(halves=True, softmax=True),
        "divided": Divided(),
    }
    for name, network in kinds.items():
        export(load_digits(network, trained_onnx), example, folder / name, PIXELS)
    torch.manual_seed(0)
    export(Ending(2), example, folder / "two", PIXELS)
    return folder


@pytest.fixture
def here(networks, tmp_path, monkeypatch):
    shutil.copytree(networks, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def rows_of(found):
    assert found.code == 0, found.stderr
    return {(row["detector"], row["layer"]): row for row in found.json["rows"]}


@pytest.fixture
def plain(entangle, here):
    """The rows of the network whose logits are its output."""
    return rows_of(entangle(*HEADS, *FAST))


def test_a_softmax_is_undone_by_the_last_layer(entangle, here, plain):
    rows = rows_of(entangle("ood", "softmax.onnx", *HEADS[1:], *FAST))
    for key, row in plain.items():
        assert rows[key]["auroc"] == pytest.approx(row["auroc"], abs=1e-5), key
        assert rows[key]["threshold"] == pytest.approx(row["threshold"], rel=1e-4), key


def test_without_the_last_layer_a_softmax_has_no_energy(entangle, here, plain):
    found = entangle("ood", "hidden.onnx", *HEADS[1:], *FAST)
    rows = rows_of(found)
    assert any("no last linear layer" in note for note in found.json["notes"])
    for name in ("msp", "gen"):
        auroc = plain[name, "logits"]["auroc"]
        assert rows[name, "logits"]["auroc"] == pytest.approx(auroc, abs=1e-4)
    for name in ("energy", "max_logit"):
        assert rows[name, "logits"]["auroc"] is None
        assert "probabilities" in rows[name, "logits"]["note"]
    for name in ("vim", "react", "nci"):
        assert rows[name, "features"]["auroc"] is None
        assert "last linear layer" in rows[name, "features"]["note"]


def test_the_last_layer_is_recovered_by_least_squares(entangle, here, plain):
    found = entangle("ood", "halves.onnx", *HEADS[1:], "--features", "fc1>relu", *FAST)
    rows = rows_of(found)
    assert any("recovered by least squares from fc1>relu" in n for n in found.json["notes"])
    assert found.json["provenance"]["features"] == "fc1>relu"
    for key, row in plain.items():
        # vim starts at -pinv(W) b, and nothing shows what W is where no training input varies
        margin = 5e-3 if key[0] == "vim" else 2e-4
        assert rows[key]["auroc"] == pytest.approx(row["auroc"], abs=margin), key


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["halves.onnx", "--features", "conv1>maxpool"], "not an affine function"),
        (["halves.onnx", "--features", "fc9"], "no such layer"),
        (["hidden.onnx", "--features", "fc1>relu"], "gives no logits"),
        (["halves.onnx", "--features", "fc1>relu", "--train", "digits@train[:60]"], "60 inputs"),
    ],
)
def test_a_layer_that_the_class_scores_do_not_follow_from(entangle, here, words, message):
    found = entangle("ood", *words, "--out", "letters", "--detectors", "msp")
    assert found.code == 2
    assert message in found.error
    assert "--features" in found.error


def test_two_classes(entangle, here):
    found = entangle("ood", "two.onnx", "--out", "letters", *FAST)
    rows = rows_of(found)
    assert rows["msp", "logits"]["auroc"] is not None
    # labels up to 9 for a network of two classes are refused by name, and only where they matter
    assert "label" in rows["temperature_msp", "logits"]["note"]
    assert rows["knn", "fc2"]["auroc"] is not None


def test_activations_that_are_nan_are_named_and_the_rest_goes_on(entangle, here):
    pixels = np.stack(open_dataset("digits@test").images(np.arange(50)))[..., 0]
    pixels[7] = 0
    np.savez("black.npz", images=pixels)
    words = ("--out", "black.npz", "--out", "letters", "--detectors", "msp,knn,mahalanobis,react")
    found = entangle("ood", "divided.onnx", *words, *FAST)
    assert found.code == 0, found.stderr
    rows = {(row["detector"], row["layer"], row["out"]): row for row in found.json["rows"]}
    for (name, layer, out), row in rows.items():
        assert (row["auroc"] is None) == (out != "letters"), (name, layer, out)
        assert ("black: " in row["note"]) == (out != "letters")
        assert name == "knn" or ("row 7" in row["note"]) == (out != "letters")
    assert any("no neighbors in conv1>maxpool" in note for note in found.json["notes"])
    with open("entangle-out/ood-scores.csv") as file:
        cells = {row["set"]: row["msp"] for row in csv.DictReader(file)}
    assert cells["black"] == ""
    assert float(cells["letters"]) > 0


def test_names_of_classes_need_a_name_for_every_class(entangle, here, digits_folder):
    folder = digits_folder("test", 100)
    for name in ("7", "8", "9"):
        shutil.rmtree(folder / name)
    words = ("--in", folder, "--train", "none", "--calib", "none", "--detectors", "msp")
    assert entangle("ood", *words, "--out", "letters", *FAST).code == 0
    found = entangle("score", "checkpoints/digits-step1000.onnx", "test", "-q")
    assert found.code == 0
    header = found.stdout.partition("\n")[0].split(",")
    assert "prediction" in header
    assert "class" not in header
