import os
import zipfile

import numpy as np
import pytest
from formats import png_bytes, write_folder, write_zip
from PIL import Image

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import DataError


def test_classes_are_folders_in_natural_order(tmp_path, tiny):
    for name in ("10", "9", "1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png_bytes(tiny.grey[0]))
    dataset = open_dataset(str(tmp_path))
    assert dataset.class_names == ("1", "9", "10")
    assert list(dataset.ids) == ["1/a.png", "9/a.png", "10/a.png"]
    assert dataset.notes == ("class folders 1, 9, 10 are numbered 0 to 2 in this order",)


def test_images_below_a_class_folder_belong_to_it(tmp_path, tiny):
    write_folder(tmp_path / "cats" / "deep", tiny.color[:2], [0, 1])
    write_folder(tmp_path / "dogs", tiny.color[2:3], [0])
    dataset = open_dataset(str(tmp_path))
    assert dataset.class_names == ("cats", "dogs")
    assert dataset.labels.tolist() == [0, 0, 1]


def test_what_is_no_image_is_skipped_and_counted(tmp_path, tiny):
    write_folder(tmp_path, tiny.color, tiny.labels)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / "0" / "Thumbs.db").write_text("x")
    (tmp_path / "loose.png").write_bytes(png_bytes(tiny.color[0]))
    dataset = open_dataset(str(tmp_path))
    assert len(dataset) == 6
    assert "2 files that are no images: skipped" in dataset.notes
    assert "1 images outside the class folders: skipped" in dataset.notes


def test_images_alone_are_an_unlabelled_set(tmp_path, tiny):
    for row in range(3):
        (tmp_path / f"{row}.png").write_bytes(png_bytes(tiny.color[row]))
    dataset = open_dataset(str(tmp_path))
    assert dataset.labels is None
    assert "no labels" in dataset.notes
    assert np.array_equal(dataset.images([2])[0], tiny.color[2])


def test_one_image_is_a_data_set_of_one(tmp_path, tiny):
    (tmp_path / "a.png").write_bytes(png_bytes(tiny.color[0]))
    dataset = open_dataset(str(tmp_path / "a.png"))
    assert len(dataset) == 1
    assert np.array_equal(dataset.images([0])[0], tiny.color[0])


def test_split_folders_default_to_test_with_a_note(tmp_path, tiny):
    write_folder(tmp_path / "train", tiny.color[:4], tiny.labels[:4])
    write_folder(tmp_path / "test", tiny.color[4:], tiny.labels[4:])
    dataset = open_dataset(str(tmp_path))
    assert len(dataset) == 2
    assert "took @test" in dataset.notes[0]
    assert len(open_dataset(f"{tmp_path}@train")) == 4
    with pytest.raises(DataError, match="no split 'holdout'"):
        open_dataset(f"{tmp_path}@holdout")


def test_zip_files_named_after_splits_are_splits(tmp_path, tiny):
    for split, rows in (("train", 4), ("test", 2)):
        write_zip(
            tmp_path / f"{split}.zip",
            {f"c/{row}.png": png_bytes(tiny.color[row]) for row in range(rows)},
        )
    assert len(open_dataset(f"{tmp_path}@train")) == 4
    assert open_dataset(f"{tmp_path}@test").name.endswith("@test")


def test_inside_goes_into_a_folder_of_an_archive(tmp_path, tiny):
    path = write_zip(
        tmp_path / "a.zip",
        {f"{top}/c/{top}.png": png_bytes(tiny.color[0]) for top in ("one", "two")},
    )
    assert list(open_dataset(f"{path}::two").ids) == ["c/two.png"]
    with pytest.raises(DataError, match=r"no folder 'tow' inside .did you mean 'two'"):
        open_dataset(f"{path}::tow")


def _table(folder, tiny, *lines, name="metadata.csv"):
    for row in range(3):
        (folder / f"{row}.png").write_bytes(png_bytes(tiny.color[row]))
    (folder / name).write_text("\n".join(lines))


def test_a_table_gives_text_labels_and_splits(tmp_path, tiny):
    _table(tmp_path, tiny, "split,file_name,label", "a,0.png,dog", "b,1.png,cat", "b,2.png,dog")
    (tmp_path / "unlisted.png").write_bytes(png_bytes(tiny.color[3]))
    dataset = open_dataset(f"{tmp_path}@b")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.notes == ("1 images are not listed in metadata.csv: skipped",)


def test_a_table_that_names_a_missing_file_is_refused(tmp_path, tiny):
    _table(tmp_path, tiny, "file_name,label", "0.png,1", "5.png,2")
    with pytest.raises(DataError, match=r"line 3 names '5\.png', which is not there"):
        open_dataset(str(tmp_path))


def test_a_table_cannot_reach_outside_its_folder(tmp_path, tiny):
    (tmp_path / "secret.png").write_bytes(png_bytes(tiny.color[0]))
    folder = tmp_path / "set"
    folder.mkdir()
    _table(folder, tiny, "file_name,label", "../secret.png,1")
    with pytest.raises(DataError, match="which is not there"):
        open_dataset(str(folder))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("file_name,label", "0.png,1", "0.png,1"), "a second time"),
        (("file_name,label", "0.png"), "line 2 has 1 cells"),
        (("file_name,label", "0.png,"), "label of row 0 is empty"),
        (("file_name,label",), "no samples"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, tiny, lines, message):
    _table(tmp_path, tiny, *lines)
    with pytest.raises(DataError, match=message):
        open_dataset(str(tmp_path))


def test_a_csv_named_itself_needs_its_columns(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="names no file_name and label columns"):
        open_dataset(str(tmp_path / "x.csv"))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_columns_may_be_separated_as_spreadsheets_do(tmp_path, tiny, mark):
    lines = (f"{row}.png{mark}{label}" for row, label in enumerate((2, 0, 1)))
    _table(tmp_path, tiny, f"file_name{mark}label", *lines)
    assert open_dataset(str(tmp_path)).labels.tolist() == [2, 0, 1]


def test_a_labels_table_without_a_header_is_not_passed_over(tmp_path, tiny):
    _table(tmp_path, tiny, "0.png,2", "1.png,0", "2.png,1", name="labels.csv")
    with pytest.raises(DataError, match=r"labels\.csv: its first line names no file_name"):
        open_dataset(str(tmp_path))


def test_a_negative_label_in_a_table_is_no_class_name(tmp_path, tiny):
    _table(tmp_path, tiny, "file_name,label", "0.png,0", "1.png,-1")
    with pytest.raises(DataError, match="label -1 of row 1 is negative"):
        open_dataset(str(tmp_path))


def test_conversions_are_counted(tmp_path, tiny):
    write_folder(tmp_path, tiny.color, tiny.labels)
    image = Image.fromarray(np.dstack([tiny.color[0], tiny.grey[0]]))
    image.save(tmp_path / "0" / "transparent.png")
    dataset = open_dataset(str(tmp_path))
    assert "1 of 7 images with alpha: alpha dropped" in dataset.notes


def test_a_file_that_is_no_image_is_found_when_opening(tmp_path, tiny):
    write_folder(tmp_path, tiny.color, tiny.labels)
    (tmp_path / "0" / "page.png").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"page\.png: a web page"):
        open_dataset(str(tmp_path))


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    (tmp_path / "set.npz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"class folders, labels\.csv.*did you mean.*set\.npz"):
        open_dataset(str(tmp_path))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_archive_with_a_name_twice_is_refused(tmp_path, tiny):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("c/a.png", png_bytes(tiny.color[0]))
        archive.writestr("c/a.png", png_bytes(tiny.color[1]))
    with pytest.raises(DataError, match=r"holds 'c/a\.png' twice"):
        open_dataset(str(path))


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "c/../../a.png"])
def test_an_archive_whose_names_leave_it_is_refused(tmp_path, tiny, name):
    path = write_zip(tmp_path / "a.zip", {name: png_bytes(tiny.color[0])})
    with pytest.raises(DataError, match="leaves the archive"):
        open_dataset(str(path))


def test_a_flipped_byte_in_an_archive_is_found(tmp_path, tiny):
    path = write_zip(tmp_path / "a.zip", {"c/a.png": png_bytes(tiny.color[0])})
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        open_dataset(str(path))


def test_a_class_folder_may_be_a_link(tmp_path, tiny):
    write_folder(tmp_path / "real", tiny.color[:1], [0])
    (tmp_path / "set").mkdir()
    os.symlink(tmp_path / "real" / "0", tmp_path / "set" / "cats")
    os.symlink(tmp_path / "set", tmp_path / "set" / "loop")
    assert open_dataset(str(tmp_path / "set")).class_names == ("cats",)
