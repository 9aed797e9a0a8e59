import csv
import io
import json

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.runs.measure.layer_points import every_label

ROW_KEYS = (
    "model step layer dim n classes snnl temperature ceiling entanglement boundary knn_accuracy"
).split()
STEPS = [0, 30, 100, 300, 1000]


def test_a_series_is_measured_in_the_order_of_its_steps(entangle, project):
    found = entangle("measure", "--json", "-q")
    assert found.code == 0
    rows = found.json["rows"]
    assert [row["step"] for row in rows if row["layer"] == "fc2"] == STEPS
    assert all(list(row) == ROW_KEYS for row in rows)
    assert [m["step"] for m in found.json["models"]] == STEPS
    fc2 = [row["entanglement"] for row in rows if row["layer"] == "fc2"]
    assert fc2[-1] < 0.3 < fc2[0]


def test_stdout_holds_one_json_object_and_stderr_the_rest(entangle, project):
    found = entangle("measure", "checkpoints/digits-step1000.onnx", "test", "--json")
    body = json.loads(found.stdout)
    assert found.stdout.count("\n") == 1
    assert set(body) == {"command", "version", "models", "rows", "provenance", "notes"}
    assert "accuracy" in found.stderr
    assert 0.9 < body["models"][0]["accuracy"] <= 1


def test_the_written_files_hold_what_was_printed(entangle, project):
    printed = entangle("measure", "test", "--json", "-q").json
    assert json.loads((project / "entangle-out" / "results.json").read_text()) == printed
    with open(project / "entangle-out" / "measure.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["snnl"]) == printed["rows"][0]["snnl"]


def test_both_formats_of_one_network_give_the_same_numbers(entangle, project):
    rows = {
        suffix: entangle(
            "measure", f"checkpoints/digits-step1000{suffix}", "test", "--json", "-q"
        ).json["rows"]
        for suffix in (".onnx", ".pt")
    }
    assert [r["layer"] for r in rows[".onnx"]] == [r["layer"] for r in rows[".pt"]]
    for left, right in zip(rows[".onnx"], rows[".pt"], strict=True):
        assert left["snnl"] == pytest.approx(right["snnl"], rel=1e-4)


def test_the_input_row_equals_measuring_the_data_alone(entangle, project):
    model = "checkpoints/digits-step1000.onnx"
    with_model = entangle("measure", model, "test", "--layers", "input", "--json", "-q").json
    alone = entangle("measure", "test", "--json", "-q").json
    assert [row["layer"] for row in with_model["rows"]] == ["input"]
    assert with_model["rows"][0]["snnl"] == alone["rows"][0]["snnl"]


def test_a_second_run_reads_the_stored_activations(entangle, project):
    model = "checkpoints/digits-step1000.onnx"
    first = entangle("measure", model, "test", "--json", "-q")
    (stored,) = (project / "entangle-out" / "activations").glob("*.h5")
    written = stored.stat().st_mtime_ns
    again = entangle("measure", model, "test", "--json", "-q")
    assert again.stdout == first.stdout
    assert stored.stat().st_mtime_ns == written


def test_other_layers_are_other_files(entangle, project):
    model = "checkpoints/digits-step1000.onnx"
    entangle("measure", model, "test", "-q", "--layers", "fc1*")
    entangle("measure", model, "test", "-q", "--layers", "fc2")
    assert len(list((project / "entangle-out" / "activations").glob("*.h5"))) == 2


def test_a_checkpoint_that_fails_is_reported_and_the_others_are_measured(entangle, project):
    (project / "checkpoints" / "digits-step0500.onnx").write_bytes(b"not a model")
    found = entangle("measure", "--json")
    assert found.code == 3
    steps = {row["step"] for row in found.json["rows"]}
    assert steps == set(STEPS)
    assert "digits-step0500.onnx" in found.stderr


def test_a_single_checkpoint_that_fails_is_an_error(entangle, project):
    (project / "broken.onnx").write_bytes(b"not a model")
    found = entangle("measure", "broken.onnx", "test")
    assert found.code == 2
    assert found.stdout == ""
    assert "broken.onnx" in found.error


def test_image_folders_and_archives_of_the_same_images_agree(
    entangle, image_folder, trained_onnx, tmp_path
):
    sources = (image_folder, image_folder.parent / "test.npz")
    bodies = [
        entangle("measure", trained_onnx, source, "--json", "-q", "-o", tmp_path / "out").json
        for source in sources
    ]
    for left, right in zip(bodies[0]["rows"], bodies[1]["rows"], strict=True):
        assert left["snnl"] == pytest.approx(right["snnl"], rel=1e-9)


def test_stored_embeddings_are_measured_without_a_model(entangle, tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    points = random.normal(size=(60, 5)).astype(np.float32) + labels[:, None]
    np.savez(tmp_path / "embeddings.npz", x=points, y=labels)
    found = entangle("measure", tmp_path / "embeddings.npz", "--json", "-q", "-o", tmp_path / "out")
    (row,) = found.json["rows"]
    assert (row["layer"], row["dim"], row["n"], row["classes"]) == ("input", 5, 60, 3)
    assert 0 < row["entanglement"] < 1


def test_an_activation_file_is_measured_layer_by_layer(entangle, project):
    model = "checkpoints/digits-step1000.onnx"
    entangle("dump", model, "test", "--file", "acts.h5", "-q")
    stored = entangle("measure", "acts.h5", "--json", "-q").json["rows"]
    direct = entangle("measure", model, "test", "--json", "-q").json["rows"]
    assert [r["layer"] for r in stored] == [r["layer"] for r in direct]
    assert [r["snnl"] for r in stored] == [r["snnl"] for r in direct]


def test_limited_runs_say_so_and_keep_the_class_balance(entangle, project):
    found = entangle("measure", "test", "--limit", "100", "--json")
    assert found.json["rows"][0]["n"] == 100
    assert "LIMITED to 100 of" in found.stderr


def test_csv_on_stdout_has_a_row_per_layer(entangle, project):
    text = entangle("measure", "test", "--format", "csv", "-q").stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row) == ROW_KEYS


def test_the_table_shows_each_step_and_the_trend(entangle, project):
    table = entangle("measure", "-q").stdout
    for step in STEPS:
        assert f"step {step}" in table
    assert "trend" in table


def test_batches_report_the_size_of_a_batch(entangle, project):
    found = entangle("measure", "test", "--protocol", "batches:64x8", "--json", "-q")
    assert found.json["rows"][0]["n"] == 64
    assert found.json["provenance"]["protocol"]["batches"] == 8


def test_a_fixed_temperature_is_reported_back(entangle, project):
    found = entangle("measure", "test", "--temperature", "2.5", "--json", "-q")
    assert found.json["rows"][0]["temperature"] == 2.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tset"], "did you mean 'test'"),
        (["missing.onnx", "test"], "missing.onnx"),
        (["checkpoints/digits-step1000.onnx", "test", "--layers", "fc9"], "fc9"),
        (["checkpoints/digits-step1000.onnx", "test", "--preprocess", "imgnet"], "imagenet"),
        (["test", "--temperature", "-1"], "--temperature"),
        (["test", "--protocol", "batches:3"], "--protocol"),
        (["test", "--device", "cuda:99"], "cuda:99"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(entangle, project, words, message):
    found = entangle("measure", *words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


def test_without_labels_there_is_nothing_to_measure(entangle, tmp_path):
    np.save(tmp_path / "points.npy", np.zeros((10, 3), np.float32))
    found = entangle("measure", tmp_path / "points.npy", "-o", tmp_path / "out")
    assert found.code == 2
    assert "has no labels" in found.error


def test_nothing_given_and_no_project_is_answered(entangle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = entangle("measure")
    assert found.code == 2
    assert "nothing to measure" in found.error


def test_one_sample_per_class_is_refused(entangle, project):
    np.savez("few.npz", images=np.zeros((3, 8, 8), np.uint8), labels=np.arange(3))
    found = entangle("measure", "checkpoints/digits-step1000.onnx", "few.npz")
    assert found.code == 2
    assert found.stdout == ""
    assert "class" in found.stderr


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "some.h5: has no labels"),
        (np.array([-1, -1]), "some.h5: has no labels"),
        (np.array([0, -1, 1]), "some.h5: 1 of 3 samples have no label"),
    ],
)
def test_a_missing_label_is_no_class_of_its_own(labels, message):
    with pytest.raises(MeasureError, match=message):
        every_label(labels, "some.h5")
