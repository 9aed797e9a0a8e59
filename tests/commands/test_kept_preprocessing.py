"""What was probed on one data set holds for every command into the same folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from entangle_cli.datasets import open_dataset


@pytest.fixture
def raw_model(tmp_path, monkeypatch):
    """A classifier of digits by class means of pixels 0-255, which fails on pixels 0-1."""
    digits = open_dataset("digits@train")
    pixels = np.stack(digits.images(range(len(digits)))).reshape(len(digits), -1).astype(np.float32)
    means = np.stack([pixels[digits.labels == c].mean(axis=0) for c in range(10)])
    weights = {"w": means.T.copy(), "b": -(means**2).sum(axis=1) / 2}
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"], "scores"),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])]
        for name, shape in (("x", (1, 8, 8)), ("y", (10,)))
    ]
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    monkeypatch.chdir(tmp_path)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), "raw.onnx")
    test = open_dataset("digits@test")
    images = np.stack(test.images(range(60)))[..., 0]
    np.save("unlabeled.npy", images)
    return "raw.onnx"


def between(entangle, folder, *more):
    """How images are fed by a command whose first set has no labels."""
    words = ("unlabeled.npy", "digits@test[60:120]", "--model", "raw.onnx", "--layers", "scores")
    run = entangle("between", *words, "-o", folder, "--format", "json", *more)
    assert run.code == 0, run.stderr
    return run.json["models"][0]["preprocessing"]


def measured(entangle, folder, *more):
    run = entangle("measure", "raw.onnx", "digits@test", "-o", folder, "--format", "json", *more)
    assert run.code == 0, run.stderr
    return run.json["models"][0]["preprocessing"]


def test_another_command_takes_what_was_probed_before(entangle, raw_model):
    assert "(assumed: unit)" in between(entangle, "alone")
    assert not Path("alone/preprocessing").exists()
    assert "(probed: raw)" in measured(entangle, "out")
    assert "pixels 0-255" in between(entangle, "out")
    assert "(probed on digits@test: raw)" in between(entangle, "out")
    # the set itself is probed again, and what a person says goes first
    assert "(probed: raw)" in measured(entangle, "out")
    assert "(command line: unit)" in between(entangle, "out", "--preprocess", "unit")
    assert "(assumed: unit)" in between(entangle, "out", "--overwrite")


@pytest.mark.parametrize("damage", ["", "{}", "[1]", "[" * 9000, '{"name": 1}', None])
def test_a_damaged_file_counts_as_absent(entangle, raw_model, damage):
    measured(entangle, "out")
    [path] = Path("out/preprocessing").iterdir()
    if damage is None:
        content = json.loads(path.read_text())
        damage = json.dumps(content | {"settings": {"scale": "no number"}})
    path.write_text(damage)
    assert "(assumed: unit)" in between(entangle, "out")


def test_a_dry_run_keeps_nothing(entangle, raw_model):
    measured_dry = entangle("measure", raw_model, "digits@test", "-o", "out", "--dry-run")
    assert measured_dry.code == 0, measured_dry.stderr
    assert not Path("out").exists()
