"""``entangle map``: the map, the places, and the numbers beside them."""

import csv
import json

import numpy as np
import pytest

pytest.importorskip("openTSNE", reason="maps need the extra 'report'")

from entangle_cli.activations.file import ActivationFile
from entangle_cli.datasets import open_dataset
from entangle_cli.measures import embedding
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.temperature import entanglement
from entangle_cli.measures.two_sample import two_sample
from entangle_cli.runs.map import answer as map_answer

MODEL = "checkpoints/digits-step1000.onnx"
KEYS = (
    "set against n layer dim entanglement snnl temperature ceiling boundary knn_accuracy "
    "map_knn_accuracy"
).split()
COLUMNS = "set index id label model_prediction x y".split()
WORDS = ("map", MODEL, "test", "--with", "letters", "--sample", "120")


@pytest.fixture
def mapped(entangle, project):
    found = entangle(*WORDS, "--json")
    assert found.code == 0, found.stderr
    return found


def points_file(project):
    with open(project / "entangle-out" / "map.csv") as file:
        return list(csv.DictReader(file))


def test_the_rows_are_the_measures_of_the_layer(mapped, project):
    classes, apart = mapped.json["rows"]
    assert list(classes) == list(apart) == KEYS
    by_name = {path.name: ActivationFile.open(path) for path in activation_files(project)}
    digits = next(file for name, file in by_name.items() if "--test--" in name)
    letters = next(file for name, file in by_name.items() if "--letters--" in name)
    points = digits.points("fc1>relu")
    assert (classes["layer"], classes["dim"], classes["n"]) == ("fc1>relu", points.shape[1], 120)
    expected = entanglement(points, digits.labels)
    assert (classes["against"], apart["against"]) == (None, "test")
    assert classes["entanglement"] == expected.entanglement
    assert classes["knn_accuracy"] == expected.knn_accuracy
    other = two_sample(points, letters.points("fc1>relu"), Protocol()).observed
    assert (apart["set"], apart["n"]) == ("letters", 120)
    assert apart["entanglement"] == other.entanglement


def activation_files(project):
    return (project / "entangle-out" / "activations").glob("*.h5")


def test_accuracy_in_the_map_is_of_the_written_coordinates(mapped, project):
    rows = points_file(project)
    assert list(rows[0]) == COLUMNS
    places = np.array([[float(row["x"]), float(row["y"])] for row in rows])
    sets = np.array([row["set"] for row in rows])
    labels = np.array([row["label"] for row in rows])
    digits = sets == "test"
    assert mapped.json["rows"][0]["map_knn_accuracy"] == one_nearest(places[digits], labels[digits])
    assert mapped.json["rows"][1]["map_knn_accuracy"] == one_nearest(places, sets)


def one_nearest(places, labels):
    distances = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(axis=1)] == labels).mean())


def test_the_written_points_are_those_of_the_sets(mapped, project):
    rows = points_file(project)
    assert [row["set"] for row in rows] == ["test"] * 120 + ["letters"] * 120
    whole = open_dataset("digits@test")
    for row in rows[:120]:
        index = int(row["index"])
        assert row["id"] == whole.ids[index]
        assert int(row["label"]) == whole.labels[index]
    assert np.mean([row["label"] == row["model_prediction"] for row in rows[:120]]) > 0.9
    # letters are other classes: their labels would be taken for digits
    assert {row["label"] for row in rows[120:]} == {""}
    assert {row["model_prediction"] for row in rows[120:]} <= set("0123456789")


def test_the_sample_and_the_labels_left_out_are_said(mapped):
    notes = "\n".join(mapped.json["notes"])
    assert "test: 120 of 364 samples" in notes
    assert "letters: 120 of 300 samples" in notes
    assert "its labels are not used" in notes


def test_the_same_command_writes_the_same_bytes(mapped, entangle, project):
    out = project / "entangle-out"
    names = ["map.json", "map.csv", *(["map.svg", "map.png"] if (out / "map.svg").exists() else [])]
    first = {name: (out / name).read_bytes() for name in names}
    assert entangle(*WORDS, "-q", "--overwrite", "--json").json == mapped.json
    assert {name: (out / name).read_bytes() for name in names} == first


def test_a_further_set_leaves_the_map_as_it_is(mapped, entangle, project):
    before = points_file(project)
    found = entangle(*WORDS, "--with", "holdout", "--json", "-q")
    assert [row["set"] for row in found.json["rows"]] == ["test", "letters", "holdout"]
    assert points_file(project)[:240] == before


def test_the_model_and_the_data_come_from_the_project(entangle, project):
    alone = entangle("map", "--sample", "100", "--json", "-q").json
    assert [row["set"] for row in alone["rows"]] == ["test"]
    assert alone["models"][0]["model"] == "digits-step1000.onnx"
    data = entangle("map", "holdout", "--sample", "100", "--json", "-q").json
    assert [row["set"] for row in data["rows"]] == ["holdout"]
    assert [row["layer"] for row in data["rows"]] == ["fc1>relu"]


def test_another_layer_and_perplexity(entangle, project):
    words = ("--layer", "fc2", "--perplexity", "5", "--sample", "50")
    found = entangle("map", MODEL, "test", *words, "--json", "-q").json
    assert (found["rows"][0]["layer"], found["rows"][0]["dim"]) == ("fc2", 10)
    assert found["provenance"]["perplexity"] == 5


def test_data_without_labels_has_a_map_and_no_classes(entangle, project):
    images = open_dataset("digits@test").images(np.arange(100))
    np.savez("bare.npz", images=np.stack(images)[..., 0])
    found = entangle("map", MODEL, "bare.npz", "--json", "-q", "--with", "letters[:40]")
    classes, apart = found.json["rows"]
    assert (classes["entanglement"], classes["map_knn_accuracy"]) == (None, None)
    assert apart["entanglement"] < 0.1
    assert any("classes are not measured" in note for note in found.json["notes"])


def test_the_picture_needs_matplotlib_alone(entangle, project, monkeypatch):
    monkeypatch.setattr(map_answer, "find_spec", lambda name: None)
    found = entangle("map", MODEL, "test", "--sample", "100")
    assert found.code == 0
    assert "entangle-cli[report]" in found.stderr
    assert not (project / "entangle-out" / "map.svg").exists()
    assert (project / "entangle-out" / "map.csv").exists()


def test_without_opentsne_one_line_names_the_extra(entangle, project, monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    found = entangle(*WORDS)
    assert found.code == 2
    assert "pip install 'entangle-cli[report]'" in found.error
    assert not (project / "entangle-out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((MODEL, "test", "letters"), "3 words"),
        ((MODEL, "test", "--layer", "fc*"), "stands for"),
        ((MODEL, "test", "--layer", "nowhere"), "no layer matches"),
        ((MODEL, "test", "--sample", "80"), "needs 91 or more"),
        ((MODEL, "nothing.npz"), "nothing.npz"),
    ],
)
def test_what_cannot_be_mapped_is_one_line(entangle, project, words, message):
    found = entangle("map", *words)
    assert found.code == 2
    assert message in found.error
    assert not (project / "entangle-out" / "map.json").exists()


def test_a_constant_layer_is_named(entangle, project):
    np.savez("black.npz", images=np.zeros((100, 8, 8), np.uint8), labels=np.arange(100) % 10)
    found = entangle("map", MODEL, "black.npz", "--sample", "100")
    assert found.code == 2
    assert "black, layer fc1>relu: all points are the same" in found.error


def test_the_table_names_what_is_told_apart(entangle, project):
    shown = entangle(*WORDS, "-q").stdout
    assert "(its classes)" in shown
    assert "Map of fc1>relu of digits-step1000.onnx" in shown
    written = json.loads((project / "entangle-out" / "map.json").read_text())
    assert written["provenance"]["openTSNE"]
