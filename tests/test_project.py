from pathlib import Path

import pytest

from entangle_cli.errors import UsageError
from entangle_cli.project import Project, find_project, read_project


def write(folder: Path, text: str) -> Path:
    path = folder / "entangle.toml"
    path.write_text(text)
    return path


def test_the_nearest_file_above_the_folder_is_found(tmp_path):
    write(tmp_path, "[data]\ntest = 'images'\n")
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    assert find_project(inside).data == {"test": "images"}


def test_without_a_file_the_project_is_empty(tmp_path):
    assert find_project(tmp_path) == Project()


def test_relative_paths_start_at_the_file_and_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    project = read_project(
        write(tmp_path, "[data]\na = 'x/y@test'\nb = '~/z'\nc = 'digits@train'\n")
    )
    assert project.data_reference("a") == str(tmp_path / "x" / "y@test")
    assert project.data_reference("b") == "/home/somebody/z"
    assert project.data_reference("c") == "digits@train"


def test_a_split_after_a_name_replaces_the_split_of_its_entry(tmp_path):
    project = read_project(write(tmp_path, "[data]\nmnist = 'files@test'\n"))
    assert project.data_reference("mnist@train") == str(tmp_path / "files@train")


def test_rows_after_a_name_are_kept(tmp_path):
    project = read_project(write(tmp_path, "[data]\nmnist = 'files@test'\n"))
    assert project.data_reference("mnist[:750]") == str(tmp_path / "files@test[:750]")
    assert project.data_reference("mnist@train[2:4]") == str(tmp_path / "files@train[2:4]")


def test_what_is_no_name_is_a_path(tmp_path):
    assert Project().data_reference("some/path@test") == "some/path@test"


def test_a_model_glob_is_expanded_in_order(tmp_path):
    for name in ("b.onnx", "a.onnx", "c.txt"):
        (tmp_path / name).touch()
    project = read_project(write(tmp_path, "model = '*.onnx'\n"))
    assert [path.name for path in project.default_models()] == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dta]\nx = 'y'\n", r"unknown key 'dta' \(did you mean 'data'\?\)"),
        ("model = 5\n", "'model' must be a path or a list of paths, found 5"),
        ("data = 'x'\n", r"'data' must be a table \(\[data\]\)"),
        ("[data]\nx = 5\n", r"\[data\] x must be a path in quotes, found 5"),
        ("a = = b\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name_and_cause(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_project(write(tmp_path, text))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "entangle.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_project(tmp_path / "entangle.toml")
