import torch

from entangle_cli.models.opening import open_model
from entangle_cli.models.torchscript.extras import extra_texts


def saved(tmp_path, extra):
    traced = torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2))
    torch.jit.save(traced, str(tmp_path / "net.pt"), _extra_files=extra)
    return tmp_path / "net.pt"


def test_texts_saved_with_a_network_are_its_metadata(tmp_path):
    path = saved(tmp_path, {"entangle.json": '{"scale": 1}', "notes/a.txt": "größer"})
    assert open_model(path).metadata == {"entangle.json": '{"scale": 1}', "notes/a.txt": "größer"}


def test_a_network_without_extra_files_has_none(tmp_path):
    assert extra_texts(saved(tmp_path, {})) == {}


def test_extra_files_that_are_no_text_are_left_out(tmp_path):
    assert extra_texts(saved(tmp_path, {"weights.bin": b"\xff\xfe\x00"})) == {}
