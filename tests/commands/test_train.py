import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SHORT = ("train", "digits@train", "--test", "digits@test", "--network", "mlp", "--steps", 20)


def test_a_row_per_checkpoint_and_files_that_can_be_measured(entangle, tmp_path):
    folder = tmp_path / "out"
    options = ("--alpha", -0.1, "--checkpoints", 3, "-o", folder)
    found = entangle(*SHORT, *options, "--json")
    assert found.code == 0, found.stderr
    assert [row["step"] for row in found.json["rows"]] == [0, 10, 20]
    assert set(found.json["rows"][0]) >= {"accuracy", "cross_entropy", "entanglement fc1>relu"}
    assert found.json["provenance"]["settings"]["alpha"] == -0.1
    assert "hidden layers fc1>relu, fc2>relu" in found.stderr
    written = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert written == [f"mlp-step{s:02d}.{kind}" for s in (0, 10, 20) for kind in ("onnx", "pt")]
    with open(folder / "train-history.csv") as file:
        history = list(csv.DictReader(file))
    assert [row["step"] for row in history] == ["0", "10", "20"]
    assert float(history[1]["snnl fc1>relu"]) > 0
    assert float(history[2]["test_accuracy"]) == found.json["rows"][2]["accuracy"]
    for kind in ("onnx", "pt"):
        names = sorted((folder / "checkpoints").glob(f"*.{kind}"))
        measured = entangle("measure", *names, "digits@test", "-o", tmp_path / kind, "--json")
        assert measured.code == 0, measured.stderr
        models = measured.json["models"]
        assert [m["step"] for m in models] == [0, 10, 20]
        # so the preprocessing inside is that of the training
        assert [m["accuracy"] for m in models] == pytest.approx(
            [row["accuracy"] for row in found.json["rows"]], abs=0.003
        )
        assert "in the model" in models[0]["preprocessing"]


def test_colored_images_keep_their_colors(entangle, tmp_path):
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = generator.integers(0, 50, (60, 6, 6, 3), dtype=np.uint8)
    images[np.arange(60), :, :, labels] += 180
    np.savez(tmp_path / "rgb.npz", images=images, labels=labels)
    data = tmp_path / "rgb.npz"
    options = ("--steps", 60, "--learning-rate", 0.01, "--checkpoints", 1, "-o", tmp_path / "o")
    found = entangle("train", data, "--test", data, *options, "--json", "-q")
    assert found.json["rows"][0]["accuracy"] == 1
    model = tmp_path / "o" / "checkpoints" / "cnn-step60.onnx"
    measured = entangle("measure", model, data, "-o", tmp_path / "m", "--json", "-q")
    assert measured.json["models"][0]["accuracy"] == 1
    assert measured.json["models"][0]["preprocessing"].startswith("6x6 rgb, pixels/255")


def test_the_same_command_goes_on_and_another_is_refused(entangle, tmp_path):
    first = entangle(*SHORT, "-o", tmp_path, "--json", "-q")
    again = entangle(*SHORT, "-o", tmp_path, "--json")
    assert again.stdout == first.stdout
    assert "going on from" in again.stderr
    other = entangle(*SHORT, "-o", tmp_path, "--alpha", 1)
    assert other.code == 2
    assert "alpha 0.0 then, 1.0 now" in other.error
    smaller = entangle(*SHORT, "-o", tmp_path, "--limit", 100)
    assert smaller.code == 2
    assert "data '" in smaller.error
    assert entangle(*SHORT, "-o", tmp_path, "--alpha", 1, "--overwrite", "-q").code == 0


def test_ctrl_c_commits_and_the_same_command_resumes(entangle, tmp_path, monkeypatch):
    from entangle_cli.training.loop import Training

    whole = entangle(*SHORT, "-o", tmp_path / "whole", "--json", "-q")
    advance = Training.advance

    def interrupted(self):
        advance(self)
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Training, "advance", interrupted)
    stopped = entangle(*SHORT, "-o", tmp_path / "stopped")
    assert stopped.code == 130
    assert "the same command resumes" in stopped.stderr
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.setattr(Training, "advance", advance)
    resumed = entangle(*SHORT, "-o", tmp_path / "stopped", "--json", "-q")
    assert resumed.json["rows"] == whole.json["rows"]
    ours, theirs = (
        (tmp_path / name / "checkpoints" / "mlp-step20.onnx").read_bytes()
        for name in ("stopped", "whole")
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--temperature", "lowest"), "--temperature lowest: give minimum, learned"),
        (("--temperature", "-1"), "--temperature -1: give"),
        (("--layers", "fc3"), "layer fc3: is the logit layer"),
        (("--layers", "conv*"), "no layer matches conv*"),
        (("--checkpoints", "0,99"), "step 99 is beyond the 20 steps"),
        (("--learning-rate", "0"), "learning rate 0.0; give a positive number"),
        (("--alpha", "nan"), "alpha nan; give a number"),
        (("--test", "nowhere"), "nowhere"),
    ],
)
def test_wrong_use_is_one_line(entangle, tmp_path, words, message):
    found = entangle(*SHORT, *words, "-o", tmp_path)
    assert found.code == 2
    assert message in found.error


def test_data_that_cannot_be_trained_on_is_one_line(entangle, tmp_path):
    np.savez(tmp_path / "points.npz", x=np.ones((8, 5), np.float32), labels=np.arange(8) % 2)
    np.savez(tmp_path / "one.npz", images=np.ones((8, 5, 5), np.uint8), labels=np.zeros(8, int))
    for name, message in (("points", "holds arrays; training takes images"), ("one", "one class")):
        found = entangle("train", tmp_path / f"{name}.npz", "-o", tmp_path / "out")
        assert found.code == 2
        assert message in found.error


def test_the_example_of_the_page_runs_as_it_stands(tmp_path):
    """A user's own network and loop, and the saved checkpoints measured."""
    text = PAGE.read_text()
    code, *_ = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 24
    (tmp_path / "own.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "own.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    commands = re.findall(r"^entangle measure .*$", text, re.MULTILINE)
    line = next(line for line in commands if "own-" in line).removeprefix("entangle ")
    done = subprocess.run(
        f"{sys.executable} -m entangle_cli {line} --json",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "own-step100.onnx" in done.stdout
