"""The library gives the numbers of the commands."""

import csv
import json

import numpy as np
import pytest

from entangle_cli import ActivationFile, DeepNeighbors, Detectors, open_model
from entangle_cli.errors import MeasureError

MODEL = "checkpoints/digits-step1000.onnx"


@pytest.fixture(scope="module")
def judged(tmp_path_factory, project_folder):
    """What dknn and ood write in the demo's project, and the activations they left."""
    from entangle_cli.commands import options
    from entangle_cli.commands.dknn import dknn_and_show
    from entangle_cli.commands.ood import ood_and_show
    from entangle_cli.project import read_project
    from entangle_cli.runs.dknn.run import DkNNOptions
    from entangle_cli.runs.ood.data import OODData
    from entangle_cli.runs.ood.found import OODOptions
    from entangle_cli.runs.shared.console import Terminal

    project = read_project(project_folder / "entangle.toml")
    folder = tmp_path_factory.mktemp("library") / "out"
    shared = {
        "project": project,
        "run": options.RunOptions(output=folder),
        "terminal": Terminal(quiet=True),
    }
    model = str(project_folder / MODEL)
    sets = ("train", "holdout", ["test"])
    dknn_and_show(model, sets, asked=DkNNOptions(), **shared)
    ood_and_show(
        model,
        OODData("test", ("letters",), train="train", calib="holdout"),
        asked=OODOptions(detectors=("energy", "knn", "vim")),
        **shared,
    )
    return folder


def stored(folder, name):
    """The widest file of a set: the detectors' one holds what they look at as well."""
    found = [
        ActivationFile.open(path)
        for path in (folder / "activations").glob("*.h5")
        if f"--{name}--" in path.name or f"digits-{name}" in path.name
    ]
    return max(found, key=lambda file: len(file.layers))


def test_deep_neighbors_are_those_of_dknn(judged):
    train, holdout, test = (stored(judged, name) for name in ("train", "holdout", "test"))
    layers = json.loads((judged / "dknn.json").read_text())["provenance"]["layers"]
    found = DeepNeighbors.fit(train, holdout, layers=layers).judge(test)
    with open(judged / "dknn-test.csv") as file:
        rows = list(csv.DictReader(file))
    assert found.joint.prediction.tolist() == [int(row["prediction"]) for row in rows]
    assert found.joint.credibility.tolist() == [float(row["credibility"]) for row in rows]
    assert (
        found.summary() | {"set": "test"}
        == json.loads((judged / "dknn.json").read_text())["rows"][0]
    )


def test_detectors_are_those_of_ood(judged, project_folder):
    train, holdout, test = (stored(judged, name) for name in ("train", "holdout", "test"))
    model = open_model(project_folder / MODEL)
    example = np.random.default_rng(0).random((8, 1, 8, 8), np.float32)
    head, reason = model.head_or_reason([example])
    assert head is not None, reason
    layers = json.loads((judged / "ood.json").read_text())["provenance"]["layers"]
    fitted = Detectors.fit(
        train, holdout, detectors=("energy", "knn", "vim"), layers=layers, head=head
    )
    scores = fitted.score(test)
    with open(judged / "ood-scores.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["set"] == "test"]
    assert len(scores) == 2 + len(layers)
    for name, values in scores.items():
        written = np.array([float(row[name]) for row in rows])
        np.testing.assert_allclose(values, written, rtol=1e-12, atol=0)


def test_without_a_head_what_needs_it_says_so(judged):
    train, holdout = (stored(judged, name) for name in ("train", "holdout"))
    fitted = Detectors.fit(train, holdout, detectors=("vim", "energy")).fitted
    notes = {one.name: one.note for one in fitted}
    assert "last linear layer" in notes["vim"] or "features" in notes["vim"]
    assert notes["energy"] == ""


def test_fewer_points_than_neighbors_are_refused(judged):
    train, holdout = (stored(judged, name) for name in ("train", "holdout"))
    with pytest.raises(MeasureError, match=str(holdout.rows)):
        DeepNeighbors.fit(holdout, train, k=holdout.rows + 1)
