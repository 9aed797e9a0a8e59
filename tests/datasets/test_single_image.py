"""One image file, and a flat folder of images: unlabelled data in every accepted format."""

import io

import numpy as np
import pytest
from formats import png_bytes
from PIL import Image

from entangle_cli.datasets import open_dataset, trees
from entangle_cli.errors import DataError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
NUMBERS = " ".join(map(str, GREY.ravel())).encode()


def encoded(format: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, format, **options)
    return stream.getvalue()


LOSSLESS = {
    "photo.png": encoded("PNG"),
    "photo.bmp": encoded("BMP"),
    "photo.gif": encoded("GIF"),
    "photo.tiff": encoded("TIFF"),
    "large.tiff": encoded("TIFF", big_tiff=True),
    "photo.pgm": encoded("PPM"),
    "one-line.pgm": b"P5 8 8 255\n" + GREY.tobytes(),
    "commented.pgm": b"P5\n# from a camera\n8 8\n255\n" + GREY.tobytes(),
    "windows.pgm": b"P5\r\n8 8\r\n255\n" + GREY.tobytes(),
    "letters.pgm": b"P2\n8 8\n255\n" + NUMBERS,
}


@pytest.fixture(params=LOSSLESS.items(), ids=LOSSLESS.keys())
def picture(request, tmp_path):
    name, data = request.param
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / name
    path.write_bytes(data)
    return path


def test_an_image_alone_is_the_same_as_in_its_folder(picture):
    alone, folder = open_dataset(str(picture)), open_dataset(str(picture.parent))
    for dataset in (alone, folder):
        assert dataset.kind == "images"
        assert list(dataset.ids) == [picture.name]
        assert dataset.labels is None
        assert dataset.class_names is None
        assert np.array_equal(dataset.images([0])[0], GREY[:, :, None])
    assert alone.fingerprint == folder.fingerprint
    assert (alone.name, folder.name) == (picture.name, "set")


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lossy_formats_are_told_by_content_whatever_the_name(format, tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(encoded(format))
    pixels = open_dataset(str(path)).images([0])[0].astype(int)
    assert np.abs(pixels - GREY[:, :, None]).max() < 16


@pytest.mark.parametrize("data", [b"P1\n8 2\n" + b"1 0 " * 8, b"P4\n8 2\n\xaa\xaa"])
def test_bitmaps_are_read(data, tmp_path):
    path = tmp_path / "mask.pbm"
    path.write_bytes(data)
    dataset = open_dataset(str(path))
    assert dataset.images([0])[0][..., 0].tolist() == [[0, 255] * 4] * 2
    assert dataset.notes == ("1 of 1 1-bit images made grey",)


def test_letters_that_open_a_bitmap_may_open_a_table(tmp_path, tiny):
    (tmp_path / "P5 x.png").write_bytes(png_bytes(tiny.color[0]))
    (tmp_path / "t.csv").write_text("P5 x,file_name,label\n1,P5 x.png,4\n")
    assert open_dataset(str(tmp_path / "t.csv")).labels.tolist() == [4]


def test_a_flat_folder_is_unlabelled_in_natural_order(tmp_path, tiny):
    for row, name in enumerate(("10.png", "9.png", "a.PNG")):
        (tmp_path / name).write_bytes(png_bytes(tiny.color[row]))
    (tmp_path / "notes.txt").write_text("x")
    dataset = open_dataset(str(tmp_path))
    assert list(dataset.ids) == ["9.png", "10.png", "a.PNG"]
    assert dataset.labels is None
    assert dataset.notes == ("1 files that are no images: skipped", "no labels")
    assert np.array_equal(dataset.images([1, 0]), tiny.color[:2])


def test_two_images_differ_in_name_or_content(tmp_path, tiny):
    prints = set()
    for name, row in (("a.png", 0), ("b.png", 0), ("c/a.png", 0), ("d/a.png", 1)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png_bytes(tiny.color[row]))
        prints.add(open_dataset(str(path)).fingerprint)
    # the folder around it is no part of an image
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("suffix", "message"),
    [("@test", "an image has no splits"), ("::x", "an image has no inside")],
)
def test_an_image_has_neither_splits_nor_an_inside(tmp_path, tiny, suffix, message):
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(tiny.color[0]))
    with pytest.raises(DataError, match=message):
        open_dataset(f"{path}{suffix}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\nrest", "cannot be decoded as an image"),
        (b"P5 8 8 255\nshort", "cannot be decoded as an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no data set is recognised here"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no data set is recognised here"),
        (b"<!DOCTYPE html><html>", "a web page, not data"),
    ],
)
def test_what_only_has_an_image_name_is_refused(tmp_path, data, message):
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(path)).images([0])
    assert "photo.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pixel_and_file_limits_hold_for_one_image(tmp_path, monkeypatch):
    path = tmp_path / "wall.png"
    with io.BytesIO() as stream:
        Image.new("1", (9000, 8000)).save(stream, "PNG")
        path.write_bytes(stream.getvalue())
    with pytest.raises(DataError, match="more than 64 million pixels"):
        open_dataset(str(path))
    monkeypatch.setattr(trees, "MEMBER_LIMIT", 100)
    with pytest.raises(DataError, match=r"wall\.png: larger than .* not a sample"):
        open_dataset(str(path))
