import csv
import json
import math
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from entangle_cli.datasets import open_dataset

MODEL = "checkpoints/digits-step1000.onnx"
KEYS = [
    "detector", "layer", "in", "out", "n_in", "n_out",
    "auroc", "aupr_in", "aupr_out", "fpr95_in", "fpr95_out", "dtacc", "auroc_low", "auroc_high",
    "threshold", "note",
]  # fmt: skip
METRICS = KEYS[6:14]
FAST = ("--resamples", "40", "--knn", "exact", "--json", "-q")
LOGITS = ["msp", "max_logit", "energy", "entropy", "gen"]


def read_csv(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def by_key(rows, out="letters"):
    return {(row["detector"], row["layer"]): row for row in rows if row["out"] == out}


def scores_of(folder, name):
    """The scores of one set in ood-scores.csv, by column."""
    rows = read_csv(folder / "entangle-out" / "ood-scores.csv")
    rows = [row for row in rows if row["set"] == name]
    columns = list(rows[0])[4:]
    return {c: np.array([float(row[c] or "nan") for row in rows]) for c in columns}


def column(row):
    place = row["layer"]
    return row["detector"] + ("" if place in ("logits", "features") else f"@{place}")


@pytest.fixture(scope="module")
def finished(project_folder, tmp_path_factory):
    """A project after ``ood --in test --out letters``, and what that said; read it only."""
    from typer.testing import CliRunner

    from entangle_cli.app import app

    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(project_folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["ood", "--in", "test", "--out", "letters", "--json"]
        result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    return folder, json.loads(result.stdout), result.stderr


@pytest.fixture
def done(finished, tmp_path, monkeypatch):
    """A copy of that folder as the current one."""
    shutil.copytree(finished[0], tmp_path / "done")
    monkeypatch.chdir(tmp_path / "done")
    return tmp_path / "done"


def test_the_readme_line_prints_a_table_with_the_best_marked(entangle, done):
    found = entangle("ood", "--in", "test", "--out", "letters", "--resamples", "40")
    assert found.code == 0
    lines = [line for line in found.stdout.splitlines() if "letters" in line]
    assert lines[0].split()[0] == "*"
    assert sum(line.split()[0] == "*" for line in lines) == 1
    assert "took the last, digits-step1000.onnx" in found.stderr
    assert "fitted.npz" in found.stderr


def test_rows_have_the_promised_keys(finished):
    _, body, stderr = finished
    assert all(list(row) == KEYS for row in body["rows"])
    sizes = {(row["in"], row["out"], row["n_in"], row["n_out"]) for row in body["rows"]}
    assert sizes == {("test", "letters", 364, 300)}
    assert len(body["rows"]) == 20 + 6 * 4 + 7
    assert all(row["note"] == "" for row in body["rows"])
    assert body["provenance"]["k"] == 75
    assert "error" not in stderr


def test_rows_are_sorted_and_written_as_they_are_printed(finished):
    folder, body, _ = finished
    aurocs = [row["auroc"] for row in body["rows"]]
    assert aurocs == sorted(aurocs, reverse=True)
    written = read_csv(folder / "entangle-out" / "ood.csv")
    assert [float(row["auroc"]) for row in written] == aurocs


def test_numbers_are_those_of_the_scores_by_scikit_learn(finished):
    folder, body, _ = finished
    inside, outside = scores_of(folder, "test"), scores_of(folder, "letters")
    assert len(inside) == len(body["rows"])
    is_out = np.repeat([0, 1], [364, 300])
    for row in body["rows"]:
        both = np.concatenate([inside[column(row)], outside[column(row)]])
        assert row["auroc"] == pytest.approx(roc_auc_score(is_out, both), abs=1e-12)
        assert row["aupr_out"] == pytest.approx(average_precision_score(is_out, both), abs=1e-9)
        in_ = average_precision_score(1 - is_out, -both)
        assert row["aupr_in"] == pytest.approx(in_, abs=1e-9)
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]


def test_thresholds_keep_what_they_promise(finished):
    folder, body, _ = finished
    inside = scores_of(folder, "test")
    # 95 % of both 359 calibration and 364 inside inputs, each sampled: 4 standard deviations
    margin = 4 * math.sqrt(0.95 * 0.05 * (1 / 359 + 1 / 364))
    for row in body["rows"]:
        kept = (inside[column(row)] <= row["threshold"]).mean()
        assert kept > 0.95 - margin, row["detector"]
        if len(set(inside[column(row)])) > 300:
            assert kept < 0.95 + margin, row["detector"]


def test_score_rows_name_the_inputs(finished):
    rows = read_csv(finished[0] / "entangle-out" / "ood-scores.csv")
    assert list(rows[0])[:4] == ["set", "index", "id", "label"]
    assert [int(row["index"]) for row in rows] == [*range(364), *range(300)]
    digits = open_dataset("digits@test")
    assert [row["id"] for row in rows[:364]] == list(digits.ids)
    assert [int(row["label"]) for row in rows[:364]] == digits.labels.tolist()


def test_logit_detectors_need_no_other_data(entangle, done, finished):
    found = entangle("ood", "--out", "letters", "--train", "none", "--calib", "none", *FAST)
    alone, full = by_key(found.json["rows"]), by_key(finished[1]["rows"])
    for name in LOGITS:
        one, other = alone[name, "logits"], full[name, "logits"]
        assert one["threshold"] is None
        assert [one[m] for m in METRICS[:6]] == [other[m] for m in METRICS[:6]]
    missing = {key: row["note"] for key, row in alone.items() if row["auroc"] is None}
    assert "give --train" in missing["knn", "fc2"]
    assert "give --train" in missing["vim", "features"]
    assert "give --calib" in missing["temperature_msp", "logits"]
    assert all(alone[key]["auroc"] is not None or note for key, note in missing.items())


def test_rows_without_numbers_come_last_and_are_told_apart(entangle, done):
    words = ("ood", "--out", "letters", "--calib", "none", "--detectors", "msp,fisher*,kl_*")
    rows = entangle(*words, *FAST).json["rows"]
    numbers = [row["auroc"] is not None for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers.count(True) == 1
    table = entangle(*words, "--resamples", "40", "-q").stdout
    assert "Not computed" in table
    assert "needs calibration data: give --calib" in table


def test_several_outside_sets_have_means(entangle, done):
    (done / "entangle.toml").write_text(
        (done / "entangle.toml").read_text() + 'mean = "digits@holdout"\n'
    )
    words = ("--out", "letters", "--out", "mean", "--detectors", "msp,knn,energy")
    rows = entangle("ood", *words, *FAST, "--force").json["rows"]
    outs = [row["out"] for row in rows]
    assert outs == ["letters", "mean (2)", "mean"] * 6
    groups = [rows[i : i + 3] for i in range(0, 18, 3)]
    for one, two, mean in groups:
        assert mean["n_out"] == one["n_out"] + two["n_out"]
        assert mean["auroc_low"] is None
        for metric in METRICS[:6]:
            assert mean[metric] == pytest.approx((one[metric] + two[metric]) / 2, rel=1e-12)
    means = [mean["auroc"] for *_, mean in groups]
    assert means == sorted(means, reverse=True)
    table = entangle("ood", *words, "--resamples", "40", "--force", "-q").stdout
    assert table.splitlines()[3].split()[0] == "detector"
    first = next(line for line in table.splitlines() if line.strip().startswith("*"))
    assert groups[0][0]["detector"] in first


def test_sets_of_one_name_are_told_apart(entangle, done):
    pixels = np.stack(open_dataset("digits@test").images(np.arange(60)))[..., 0]
    for name, images in (("one", 255 - pixels), ("two", pixels[:, ::-1])):
        (done / name).mkdir()
        np.savez(done / name / "test.npz", images=images)
    words = ("--out", "one/test.npz", "--out", "two/test.npz", "--out", "letters")
    found = entangle("ood", *words, "--out", "letters", "--detectors", "msp", *FAST).json
    outs = [row["out"] for row in found["rows"]]
    assert outs == ["one/test.npz", "two/test.npz", "letters", "letters (2)", "mean"]
    assert len({row["auroc"] for row in found["rows"][:3]}) == 3
    assert len(scores_of(done, "two/test.npz")["msp"]) == 60


def test_a_gate_fails_after_everything_is_written(entangle, done):
    shutil.rmtree(done / "entangle-out")
    words = ("ood", "--out", "letters", "--detectors", "msp,energy", *FAST)
    found = entangle(*words, "--fail-if", "auroc<0.999")
    assert found.code == 4
    assert "2 of 2 rows fail" in found.error
    assert len(found.json["rows"]) == 2
    written = {path.name for path in (done / "entangle-out").iterdir()}
    assert {"ood.csv", "ood-scores.csv", "fitted.npz"} <= written
    assert entangle(*words, "--fail-if", "auroc<0.5").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "letters", "--fail-if", "speed<1"], "no metric 'speed'"),
        (["--out", "letters", "--fail-if", "auroc=1"], "not a condition"),
        (["--out", "letters", "--detectors", "msq"], "did you mean 'msp'?"),
        (["--out", "lettres"], "did you mean 'letters'?"),
        (["--out", "letters", "--train", "nothing"], "nothing: no such path"),
        ([], "give --out DATA"),
        (["--out", "letters", "--layers", "fc9"], "fc9"),
        (["--out", "letters", "--layers", "input", "--detectors", "knn"], "--layers"),
        (["--out", "letters", "--calib", "digits@test[:100]"], "100 of 100 calibration samples"),
    ],
)
def test_a_wrong_word_is_answered_before_any_work(entangle, project, words, message):
    found = entangle("ood", *words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error
    assert not (project / "entangle-out").exists()


def test_too_few_resamples_are_refused_by_the_parser(entangle, project):
    assert entangle("ood", "--out", "letters", "--resamples", "39").code == 2


def test_forced_overlap_is_noted(entangle, done):
    words = ("ood", "--out", "letters", "--calib", "digits@test[:100]", "--detectors", "msp")
    notes = entangle(*words, "--force", *FAST).json["notes"]
    assert any("thresholds and credibilities are not valid" in note for note in notes)


def test_inside_data_that_was_trained_on_is_noted(entangle, done):
    body = entangle("ood", "--in", "train", "--out", "letters", "--detectors", "knn", *FAST).json
    assert body["notes"] == [
        "1074 of 1074 samples of train are also in the training data train: the numbers are not "
        "those of separate sets"
    ]
    # no input is its own neighbor
    assert scores_of(done, "train")["knn@fc2"].min() > 0


def test_an_outside_set_that_is_the_inside_set_is_noted(entangle, done):
    body = entangle("ood", "--out", "test", "--detectors", "msp", *FAST).json
    assert body["rows"][0]["auroc"] == 0.5
    assert "in the outside data test" in body["notes"][0]
    words = ("--out", "holdout", "--out", "digits@train[:9]", "--detectors", "msp")
    notes = entangle("ood", *words, *FAST).json["notes"]
    assert [note.partition(": ")[0] for note in notes] == [
        "9 of 9 samples of digits@train[0:9] are also in the training data train",
        "359 of 359 samples of holdout are also in the calibration data holdout",
    ]


def test_as_many_neighbors_as_there_are(entangle, done):
    few = "digits@train[:60]"
    words = ("--in", few, "--train", few, "--out", "letters", "--detectors", "knn,dknn_count")
    body = entangle("ood", *words, "-k", "9999", *FAST).json
    assert "60 training samples: 59 neighbors, not 9999" in body["notes"]
    assert body["provenance"]["k"] == 59
    assert all(row["auroc"] is not None for row in body["rows"])
    scored = entangle("score", MODEL, "letters", "--detectors", "knn", "--by", "knn@fc2", "-q")
    column = [float(row["knn@fc2"]) for row in csv.DictReader(scored.stdout.splitlines())]
    np.testing.assert_allclose(column, scores_of(done, "letters")["knn@fc2"], rtol=1e-4)


def test_a_limit_is_about_what_is_judged(entangle, done):
    words = ("ood", "--out", "letters", "--detectors", "msp,knn,temperature_msp")
    found = entangle(*words, "--limit", "20", "--resamples", "40", "--json")
    rows = found.json["rows"]
    assert {(row["n_in"], row["n_out"]) for row in rows} == {(20, 20)}
    assert found.json["provenance"]["train"]["samples"] == 1074
    assert "LIMITED to 20 of 364" in found.stderr
    assert len(scores_of(done, "test")["msp"]) == 20
    assert entangle(*words, "--limit", "1", *FAST).code == 0


def test_quiet_says_nothing_and_json_is_alone(entangle, done):
    found = entangle("ood", "--out", "letters", "--detectors", "msp", "-q", "--json")
    assert found.stderr == ""
    assert found.stdout.count("\n") == 1
    assert json.loads(found.stdout)["command"] == "ood"


def test_the_second_run_reads_the_stored_neighbors(entangle, done, finished, monkeypatch):
    def refuse(*words, **options):
        raise AssertionError("searched again")

    monkeypatch.setattr("entangle_cli.runs.shared.searching.build_index", refuse)
    monkeypatch.setattr("entangle_cli.activations.dump.ActivationWriter", refuse)
    again = entangle("ood", "--in", "test", "--out", "letters", "--json", "-q")
    assert again.json["rows"] == finished[1]["rows"]


def test_data_without_labels_lack_only_what_needs_labels(entangle, done):
    def unlabeled(split):
        data = open_dataset(f"digits@{split}")
        path = done / f"{split}.npz"
        np.savez(path, images=np.stack(data.images(np.arange(len(data))))[..., 0])
        return path

    sets = {role: unlabeled(split) for role, split in
            (("--in", "test"), ("--train", "train"), ("--calib", "holdout"))}  # fmt: skip
    words = [word for pair in sets.items() for word in pair]
    rows = by_key(entangle("ood", *words, "--out", "letters", *FAST).json["rows"])
    without = {name for (name, _), row in rows.items() if row["auroc"] is None}
    assert without == {
        "temperature_msp", "she", "mahalanobis", "rmds", "snnl_point", "dknn_count",
        "dknn_credibility", "fisher_mahalanobis", "fisher_rmds", "fisher_dknn", "fisher_snnl",
    }  # fmt: skip
    assert rows["knn", "fc2"]["auroc"] is not None
    assert rows["fisher_knn", "all layers"]["threshold"] is not None


def test_calibration_of_other_classes_is_said(entangle, done):
    words = ("--calib", "letters", "--detectors", "dknn_credibility,kl_matching")
    found = entangle("ood", "--out", "test", "--in", "train", *words, *FAST).json
    assert any("letters: its classes (A, B, C, ...) are not those" in n for n in found["notes"])
    rows = by_key(found["rows"], out="test")
    assert "needs calibration data with labels" in rows["dknn_credibility", "fc2"]["note"]
    assert rows["kl_matching", "logits"]["auroc"] is not None


def test_torchscript_gives_the_same_numbers(entangle, done, finished):
    words = ("ood", MODEL.replace(".onnx", ".pt"), "--out", "letters")
    rows = by_key(entangle(*words, *FAST).json["rows"])
    for key, other in by_key(finished[1]["rows"]).items():
        # counts of neighbors change by whole numbers where two are equally near
        margin = 1e-3 if "dknn" in key[0] else 1e-5
        assert rows[key]["auroc"] == pytest.approx(other["auroc"], abs=margin), key


def test_a_file_that_was_replaced_is_left_whole(entangle, done, monkeypatch):
    before = (done / "entangle-out" / "fitted.npz").read_bytes()

    def fail(*words, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("entangle_cli.runs.ood.fitted.write_arrays", fail)
    found = entangle("ood", "--out", "letters", "--detectors", "msp", *FAST)
    assert found.code == 3
    assert (done / "entangle-out" / "fitted.npz").read_bytes() == before
    assert not list((done / "entangle-out").glob("*.tmp"))
