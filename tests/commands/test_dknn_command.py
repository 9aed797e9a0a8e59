import csv

import numpy as np
import pytest

KEYS = ["set", "n", "model_accuracy", "accuracy", "credibility", "confidence"]
MODEL = "checkpoints/digits-step1000.onnx"


def read_csv(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_the_line_works_as_it_stands_in_the_demos_folder(entangle, project):
    found = entangle("dknn", "--calib", "holdout", "--json")
    assert found.code == 0
    (row,) = found.json["rows"]
    assert list(row) == KEYS
    assert row["set"] == "test"
    assert row["model_accuracy"] > 0.95
    assert row["accuracy"] > 0.9
    assert 0.3 < row["credibility"] < 0.8
    assert "took the last, digits-step1000.onnx" in found.stderr


def test_the_means_are_those_of_the_rows_per_input(entangle, project):
    (row,) = entangle("dknn", MODEL, "--json", "-q").json["rows"]
    inputs = read_csv(project / "entangle-out" / "dknn-test.csv")
    assert len(inputs) == row["n"]
    credibility = np.array([float(one["credibility"]) for one in inputs])
    right = np.array([one["prediction"] == one["label"] for one in inputs])
    assert credibility.mean() == pytest.approx(row["credibility"], rel=1e-12)
    assert right.mean() == pytest.approx(row["accuracy"], rel=1e-12)
    assert {"credibility fc2", "distinct fc2"} <= set(inputs[0])


def test_reliability_counts_every_labeled_input(entangle, project):
    body = entangle("dknn", MODEL, "--json", "-q").json
    bins = read_csv(project / "entangle-out" / "dknn-reliability.csv")
    assert sum(int(one["count"]) for one in bins) == body["rows"][0]["n"]
    assert body["provenance"]["reliability"]["test"][0]["low"] == 0.0


def test_foreign_classes_are_judged_without_their_labels(entangle, project):
    found = entangle("dknn", MODEL, "--test", "test", "--test", "letters", "--json")
    rows = {row["set"]: row for row in found.json["rows"]}
    assert rows["letters"]["accuracy"] is None
    assert rows["letters"]["credibility"] < rows["test"]["credibility"]
    assert "its labels are not used" in found.stderr


def test_sets_whose_names_make_one_file_name_have_two_files(entangle, project):
    with open(project / "entangle.toml") as file:
        settings = file.read()
    parts = {"a b": "[:20]", "A-b": "[20:50]", "reliability": "[:9]"}
    again = "".join(f'"{name}" = "data/letters{part}"\n' for name, part in parts.items())
    (project / "entangle.toml").write_text(settings.replace("[data]\n", "[data]\n" + again))
    sets = [word for name in parts for word in ("--test", name)]
    found = entangle("dknn", MODEL, *sets, "--json", "-q")
    names = ["a b", "A-b (2)", "reliability (2)"]
    assert [row["set"] for row in found.json["rows"]] == names
    files = ["dknn-a-b.csv", "dknn-A-b--2-.csv", "dknn-reliability--2-.csv"]
    assert [len(read_csv(project / "entangle-out" / name)) for name in files] == [20, 30, 9]


def test_neighbor_lists_are_kept_and_used_again(entangle, project):
    first = entangle("dknn", MODEL, "--json", "-q")
    lists = sorted((project / "entangle-out" / "neighbors").iterdir())
    written = [path.stat().st_mtime_ns for path in lists]
    assert len(lists) == 8
    again = entangle("dknn", MODEL, "--zeros", "trim", "--json", "-q")
    assert [path.stat().st_mtime_ns for path in lists] == written
    trimmed, kept = again.json["rows"][0], first.json["rows"][0]
    assert trimmed["credibility"] >= kept["credibility"]


def test_without_test_data_the_calibration_set_is_judged_leaving_one_out(entangle, project):
    (project / "entangle.toml").write_text(
        'model = "checkpoints/*.onnx"\n[data]\ntrain = "digits@train"\nholdout = "digits@holdout"\n'
    )
    (row,) = entangle("dknn", "--json", "-q").json["rows"]
    assert (row["set"], row["n"]) == ("holdout", 359)


def test_calibration_that_overlaps_other_data_is_refused_unless_forced(entangle, project):
    words = ("dknn", MODEL, "--calib", "digits@test[0:100]")
    found = entangle(*words)
    assert found.code == 2
    assert "100 of 100 calibration samples" in found.error
    assert "--force" in found.error
    forced = entangle(*words, "--force", "--json", "-q")
    assert forced.code == 0
    assert any("not valid" in note for note in forced.json["notes"])


def test_an_explanation_names_labels_and_training_inputs(entangle, project):
    found = entangle("dknn", MODEL, "--explain", "3", "-q")
    assert "test[3] test/3" in found.stdout
    assert "train/" in found.stdout
    exemplars = read_csv(project / "entangle-out" / "dknn-test-exemplars.csv")
    assert len({one["index"] for one in exemplars} - {"3"}) == 10
    assert (project / "entangle-out" / "figures" / "dknn-test-3.png").stat().st_size > 1000
    distances = [
        float(one["distance"]) for one in exemplars if (one["index"], one["layer"]) == ("3", "fc2")
    ]
    assert len(distances) == 10
    assert distances == sorted(distances)


def test_the_worst_are_the_least_credible(entangle, project):
    entangle("dknn", MODEL, "--worst", "12", "-q")
    inputs = read_csv(project / "entangle-out" / "dknn-test.csv")
    credibility = {one["index"]: float(one["credibility"]) for one in inputs}
    shown = {one["index"] for one in read_csv(project / "entangle-out" / "dknn-test-exemplars.csv")}
    assert len(shown) == 12
    others = [value for index, value in credibility.items() if index not in shown]
    assert max(credibility[index] for index in shown) <= min(others)


@pytest.mark.parametrize("options", [["--p-value", "conformal"], ["--p-value", "smoothed"],
                                     ["--per-class"], ["--metric", "euclidean"],
                                     ["--layers", "fc2"], ["-k", "5"]])  # fmt: skip
def test_every_variant_gives_numbers_and_is_stated(entangle, project, options):
    body = entangle("dknn", MODEL, *options, "--json", "-q").json
    assert 0 < body["rows"][0]["credibility"] < 1
    assert body["provenance"]["calibration"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--calib", "letters"], "letters"),
        (["--train", "nothing"], "nothing"),
        (["--explain", "9999"], "--explain 9999"),
        (["-k", "2000"], "2000 neighbors asked for"),
        (["--layers", "fc9"], "fc9"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(entangle, project, words, message):
    found = entangle("dknn", MODEL, *words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


def test_without_a_project_the_missing_data_is_named(entangle, trained_onnx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = entangle("dknn", trained_onnx)
    assert found.code == 2
    assert "no --train data" in found.error
