from pathlib import Path

import pytest

from entangle_cli.errors import ModelError
from entangle_cli.models.series import distinct_names, looks_like_model, order_checkpoints


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["net-step100.onnx", "net-step20.onnx", "net-step3.onnx"], [3, 20, 100]),
        (["lenet5-10.pt", "lenet5-2.pt"], [2, 10]),
        (["net100.onnx", "net0.onnx"], [0, 100]),
        (["epoch2-acc97.onnx", "epoch10-acc98.onnx"], [2, 10]),
        (["run_iter_500.pt", "run_iter_0.pt"], [0, 500]),
    ],
)
def test_checkpoints_are_ordered_by_the_step_in_their_names(names, steps):
    assert [c.step for c in order_checkpoints([Path(n) for n in names])] == steps


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("lenet-100.onnx", 100),
        ("mnist-fc-256x4.onnx", None),
        ("resnet4b.onnx", None),
        ("mnist-cntk-op8.onnx", None),
        ("model.onnx", None),
        ("epoch7.pt", 7),
    ],
)
def test_a_number_that_is_part_of_a_word_is_no_step(name, step):
    assert order_checkpoints([Path(name)])[0].step == step


def test_only_names_that_collide_carry_their_folders():
    paths = [Path("a/x/net.onnx"), Path("b/x/net.onnx"), Path("a/x/other.onnx")]
    assert distinct_names(paths) == ["a/x/net.onnx", "b/x/net.onnx", "other.onnx"]
    assert distinct_names([Path("net.onnx"), Path("b/net.onnx")]) == ["net.onnx", "b/net.onnx"]


def test_formats_of_one_network_are_two_families():
    paths = [Path("net-1.onnx"), Path("net-1.pt"), Path("net-0.onnx")]
    ordered = order_checkpoints(paths)
    assert [c.path.name for c in ordered] == ["net-0.onnx", "net-1.onnx", "net-1.pt"]


def test_a_folder_stands_for_its_model_files(tmp_path):
    for name in ("b-2.onnx", "b-10.onnx", "notes.txt"):
        (tmp_path / name).touch()
    assert [c.step for c in order_checkpoints([tmp_path])] == [2, 10]


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(ModelError, match="a folder without model files"):
        order_checkpoints([tmp_path])


def test_a_file_named_twice_is_one_checkpoint():
    assert len(order_checkpoints([Path("a-1.onnx"), Path("a-1.onnx")])) == 1


def test_model_files_are_told_by_suffix_and_folders_by_content(tmp_path):
    (tmp_path / "a.onnx").touch()
    assert looks_like_model(Path("x.ONNX"))
    assert not looks_like_model(Path("data.npz"))
    assert looks_like_model(tmp_path)
    (tmp_path / "class0").mkdir()
    assert not looks_like_model(tmp_path)
