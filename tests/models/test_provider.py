"""A provider that onnxruntime quietly replaces is an error, not a slow run somewhere else."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from entangle_cli.errors import ModelError
from entangle_cli.models.opening import open_model


@pytest.fixture
def model(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in "xy"]
    graph = helper.make_graph([node], "net", values[:1], values[1:])
    path = tmp_path / "net.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_a_provider_that_is_not_built_in_is_refused(model, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="install onnxruntime-gpu, or use device cpu"):
        open_model(model, device="cuda")


def test_a_provider_that_does_not_start_is_refused(model, monkeypatch):
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    real = onnxruntime.InferenceSession

    def falling_back(content, options, providers):
        """As onnxruntime does where CUDA's libraries are missing."""
        return real(content, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", falling_back)
    opened = open_model(model, device="cuda")
    with pytest.raises(ModelError, match="could not start CUDAExecutionProvider"):
        opened.run([np.ones((2, 4), np.float32)], [], lambda name, values: None)
