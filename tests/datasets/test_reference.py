import os

import numpy as np
import pytest
from formats import write_folder

from entangle_cli.datasets import open_dataset
from entangle_cli.datasets.reference import choose_split, parse_reference
from entangle_cli.errors import DataError


def test_a_reference_is_cut_into_path_inside_and_split(tmp_path):
    (tmp_path / "a.h5").touch()
    reference = parse_reference(f"{tmp_path}/a.h5::group/x@test")
    assert (reference.path, reference.inside, reference.split) == (
        tmp_path / "a.h5",
        "group/x",
        "test",
    )
    assert str(reference) == f"{tmp_path}/a.h5::group/x@test"
    assert reference.name == "a::x@test"


@pytest.mark.parametrize("name", ["me@home", "a::b", "x@y::z@w"])
def test_a_path_that_exists_as_typed_is_taken_whole(tmp_path, name):
    (tmp_path / name).mkdir()
    assert parse_reference(str(tmp_path / name)).path == tmp_path / name


def test_an_at_sign_in_a_folder_name_is_no_split(tmp_path):
    (tmp_path / "me@home").mkdir()
    (tmp_path / "me@home" / "x.npz").touch()
    reference = parse_reference(f"{tmp_path}/me@home/x.npz@train")
    assert reference.path == tmp_path / "me@home" / "x.npz"
    assert reference.split == "train"


def test_digits_is_a_word_only_where_no_such_path_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_reference("digits@train").path is None
    (tmp_path / "digits").mkdir()
    assert parse_reference("digits@train").path == tmp_path / "digits"


def test_a_near_miss_is_suggested(tmp_path):
    (tmp_path / "holdout").mkdir()
    with pytest.raises(DataError, match=r"no such file or folder \(did you mean 'holdout'\?\)"):
        open_dataset(str(tmp_path / "holdot"))


def test_an_empty_reference_is_refused():
    with pytest.raises(DataError, match="names nothing"):
        open_dataset("")


@pytest.mark.parametrize(
    ("wanted", "found"), [("training", "train"), ("val", "validation"), ("t10k", "test")]
)
def test_splits_are_known_by_their_usual_other_names(wanted, found):
    assert choose_split(wanted, ["train", "validation", "test"], "x") == (found, ())


def test_without_a_split_the_test_split_is_taken_and_said():
    split, notes = choose_split(None, ["train", "test"], "x")
    assert split == "test"
    assert "took @test" in notes[0]


def test_a_split_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(DataError, match=r"no split 'tran' .did you mean 'train'.*@train, @test"):
        choose_split("tran", ["train", "test"], "x")


def test_several_splits_without_a_test_split_need_a_choice():
    with pytest.raises(DataError, match="add @split"):
        choose_split(None, ["train", "holdout"], "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match="not a regular file"):
        open_dataset(str(tmp_path / "pipe.npz"))


def test_a_device_is_refused():
    with pytest.raises(DataError, match="not a regular file"):
        open_dataset("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_in_a_class_folder_is_refused(tmp_path, tiny):
    write_folder(tmp_path, tiny.color, tiny.labels)
    os.mkfifo(tmp_path / "0" / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: not a regular file"):
        open_dataset(str(tmp_path))


STAND_INS = {
    "empty": (b"", "the file is empty"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "html": (b"\n<!DOCTYPE html><html>not found</html>", "a web page"),
    "zeros": (b"\0" * 2000, "not a .npz file"),
    "text": (b"hello", "not a .npz file"),
    "tar": (b"x" * 257 + b"ustar" + b"\0" * 300, "unpack it first"),
    "cut zip": (b"PK\x03\x04 and nothing more", "damaged .zip"),
}


@pytest.mark.parametrize("content", STAND_INS.values(), ids=STAND_INS.keys())
def test_what_is_no_data_is_named_for_what_it_is(tmp_path, content):
    data, message = content
    (tmp_path / "set.npz").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(tmp_path / "set.npz"))
    assert "\n" not in str(caught.value)


def test_the_name_of_a_data_set_can_be_given(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.ones((2, 3)))
    assert open_dataset(str(tmp_path / "set.npz")).name == "set"
    assert open_dataset(str(tmp_path / "set.npz"), name="calib").name == "calib"


def test_rows_of_a_data_set_are_a_data_set():
    whole, part = open_dataset("digits@test"), open_dataset("digits@test[10:30]")
    assert len(part) == 20
    assert part.name == "digits@test[10:30]"
    assert part.labels.tolist() == whole.labels[10:30].tolist()
    assert part.fingerprint != whole.fingerprint
    assert len(open_dataset("digits@test[300:]")) == len(whole) - 300


def test_rows_beyond_the_data_are_refused():
    with pytest.raises(DataError, match=r"has 364 samples, none in \[400:\]"):
        open_dataset("digits@test[400:]")


def test_a_file_whose_name_ends_like_rows_is_taken_whole(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2), np.float32))
    (tmp_path / "x.npy").rename(tmp_path / "x[0:2]")
    assert len(open_dataset(str(tmp_path / "x[0:2]"))) == 3
