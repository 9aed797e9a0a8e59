"""What a stranger gets wrong, and what the machine refuses: one line, the right exit code."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

MODEL = "checkpoints/digits-step1000.onnx"


def shell(line: str, **options) -> subprocess.CompletedProcess:
    """A line for bash, with the command line as ``$E``; stops at a failure within a pipe."""
    environment = {**os.environ, "E": f"{sys.executable} -m entangle_cli"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment | options.pop("env", {}),
        **options,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["measure", "--layers", "fc9*"], "no layer matches 'fc9*'"),
        (["measure", "--preprocess", "nothing.json"], "nothing.json"),
        (["measure", "--protocol", "batches:99999x2"], "batches of 99999 from 364 points"),
        (["measure", "--batch-size", "0"], "--batch-size 0"),
        (["measure", "test", "test"], "test: a data set; models come first"),
        (["measure", "test", "-o", MODEL], "Not a directory"),
        (["layers", MODEL, "--input-shape", "a,b"], "--input-shape a,b"),
        (["demo", MODEL], "a file, not a folder"),
    ],
)
def test_a_mistake_is_said_once_whatever_the_number_of_checkpoints(
    entangle, project, words, message
):
    found = entangle(*words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


@pytest.mark.parametrize("command", [["measure", "test"], ["dump", MODEL, "test"], ["demo"]])
def test_a_negative_seed_is_a_wrong_command_line(entangle, project, command):
    found = entangle(*command, "--seed", "-1")
    assert found.code == 2
    assert "--seed" in found.stderr


def test_checkpoints_that_fail_for_different_reasons_are_each_named(entangle, project):
    (project / "a.onnx").write_text("<html></html>")
    (project / "b.onnx").write_bytes(b"")
    found = entangle("measure", "a.onnx", "b.onnx", "test")
    assert found.code == 2
    lines = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert ["a.onnx" in lines[0], "b.onnx" in lines[1], "none of 2" in lines[2]] == [True] * 3


def test_models_of_one_name_in_different_folders_stay_apart(entangle, project):
    for folder, step in (("first", "1000"), ("second", "0000")):
        (project / folder).mkdir()
        source = project / f"checkpoints/digits-step{step}.onnx"
        (project / folder / "net.onnx").write_bytes(source.read_bytes())
    words = ("measure", "first/net.onnx", "second/net.onnx", "test", "--layers", "fc2", "-q")
    rows = entangle(*words, "--json").json["rows"]
    assert [row["model"] for row in rows] == ["first/net.onnx", "second/net.onnx"]
    table = entangle(*words).stdout
    assert f"{rows[0]['entanglement']:.4f}" in table
    assert f"{rows[1]['entanglement']:.4f}" in table
    assert "trend" not in table


def test_two_series_at_once_are_not_shown_as_one(entangle, project):
    models = [f"checkpoints/digits-step{s}.{k}" for k in ("onnx", "pt") for s in ("0000", "1000")]
    table = entangle("measure", *models, "test", "--layers", "fc2", "-q").stdout
    assert "step 0 " not in table
    assert "trend" not in table


def test_an_incomplete_activation_file_is_not_measured(entangle, project, monkeypatch):
    from entangle_cli.models.onnx.model import OnnxModel

    run, calls = OnnxModel.run, []

    def stopping(self, *args):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return run(self, *args)

    words = ("dump", MODEL, "test", "--file", "acts.h5", "-b", "16", "-q")
    monkeypatch.setattr(OnnxModel, "run", stopping)
    assert entangle(*words).code == 130
    found = entangle("measure", "acts.h5")
    assert found.code == 2
    assert "incomplete" in found.error
    monkeypatch.setattr(OnnxModel, "run", run)
    assert entangle(*words).code == 0
    assert entangle("measure", "acts.h5", "-q").code == 0


def test_data_alone_says_nothing_odd_about_progress(entangle, project):
    found = entangle("measure", "test", "--json")
    assert found.stderr.splitlines()[0].startswith("wrote ")


def test_layers_of_a_model_take_few_samples_without_a_warning(entangle, project):
    found = entangle("layers", MODEL, "letters", "--json")
    assert found.code == 0
    assert "LIMITED" not in found.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 3, "free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "out/x"), 2, "out/x: Permission"),
        (MemoryError("Unable to allocate 71 PiB"), 3, "not enough memory"),
    ],
)
def test_what_the_machine_refuses_is_no_bug(entangle, project, monkeypatch, error, code, message):
    def refused(*args, **kwargs):
        raise error

    monkeypatch.setattr("entangle_cli.results.Result.write", refused)
    found = entangle("measure", "test")
    assert found.code == code
    assert message in found.error


def test_points_in_double_precision_stay_apart_far_from_the_origin(entangle, tmp_path):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    points = random.normal(size=(60, 5)) + labels[:, None]
    found = []
    for shift in (0.0, 2.0**27):
        np.savez(tmp_path / "points.npz", x=points.round(6) + shift, y=labels)
        words = ("measure", tmp_path / "points.npz", "-o", tmp_path / "out", "--json", "-q")
        found.append(entangle(*words).json["rows"][0])
    assert found[0]["snnl"] == pytest.approx(found[1]["snnl"], rel=1e-5)
    assert found[0]["knn_accuracy"] == found[1]["knn_accuracy"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_a_full_stdout_is_exit_code_three(project, format):
    done = shell(f"$E inspect test --format {format} > /dev/full")
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_streams_that_are_closed_are_no_bug(project):
    assert shell("$E inspect test >&-").returncode == 0
    assert shell("$E inspect test --json 2>&- | head -c 1").returncode == 0
    assert shell("$E inspect test --json | true").returncode == 0


@pytest.mark.parametrize("format", ["table", "json", "csv"])
def test_names_beyond_ascii_are_shown_in_any_locale(image_folder, tmp_path, format):
    for number, name in enumerate(("klässe", "日本", "[bold]\x1b[31m")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for image in list((image_folder / str(number)).iterdir())[:2]:
            (tmp_path / "data" / name / f"é{image.name}").write_bytes(image.read_bytes())
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for env in (plain, {"LC_ALL": "C.UTF-8"}):
        done = shell(f"$E inspect data --format {format}", cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        if format == "json":
            assert len(json.loads(done.stdout)["rows"]) == 3


def test_a_file_name_that_is_no_text_is_answered(project):
    name = os.fsdecode(b"a\xff.onnx")
    (project / name).write_bytes((project / MODEL).read_bytes())
    done = shell("$E measure a*.onnx test")
    assert done.returncode == 2
    assert done.stderr.startswith("error: a\\udcff.onnx: its name is not UTF-8")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["--help", "measure --help", "--version"])
def test_help_into_a_full_disk_is_one_line(words):
    done = shell(f"$E {words} > /dev/full")
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_very_long_name_in_a_message_loses_its_middle(entangle, tmp_path):
    found = entangle("inspect", f"{tmp_path}/{'x' * 5000}.npz")
    assert found.code == 2
    assert len(found.error) < 1300
    assert " … " in found.error
    assert found.error.endswith("check the path and its permissions")
