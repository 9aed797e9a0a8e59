"""A stranger's model in the sandbox of the command line: the same numbers, and nothing else."""

import json
import os
import shlex
import warnings

import hostile_models
import numpy as np
import onnx
import pytest
import torch
from bench import everything_in, quiet_libraries, run_here
from onnx import TensorProto, helper
from sound import Perceptron, save_script, vector_model
from traps import SECRET, Trap

from entangle_cli.errors import ModelError
from entangle_cli.models.opening import open_model
from entangle_cli.models.sandbox.confined import ConfinedModel
from entangle_cli.models.sandbox.confinement import Limits
from entangle_cli.models.sandbox.landlock import landlock_version

LIMITS = Limits(seconds=100, memory=3 * 2**30)
locked = pytest.mark.skipif(not landlock_version(), reason="no Landlock in this kernel")


@pytest.fixture
def trap(make_bench, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary.bin").write_text(SECRET * 8)
    bench = make_bench("sandbox")
    return Trap(**vars(bench), canary=outside / "canary.bin", mark=outside / "mark")


def run(words: str):
    return run_here(tuple(shlex.split(words)))


def everything(model, inputs, names):
    seen = {}
    outputs = model.run([inputs], names, lambda name, x: seen.update({name: x.copy()}))
    return seen, outputs


@pytest.mark.parametrize("name", ["vec.onnx", "vec.pt"])
def test_a_model_says_and_gives_the_same_as_outside(trap, name):
    outside, inside = open_model(name), open_model(name, sandbox=LIMITS)
    assert isinstance(inside, ConfinedModel)
    assert inside.layers([trap.points[:3]]) == outside.layers([trap.points[:3]])
    for key in ("sha256", "inputs", "format", "device", "notes"):
        assert getattr(inside, key) == getattr(outside, key)
    assert dict(inside.metadata) == dict(outside.metadata)
    layers = [layer.name for layer in inside.layers()]
    (seen, outputs), (expected, last) = (
        everything(model, trap.points, layers) for model in (inside, outside)
    )
    assert list(seen) == list(expected) == layers
    for found, wanted in zip((*seen.values(), *outputs), (*expected.values(), *last), strict=True):
        assert np.array_equal(found, wanted)
        assert found.dtype == wanted.dtype
    head, wanted = inside.head([trap.points]), outside.head([trap.points])
    assert head.features == wanted.features
    assert np.array_equal(head.weight, wanted.weight)


@pytest.mark.parametrize("name", ["vec.onnx", "vec.pt"])
def test_measure_prints_the_same_bytes(trap, name):
    bare = run(f"measure {name} vec.npz --json -o bare")
    confined = run(f"measure {name} vec.npz --json -o confined --sandbox")
    assert confined.code == 0, confined.stderr
    assert confined.stdout == bare.stdout
    assert json.loads(confined.stdout)["rows"]


@pytest.mark.parametrize(
    "words",
    [
        "layers vec.onnx vec.npz",
        "inspect vec.onnx",
        "dknn vec.onnx --train train.npz --calib calib.npz --test vec.npz -k 5",
        "ood vec.onnx --train train.npz --in calib.npz --out vec.npz",
        "between train.npz vec.npz --model vec.onnx",
    ],
)
def test_other_commands_print_the_same_bytes(trap, words):
    bare = run(f"{words} --json")
    assert bare.code == 0, bare.stderr
    again = "" if words.startswith(("layers", "inspect")) else " --overwrite"
    assert run(f"{words} --json --sandbox{again}").stdout == bare.stdout


def test_an_error_reads_as_outside(trap):
    for words in ("measure vec.onnx images.npz", "measure net.onnx vec.npz --layers nonsense"):
        assert run(f"{words} --sandbox").stderr == run(words).stderr


def test_what_the_sink_raises_comes_out_unchanged(trap):
    model = open_model("vec.onnx", sandbox=LIMITS)
    layers = [layer.name for layer in model.layers()]

    def full(name, values):
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        model.run([trap.points], layers, full)
    with pytest.raises(ModelError, match=r"vec\.onnx"):
        model.run([trap.points], layers, full)


@locked
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(hostile_models.script_that_writes, marks=pytest.mark.slow),
        hostile_models.script_that_reads,
        hostile_models.script_that_writes_while_loaded,
    ],
)
def test_a_script_without_a_gate_gets_nothing(trap, build, capfd):
    with quiet_libraries():
        build(trap)
    trap.mark.unlink(missing_ok=True)
    answer = run("measure evil.pt vec.npz --trust --sandbox")
    assert trap.sprung(answer) == []
    # torch does not always tell that it could not write: what was not written matters
    assert answer.code in (0, 2), answer.stderr
    assert tuple(capfd.readouterr()) == ("", "")


class Greedy(Perceptron):
    def forward(self, x):
        return self.second(self.first(x)) + torch.ones(2000000000).sum()


class Endless(Perceptron):
    def forward(self, x):
        total = x.sum()
        while bool(total < float("inf")):
            total = total * 1.0
        return self.second(self.first(x)) + total


class EndlessLater(Perceptron):
    """It ends for a few rows, and never where a large number is among them."""

    def forward(self, x):
        total = x.sum()
        while bool((x[:, 0] > 50.0).any()):
            total = total * 1.0
        return self.second(self.first(x)) + total * 0.0


def _endless_loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go2"]), helper.make_node("Neg", ["v"], ["v2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go2", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v2", TensorProto.FLOAT, None),
        ],
    )
    extra = [("Loop", ["count", "go0", "g"], ["y"], {"body": body})]
    return vector_model(extra, arrays={"count": np.array(2**62), "go0": np.array(True)})


def refused(answer, *says: str) -> None:
    assert answer.code == 2, answer.stderr
    assert len(answer.errors) == 1
    assert all(words in answer.errors[0] for words in says), answer.errors[0]


@pytest.mark.parametrize("name", ["evil.onnx", pytest.param("evil.pt", marks=pytest.mark.slow)])
def test_a_model_without_end_is_stopped_and_leaves_nothing(trap, name):
    if name == "evil.pt":
        save_script(Endless().eval(), trap.path(name))
    else:
        onnx.save(_endless_loop(), trap.path(name))
    before = everything_in(trap.folder)
    refused(run(f"dump {name} vec.npz --timeout 4"), "stopped after 4 s", "--timeout")
    assert everything_in(trap.folder) == before


def test_a_model_that_ends_no_more_loses_no_row(trap):
    save_script(EndlessLater().eval(), trap.path("evil.pt"))
    points, labels = np.tile(trap.points, (30, 1)), np.tile(trap.labels, 30)
    points[600, 0] = 99.0
    trap.npz("late.npz", x=points, y=labels)
    answer = run("dump evil.pt late.npz --file a.h5 -b 64 --timeout 10 --layers second")
    assert answer.code == 3, answer.stderr
    assert "stopped after 10 s" in answer.errors[0]
    assert "committed is kept" in answer.errors[0]
    assert json.loads(run("inspect a.h5 --json").stdout)["rows"][0]["rows"] == 512


def test_a_model_that_wants_all_memory_is_stopped(trap):
    save_script(Greedy().eval(), trap.path("evil.pt"))
    refused(run("dump evil.pt vec.npz --memory 3"), "evil.pt")
    onnx.save(_large_constant(), trap.path("evil.onnx"))
    refused(run("dump evil.onnx vec.npz --memory 3"), "evil.onnx", "3.0 GiB")


def _large_constant() -> onnx.ModelProto:
    extra = [
        ("ConstantOfShape", ["shape"], ["big"]),
        ("ReduceSum", ["big"], ["s"], {"keepdims": 0}),
        ("Add", ["g", "s"], ["y"]),
    ]
    return vector_model(extra, arrays={"shape": np.array([2**31])})


def test_a_crash_is_one_line(trap, monkeypatch):
    model = open_model("vec.onnx", sandbox=LIMITS)
    os.killpg(model._child._process.pid, 11)
    with pytest.raises(ModelError, match=r"vec\.onnx: the confined process ended by signal 11"):
        model.layers([trap.points])


def test_the_child_ends_with_its_model(trap):
    model = open_model("vec.onnx", sandbox=LIMITS)
    process = model._child._process
    assert process.poll() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del model
    assert process.poll() is not None


def test_a_kernel_without_landlock_is_told(trap, monkeypatch):
    monkeypatch.setattr("entangle_cli.models.sandbox.confined.landlock_version", lambda: 0)
    assert "no Landlock" in open_model("vec.onnx", sandbox=LIMITS).notes[0]
    assert "no Landlock" in run("layers vec.onnx --sandbox").stderr
    monkeypatch.setattr("entangle_cli.models.sandbox.landlock.landlock_version", lambda: 0)
    found = json.loads(run("doctor --json").stdout)["rows"]
    assert "no Landlock" in next(row["found"] for row in found if row["what"] == "sandbox")


def test_it_runs_on_the_cpu_only(trap):
    with pytest.raises(ModelError, match="--device cpu"):
        open_model("vec.onnx", device="cuda", sandbox=LIMITS)


def test_a_checksum_is_not_taken_at_its_word(trap, monkeypatch):
    model = open_model("vec.onnx", sandbox=LIMITS)
    assert model._identity(model.sha256) == model.sha256
    assert model._identity("ab" * 32) not in ("ab" * 32, model.sha256)


NONSENSE = (
    None,
    7,
    {},
    {"layers": 3},
    {"layers": [["a", "b", True]]},
    {"layers": [["a", "b", True, [-1], []]]},
    {"layers": [["a", "b", True, [1e300], []]]},
    {"failed": "other", "why": {"a": 1}},
)


def test_an_answer_that_makes_no_sense_is_refused(trap, monkeypatch):
    model = open_model("vec.onnx", sandbox=LIMITS)
    monkeypatch.setattr(model._child, "send", lambda message: None)
    for answer in NONSENSE:
        monkeypatch.setattr(model._child, "receive", lambda answer=answer: answer)
        with pytest.raises(ModelError, match=r"vec\.onnx"):
            model.layers()


def test_layers_that_nobody_asked_for_do_not_reach_the_sink(trap, monkeypatch):
    model = open_model("vec.onnx", sandbox=LIMITS)
    one = {"layer": "linear#1", "values": np.ones((24, 5))}
    for answers in ([{**one, "layer": "other"}], [one, one], [{**one, "values": "text"}]):
        found = iter(answers)
        monkeypatch.setattr(model._child, "receive", lambda found=found: next(found))
        monkeypatch.setattr(model._child, "send", lambda message: None)
        with pytest.raises(ModelError, match="not well formed"):
            model.run([trap.points], ["linear#1"], lambda name, values: None)
