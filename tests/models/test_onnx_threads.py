"""How many threads onnxruntime gets: as many as the other libraries were told to take."""

import onnx
import pytest

from entangle_cli.models.onnx.session import TapSession, providers_for


@pytest.fixture
def path(tmp_path):
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, ["n"])], [value("y", 1, ["n"])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "relu.onnx")
    return tmp_path / "relu.onnx"


@pytest.mark.parametrize(("text", "threads"), [("1", 1), ("3", 3), ("", 0), ("4,2", 0), ("-1", 0)])
def test_the_usual_variable_sets_them(path, monkeypatch, text, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    session = TapSession(path, ["y"], providers=providers_for("cpu"), free={})
    assert session._session.get_session_options().intra_op_num_threads == threads


def test_without_it_onnxruntime_decides(path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    session = TapSession(path, ["y"], providers=providers_for("cpu"), free={})
    assert session._session.get_session_options().intra_op_num_threads == 0
