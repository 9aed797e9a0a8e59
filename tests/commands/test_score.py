import csv
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from entangle_cli.app import app

MODEL = "checkpoints/digits-step1000.onnx"
RUN = ["ood", "--out", "letters", "--resamples", "40", "--knn", "exact", "-q"]
NEAR = ["-k", "20", "--detectors", "msp,energy,vim,knn,mahalanobis,dknn_*,fisher_knn"]


@pytest.fixture(scope="module")
def finished(project_folder, tmp_path_factory):
    """A project after ``entangle ood``; read it only."""
    folder = tmp_path_factory.mktemp("scored") / "project"
    shutil.copytree(project_folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(app, [*RUN, *NEAR])
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def here(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


@pytest.fixture
def mine(finished, tmp_path, monkeypatch):
    """A copy to damage."""
    shutil.copytree(finished, tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def read_csv(text):
    return list(csv.DictReader(text.splitlines()))


def table_of(name):
    rows = read_csv(Path("entangle-out/ood-scores.csv").read_text())
    return [row for row in rows if row["set"] == name]


def listing(folder):
    return sorted((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*"))


@pytest.mark.parametrize("name", ["test", "letters"])
def test_scores_are_those_of_the_run(entangle, here, name):
    found = entangle("score", MODEL, name, "-q")
    assert found.stderr == ""
    rows, table = read_csv(found.stdout), table_of(name)
    assert [row["id"] for row in rows] == [row["id"] for row in table]
    detectors = list(table[0])[4:]
    assert detectors == list(rows[0])[-len(detectors) :]
    assert len(detectors) == 3 + 4 * 4 + 3
    for detector in detectors:
        ours, theirs = ([float(row[detector]) for row in some] for some in (rows, table))
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-12, err_msg=detector)
    credibility = [float(row["credibility"]) for row in rows]
    assert credibility == [1 - float(row["dknn_credibility@all layers"]) for row in table]


def test_the_verdict_is_that_of_the_threshold(entangle, here):
    known = json.loads(Path("entangle-out/ood.json").read_text())["rows"]
    (judge,) = (row for row in known if row["detector"] == "fisher_knn")
    rows = read_csv(entangle("score", MODEL, "test", "-q").stdout)
    for row in rows:
        assert row["by"] == "fisher_knn@all layers"
        assert float(row["threshold"]) == judge["threshold"]
        assert row["score"] == row[row["by"]]
        outlying = float(row["score"]) > float(row["threshold"])
        assert row["verdict"] == ("out" if outlying else "in")
    assert {row["verdict"] for row in rows} == {"in", "out"}
    assert [row["class"] for row in rows] == [row["prediction"] for row in rows]


def test_one_image_is_judged_as_in_its_folder(entangle, here):
    folder = read_csv(entangle("score", MODEL, "data/letters", "-q").stdout)
    row = folder[123]
    (alone,) = read_csv(entangle("score", MODEL, f"data/letters/{row['id']}", "-q").stdout)
    assert alone["index"] == "0"
    for key in list(row)[2:]:
        if key in ("class", "verdict", "by"):
            assert alone[key] == row[key]
        else:
            assert float(alone[key]) == pytest.approx(float(row[key]), rel=1e-4), key


def test_json_lines_say_the_same(entangle, here):
    lines = entangle("score", MODEL, "test[:5]", "--format", "jsonl", "-q").stdout.splitlines()
    objects = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    rows = read_csv(entangle("score", MODEL, "test[:5]", "-q").stdout)
    assert len(objects) == len(rows) == 5
    for one, row in zip(objects, rows, strict=True):
        scores = one.pop("scores")
        assert {key: str(value) for key, value in (one | scores).items()} == row


def test_a_number_that_is_not_finite_is_null_in_json(here):
    from entangle_cli.commands.score import csv_lines, json_lines
    from entangle_cli.datasets import open_dataset
    from entangle_cli.measures.ood.fitting import FittedDetector
    from entangle_cli.measures.ood.logit_scores import MSP
    from entangle_cli.runs.score import Judged

    judge = FittedDetector("msp", "logits", MSP(), threshold=np.inf)
    scores = {judge.key: np.array([np.inf, 0.5])}
    judged = Judged(open_dataset("digits@test[:2]"), None, None, scores, judge, None)
    first, second = (json.loads(line) for line in json_lines(judged))
    assert (first["score"], first["threshold"], first["scores"]["msp"]) == (None, None, None)
    assert (second["score"], second["verdict"]) == (0.5, "in")
    assert "inf" in next(csv_lines(judged))


def test_nothing_is_written_and_nothing_left_over(entangle, here, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = listing(here)
    assert entangle("score", MODEL, "letters", "-q").code == 0
    assert entangle("score", MODEL, "letters", "--by", "nothing").code == 2
    assert listing(here) == before
    assert list(tmp_path.iterdir()) == []


def test_a_detector_and_its_layer_are_chosen(entangle, here):
    (row,) = read_csv(entangle("score", MODEL, "test[:1]", "--by", "energy", "-q").stdout)
    assert row["by"] == "energy"
    words = ("--by", "knn@fc2", "--detectors", "msp,vim")
    (row,) = read_csv(entangle("score", MODEL, "test[:1]", *words, "-q").stdout)
    assert row["by"] == "knn@fc2"
    assert list(row)[-3:] == ["msp", "vim", "knn@fc2"]
    words = ("--by", "dknn_count@all layers", "--detectors", "msp")
    (row,) = read_csv(entangle("score", MODEL, "test[:1]", *words, "-q").stdout)
    assert row["by"] == "dknn_count@all layers"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([MODEL, "test", "--by", "knn"], "fitted for conv1>maxpool, conv2>maxpool, fc1>relu, fc2"),
        ([MODEL, "test", "--by", "enrgy"], "did you mean 'energy'?"),
        ([MODEL, "test", "--by", "gen"], "not fitted in entangle-out"),
        ([MODEL, "test", "--by", "knn@fc9"], "not fitted in entangle-out"),
        ([MODEL, "test", "--detectors", "nothing"], "detector 'nothing' is unknown"),
        (["checkpoints/digits-step0100.onnx", "test"], "its sha256 differs"),
        ([MODEL.replace(".onnx", ".pt"), "test"], "its sha256 differs"),
        (["checkpoints/*.onnx", "test"], "stands for 5 model files"),
        ([MODEL, "nothing"], "nothing: no such path"),
        ([MODEL, "checkpoints"], "no data set is recognised"),
        ([MODEL, "test", "--fitted", "data"], "holds no fitted.npz"),
        ([MODEL, "test", "--fitted", "nowhere"], "holds no fitted.npz"),
        ([MODEL, "test", "--fitted", MODEL], "not a whole fitted.npz"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(entangle, here, words, message):
    found = entangle("score", *words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


def rewritten(path, change):
    """The same file with another header."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    header = json.loads(bytes(arrays.pop("header")))
    header = change(header) or header
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def without_arrays(path):
    with np.load(path) as stored:
        header = stored["header"]
    np.savez(path, header=header)


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no archive"),
    "flipped": lambda path: path.write_bytes(path.read_bytes().replace(b'"version"', b'"versiom"')),
    "version": lambda path: rewritten(path, lambda header: header.update(version=99)),
    "list": lambda path: rewritten(path, lambda header: [header]),
    "key": lambda path: rewritten(path, lambda header: header.pop("layers") and None),
    "kind": lambda path: rewritten(path, lambda header: header.update(detectors=[3])),
    "named": lambda path: rewritten(
        path, lambda header: header["detectors"][0].update(kind="Popen")
    ),
    "arrays": without_arrays,
    "pickle": lambda path: np.savez(path, header=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_refused_in_one_line(entangle, mine, kind):
    DAMAGE[kind](mine / "entangle-out" / "fitted.npz")
    found = entangle("score", MODEL, "test")
    assert found.code == 2
    assert found.stdout == ""
    assert "fitted.npz" in found.error
    assert "run entangle ood again" in found.error


def test_every_flipped_byte_is_noticed_or_harmless(mine):
    from entangle_cli.errors import UsageError
    from entangle_cli.runs.ood.fitted import read_fitted

    path = mine / "entangle-out" / "fitted.npz"
    whole = path.read_bytes()
    refused = 0
    for position in np.random.default_rng(0).integers(0, len(whole), 40):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            read_fitted(path)
        except UsageError:
            refused += 1
    assert refused > 30


def test_moved_training_activations_are_named(entangle, mine):
    activations = mine / "entangle-out" / "activations"
    activations.rename(mine / "elsewhere")
    found = entangle("score", MODEL, "test", "-q")
    assert found.code == 2
    assert "training activations of the run are gone" in found.error
    words = ("--by", "msp", "--detectors", "msp,energy")
    assert entangle("score", MODEL, "test", *words, "-q").code == 0


def test_other_activations_in_their_place_are_refused(entangle, mine):
    activations = mine / "entangle-out" / "activations"
    stems = {part: next(activations.glob(f"*--{part}--*.h5")) for part in ("train", "letters")}
    for suffix in (".h5", ".journal", ".manifest.json"):
        shutil.copy(stems["letters"].with_suffix(suffix), stems["train"].with_suffix(suffix))
    found = entangle("score", MODEL, "test", "-q")
    assert found.code == 2
    assert "not the training activations of the run" in found.error


def test_the_run_may_be_moved_as_a_whole(entangle, mine):
    (mine / "entangle-out").rename(mine / "kept")
    found = entangle("score", MODEL, "letters[:3]", "--fitted", "kept", "-q")
    assert len(read_csv(found.stdout)) == 3
    direct = entangle("score", MODEL, "letters[:3]", "--fitted", "kept/fitted.npz", "-q")
    assert direct.stdout == found.stdout


def test_without_calibration_there_is_no_verdict(entangle, mine):
    words = ("--calib", "none", "--detectors", "msp")
    assert entangle(*RUN, *words).code == 0
    found = entangle("score", MODEL, "test[:2]")
    assert "no threshold, so no verdict" in found.stderr
    assert [row["verdict"] for row in read_csv(found.stdout)] == ["", ""]


def test_inputs_of_another_kind_are_refused(entangle, here, tmp_path):
    np.savez(tmp_path / "points.npz", x=np.zeros((3, 64), np.float32))
    found = entangle("score", MODEL, tmp_path / "points.npz")
    assert found.code == 2
    assert "was fitted on images" in found.error


def test_the_file_is_an_archive_without_pickles(here):
    with zipfile.ZipFile("entangle-out/fitted.npz") as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load("entangle-out/fitted.npz", allow_pickle=False) as stored:
        assert json.loads(bytes(stored["header"]))["version"] == 1
        assert all(stored[name].dtype.kind in "biuf" for name in stored.files)
