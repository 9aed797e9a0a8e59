"""One door for all model files: content decides, and any other file is named for what it is."""

import os
import pickle
import re
import warnings
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from entangle_cli.errors import ModelError
from entangle_cli.models.formats import file_kind
from entangle_cli.models.opening import open_model


def onnx_bytes():
    node = helper.make_node("Relu", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def torchscript(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Sequential(nn.Linear(4, 2), nn.ReLU()).eval()), path)


def old_state_dict(path):
    state = nn.Linear(2, 2).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=False)


def cut_torchscript(path):
    torchscript(path)
    path.write_bytes(path.read_bytes()[:-200])


def exported(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
        archive.writestr("archive/models/model.json", "{}")


def safetensors(path):
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")


def zipped(path):
    np.savez(path.with_suffix(".npz"), a=np.ones(2))
    path.with_suffix(".npz").rename(path)


KINDS = {
    "empty": (lambda p: p.write_bytes(b""), "empty"),
    "html": (lambda p: p.write_bytes(b"\n<!DOCTYPE html><html>404"), "web page"),
    "git-lfs": (
        lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git lfs pull",
    ),
    "state_dict": (
        lambda p: torch.save(nn.Linear(2, 2).state_dict(), p),
        "a state_dict",
    ),
    "pickle": (lambda p: torch.save(nn.Linear(2, 2), p), "run any code"),
    "pt2": (exported, "torch.export"),
    "cut zip": (cut_torchscript, "cut or damaged"),
    "zip": (zipped, "zip archive"),
    "safetensors": (safetensors, "safetensors"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "HDF5"),
    "text": (lambda p: p.write_text("weights: 3\n"), "a text file"),
    "unknown": (lambda p: p.write_bytes(bytes(range(1, 200))), "neither ONNX nor TorchScript"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_a_file_of_another_kind_is_named_for_what_it_is(kind, suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    write, pattern = KINDS[kind]
    write(path)
    assert file_kind(path) == kind
    if (kind, suffix) == ("unknown", ".onnx"):
        pattern = re.escape(path.name)
    with pytest.raises(ModelError, match=pattern) as caught:
        open_model(path)
    assert str(path.name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [old_state_dict, lambda p: p.write_bytes(pickle.dumps({}, 4))])
def test_bare_pickles_are_refused(write, tmp_path):
    write(tmp_path / "model.pt")
    with pytest.raises(ModelError, match="pickled Python object"):
        open_model(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model.pt", "model.onnx", "model"])
def test_the_content_decides_whatever_the_name(name, tmp_path):
    path = tmp_path / name
    torchscript(path)
    assert open_model(path).format == "torchscript"
    path.write_bytes(onnx_bytes())
    assert open_model(path).format == "onnx"


def test_paths_may_be_text(tmp_path):
    torchscript(tmp_path / "model.pt")
    assert open_model(str(tmp_path / "model.pt")).path == tmp_path / "model.pt"


def test_an_onnx_file_cut_anywhere_is_no_onnx_file(tmp_path):
    whole = onnx_bytes()
    onnx.load_model_from_string(whole)
    path = tmp_path / "model.pt"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        assert file_kind(path) != "torchscript"
        if file_kind(path) == "onnx":  # only the fields after the graph are missing
            assert length > whole.rindex(b"\x01y")


def test_what_is_no_ordinary_file_is_refused_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="not an ordinary file"):
        open_model(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="a folder, not a model"):
        open_model(tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        open_model(tmp_path / "missing.onnx")
