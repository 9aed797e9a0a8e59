"""What is spread over an engine has the bytes of one process, whatever the order and the deaths.

The engine here does the units in this process in an order of its own; Ray has its tests in
``test_ray.py``.
"""

import subprocess
import sys

import pytest

from entangle_cli.engines.interface import Unit
from entangle_cli.engines.local import LocalEngine
from entangle_cli.errors import MeasureError
from entangle_cli.progress import silent
from tests.engines.workload import contents

MODEL = "checkpoints/digits-step1000.onnx"
SERIES = "checkpoints/digits-step0[01]*0.onnx"
SPREAD = ("--engine", "ray", "--num-workers", "2")


@pytest.mark.parametrize(
    "words",
    [
        ("dump", MODEL, "train", "-b", 64),
        ("measure", SERIES, "test", "-b", 64, "--layers", "input", "--layers", "fc*"),
        ("measure", MODEL, "test", "--layers", "fc1", "--class-pairs"),
        ("dknn", "-b", 64),
        ("ood", "--in", "test", "--out", "letters", "--train", "train", "--calib", "holdout"),
    ],
    ids=["dump", "measure", "pairs", "dknn", "ood"],
)
def test_bytes_are_those_of_one_process(entangle, project, disordered, words):
    here = entangle(*words, "-o", "here", "--json", "-q")
    there = entangle(*words, "-o", "there", "--json", "-q", *SPREAD)
    assert (here.code, there.code) == (0, 0), there.stderr
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert contents(project / "there") == contents(project / "here")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_order_of_the_units_does_not_matter(entangle, project, disordered, monkeypatch, order):
    monkeypatch.setattr(disordered, "seed", order)
    entangle("dump", MODEL, "train", "-b", 16, "-o", "here", "-q")
    entangle("dump", MODEL, "train", "-b", 16, "-o", "there", "-q", *SPREAD)
    assert contents(project / "there") == contents(project / "here")


def test_a_deadly_part_is_named_and_the_others_are_kept(entangle, project, disordered, monkeypatch):
    words = ("dump", MODEL, "train", "-b", 64, "-o", "there", "-q")
    monkeypatch.setattr(disordered, "deadly", "samples 256 to 512")
    found = entangle(*words, *SPREAD)
    assert found.code == 3
    assert "digits-step1000.onnx on train, samples 256 to 512: 4 workers died" in found.error
    parts = [path.name for path in (project / "there").rglob("rows-*.h5")]
    assert sorted(name.split(".")[0] for name in parts) == [
        "rows-1024-1074", "rows-512-768", "rows-768-1024"]  # fmt: skip
    monkeypatch.setattr(disordered, "deadly", "nothing")
    assert entangle(*words, *SPREAD).code == 0
    entangle("dump", MODEL, "train", "-b", 64, "-o", "here", "-q")
    assert contents(project / "there") == contents(project / "here")


def test_a_dump_begun_by_workers_goes_on_here(entangle, project, disordered, monkeypatch):
    words = ("dump", MODEL, "train", "-b", 64, "-q")
    monkeypatch.setattr(disordered, "deadly", "samples 512 to 768")
    assert entangle(*words, "-o", "there", *SPREAD).code == 3
    entangle(*words, "-o", "there")
    entangle(*words, "-o", "here")
    stores = [contents(project / name / "activations") for name in ("there", "here")]
    assert {name: data for name, data in stores[0].items() if "parts" not in name} == stores[1]


def test_a_deadly_layer_is_named_and_the_others_are_measured(
    entangle, project, disordered, monkeypatch
):
    words = ("measure", MODEL, "test", "--layers", "fc*", "-o", "there", "-q", "--json")
    monkeypatch.setattr(disordered, "deadly", "layer fc1>relu")
    found = entangle(*words, *SPREAD)
    assert found.code == 3
    assert [row["layer"] for row in found.json["rows"]] == ["fc1", "fc2"]
    assert "layer fc1>relu" in found.stderr
    assert "4 workers died" in found.stderr


def test_a_checkpoint_that_cannot_be_dumped_does_not_stop_the_others(
    entangle, project, disordered, monkeypatch
):
    monkeypatch.setattr(disordered, "deadly", "digits-step0030.onnx")
    words = ("measure", SERIES, "test", "--layers", "fc2", "-o", "there", "-q", "--json")
    found = entangle(*words, *SPREAD)
    assert found.code == 3
    assert [row["step"] for row in found.json["rows"]] == [0, 100]
    assert "digits-step0030.onnx on test, samples 0 to 364" in found.stderr


def test_overwriting_computes_anew_and_keeps_the_bytes(entangle, project, disordered):
    words = ("measure", MODEL, "test", "--layers", "fc*", "-o", "there", "-q", *SPREAD)
    assert entangle(*words).code == 0
    before = contents(project / "there")
    assert entangle(*words, "--overwrite").code == 0
    assert contents(project / "there") == before


def test_the_local_engine_goes_on_after_a_failure():
    def work(number: int) -> int:
        if number == 2:
            raise MeasureError("two")
        return number * number

    units = [Unit(f"unit {number}", number) for number in range(4)]
    outcomes = list(LocalEngine().run(work, units, silent))
    assert [outcome.value for outcome in outcomes] == [0, 1, None, 9]
    assert [str(o.error) for o in outcomes if o.error] == ["two"]


@pytest.mark.parametrize("option", ["--address", "--num-workers", "--max-retries"])
def test_options_of_a_cluster_need_one(entangle, project, option):
    found = entangle("dump", MODEL, "test", option, "1")
    assert found.code == 2
    assert "give --engine ray as well" in found.error


def test_without_ray_one_line_names_the_extra(project, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('none', name='ray')\n")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; " \
        "runpy.run_module('entangle_cli', run_name='__main__')"  # fmt: skip
    words = ["dump", MODEL, "test", "--engine", "ray"]
    found = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "pip install 'entangle-cli[ray]'" in found.stderr
