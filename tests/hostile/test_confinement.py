"""The sandbox alone: whatever gets past the gates finds nothing to read, write or call."""

import os
import socket
import sys

import hostile_models
import numpy as np
import onnx
import pytest
import torch
from bench import quiet_libraries
from onnx import TensorProto, helper
from sound import Perceptron, save_script, vector_model
from traps import SECRET, Trap

from entangle_cli.errors import ModelError
from entangle_cli.models.sandbox.confinement import Limits, call_confined, landlock_version

HERE = "confined_targets"
SHORT = Limits(seconds=50, memory=3 * 2**30)

pytestmark = pytest.mark.skipif(
    not landlock_version(), reason="no Landlock in this kernel: the limits alone hold"
)


@pytest.fixture
def trap(make_bench, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary.bin").write_text(SECRET * 8)
    bench = make_bench("confined")
    return Trap(**vars(bench), canary=outside / "canary.bin", mark=outside / "mark")


def call(at: Trap, name: str, limits: Limits = SHORT, **arguments):
    return call_confined(f"{HERE}:{name}", arguments, readable=[at.folder], limits=limits)


def test_what_was_given_can_be_read_and_nothing_else(trap):
    trap.write("given.txt", "hello")
    assert call(trap, "read", path=str(trap.folder / "given.txt")) == "hello"
    for path in (trap.canary, "/etc/passwd", f"/proc/{os.getpid()}/environ"):
        with pytest.raises(ModelError, match="Permission denied"):
            call(trap, "read", path=str(path))


def test_a_link_does_not_lead_out(trap):
    os.symlink(trap.canary, trap.folder / "link")
    with pytest.raises(ModelError, match="Permission denied"):
        call(trap, "read", path=str(trap.folder / "link"))


@pytest.mark.parametrize("where", ["mark", "folder"])
def test_nothing_can_be_written(trap, where):
    path = trap.mark if where == "mark" else trap.folder / "new"
    with pytest.raises(ModelError, match="Permission denied"):
        call(trap, "write", path=str(path))
    assert not path.exists()


@pytest.mark.skipif(landlock_version() < 4, reason="Landlock knows the network from version 4 on")
def test_no_connection_can_be_opened(trap):
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(ModelError, match="Permission denied"):
            call(trap, "connect", port=server.getsockname()[1])


def test_no_program_can_be_started(trap):
    with pytest.raises(ModelError, match="Permission denied"):
        call(trap, "execute", path=os.path.realpath(sys.executable))


@pytest.mark.skipif(landlock_version() < 6, reason="Landlock knows signals from version 6 on")
def test_no_other_process_can_be_signalled(trap):
    with pytest.raises(ModelError, match="not permitted"):
        call(trap, "signal_parent")


def test_secrets_of_the_environment_stay_outside(trap, monkeypatch):
    monkeypatch.setenv("TOKEN", SECRET)
    assert "TOKEN" not in call(trap, "environment")


def test_limits_end_it_with_a_message(trap):
    with pytest.raises(ModelError, match="more memory asked for than is allowed"):
        call(trap, "allocate", size=4 * 2**30)
    with pytest.raises(ModelError, match="stopped after 3 s"):
        call(trap, "loop", Limits(seconds=3))
    with pytest.raises(ModelError, match="by signal 6"):
        call(trap, "crash")


def test_noise_is_no_part_of_the_answer(trap):
    assert call(trap, "chatter") == "answer"


@pytest.mark.parametrize(
    "build",
    [
        hostile_models.script_that_writes,
        hostile_models.script_that_reads,
        hostile_models.script_that_writes_while_loaded,
    ],
)
def test_a_script_without_a_gate_gets_nothing(trap, build):
    with quiet_libraries():
        build(trap)
    trap.mark.unlink(missing_ok=True)
    said = ""
    try:
        call(trap, "run_script", path=str(trap.folder / "evil.pt"), shape=[2, 4])
    except ModelError as error:
        said = str(error)
    # torch does not always tell that it could not write
    assert said or build is not hostile_models.script_that_reads
    assert not trap.mark.exists()
    assert SECRET not in said


class Greedy(Perceptron):
    def forward(self, x):
        return self.second(self.first(x)) + torch.ones(2000000000).sum()


class Endless(Perceptron):
    def forward(self, x):
        total = x.sum()
        while bool(total < float("inf")):
            total = total * 1.0
        return self.second(self.first(x)) + total


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Greedy, "failed in the TorchScript interpreter"), (Endless, "stopped after 5 s")],
)
def test_a_script_without_end_is_stopped(trap, module, reason):
    path = save_script(module().eval(), trap.folder / "evil.pt")
    limits = Limits(seconds=5 if reason.startswith("stopped") else 50, memory=3 * 2**30)
    with pytest.raises(ModelError, match=reason):
        call(trap, "run_script", limits, path=str(path), shape=[2, 4])


def _large_constant() -> onnx.ModelProto:
    extra = [
        ("ConstantOfShape", ["shape"], ["big"]),
        ("ReduceSum", ["big"], ["s"], {"keepdims": 0}),
        ("Add", ["g", "s"], ["y"]),
    ]
    return vector_model(extra, arrays={"shape": np.array([2**31])})


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


@pytest.mark.parametrize(
    ("make", "reason"), [(_large_constant, "met its limit"), (_endless_loop, "stopped after 5 s")]
)
def test_an_onnx_bomb_is_stopped(trap, make, reason):
    onnx.save(make(), trap.folder / "evil.onnx")
    limits = Limits(seconds=5 if reason.startswith("stopped") else 50, memory=3 * 2**30)
    with pytest.raises(ModelError, match=reason):
        call(trap, "run_onnx", limits, path=str(trap.folder / "evil.onnx"), shape=[2, 4])


def test_hard_linked_weights_are_read_without_the_gate(trap):
    """What the sandbox cannot stop: a hard link in the model's own folder is a file there."""
    hostile_models.weights_behind_a_hard_link(trap)
    shape = call(trap, "run_onnx", path=str(trap.folder / "evil.onnx"), shape=[2, 4])
    assert shape == [2, 3]
