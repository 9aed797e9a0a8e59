"""Bad inputs: folders of images, the images themselves, and the tables that list them."""

import os

import numpy as np
from bench import Bench, add, encoded, fine, nothing, refused, warned
from PIL import Image

RUN = "measure net.onnx images"
DATA = "measure images"


def _image(name: str, data, outcome: str, *says: str, words: str = RUN) -> None:
    """A folder of sound images with one more."""

    def build(at: Bench) -> None:
        at.write("images/1/999.png", data(at) if callable(data) else data)

    add(name, build, words, outcome, *says)


def _jpeg_cut(at: Bench) -> bytes:
    whole = encoded(Image.fromarray(np.kron(at.images[0], np.ones((16, 16), np.uint8))), "JPEG")
    return whole[: int(len(whole) * at.random.uniform(0.4, 0.8))]


def _png_cut(at: Bench) -> bytes:
    whole = at.png()
    return whole[: int(len(whole) * at.random.uniform(0.6, 0.85))]


def _png_flipped(at: Bench) -> bytes:
    data = bytearray(at.png())
    data[data.index(b"IDAT") + 8] ^= 0xFF
    return bytes(data)


def _turned(at: Bench) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(at.images[0]), "JPEG", exif=exif)


def _of_mode(mode: str, kind: str = "PNG", **options):
    return lambda at: encoded(Image.fromarray(at.images[0]).convert(mode), kind, **options)


def _animated(at: Bench) -> bytes:
    frames = [Image.fromarray(image) for image in at.images[:3]]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


_image("image empty", b"", "refused", "999.png", "empty")
_image("image that is text", b"hello", "refused", "999.png", "cannot be decoded")
_image("image that is a web page", b"<html></html>", "refused", "999.png", "web page")
_image("image that is a git-lfs pointer", b"version https://git-lfs", "refused", "git lfs pull")
_image("image of noise", lambda at: at.random.bytes(300), "refused", "999.png")
_image("png cut", _png_cut, "refused", "999.png", "cannot be decoded")
_image("png with a flipped byte", _png_flipped, "refused", "999.png", "cannot be decoded")
_image("jpeg cut", _jpeg_cut, "refused", "999.png", "cannot be decoded")
_image("image of fractions", _of_mode("F", "TIFF"), "refused", "unknown range")
_image("image of icons", _of_mode("RGB", "ICO"), "refused", "999.png", "none of PNG")
_image("image of 16 bits", _of_mode("I;16"), "fine", "16-bit images scaled")
_image("image of four inks", _of_mode("CMYK", "JPEG"), "fine", "CMYK images made RGB")
_image("image with a palette", _of_mode("P"), "fine", "palette images made RGB")
_image("image of one bit", _of_mode("1"), "fine", "1-bit images made grey")
_image("image with alpha", _of_mode("LA"), "fine", "alpha dropped")
_image("image that lies on its side", _turned, "fine", "EXIF orientation")
_image("image that moves", _animated, "fine", "first frame taken")
_image(
    "image of another size",
    lambda at: encoded(Image.new("L", (5, 9))),
    "refused",
    "different sizes",
    words=DATA,
)


@refused("measure net.onnx folder", "no data set is recognised")
def folder_empty(at: Bench) -> None:
    at.path("folder/x")


@refused("measure net.onnx folder", "did you mean the file 'vec.npz'")
def folder_of_arrays(at: Bench) -> None:
    at.write("folder/vec.npz", at.read("vec.npz"))


@refused("measure net.onnx folder", "no data set is recognised")
def folder_of_documents(at: Bench) -> None:
    at.write("folder/a/report.pdf", b"%PDF-1.4")


@refused("measure net.onnx folder", "no labels")
def folder_without_classes(at: Bench) -> None:
    at.write("folder/a.png", at.png(0))
    at.write("folder/b.png", at.png(1))


@warned("measure net.onnx folder", "one class only")
def folder_of_one_class(at: Bench) -> None:
    for row in range(4):
        at.write(f"folder/only/{row}.png", at.png(row))


@warned("measure net.onnx folder", "class")
def folder_with_a_class_of_one(at: Bench) -> None:
    at.class_folders("folder")
    at.write("folder/9/a.png", at.png(3))


@refused("measure net.onnx folder", "lost.png")
def folder_with_a_link_to_nothing(at: Bench) -> None:
    at.class_folders("folder")
    os.symlink("nowhere", at.path("folder/1/lost.png"))


@fine("measure net.onnx folder", "skipped")
def folder_with_other_files(at: Bench) -> None:
    at.class_folders("folder")
    at.write("folder/1/readme.txt", "hello")
    at.write("folder/Thumbs.db", b"\0")
    os.symlink("..", at.path("folder/1/up"))


@refused("measure net.onnx splits", "@train", "add @split")
def splits_without_a_test_split(at: Bench) -> None:
    at.class_folders("splits/train")
    at.class_folders("splits/val")


add("one image for a measure", lambda at: at.write("a.png", at.png()), "measure net.onnx a.png",
    "refused", "no labels")  # fmt: skip


def _table(name: str, text: str | bytes, outcome: str, *says: str) -> None:
    def build(at: Bench) -> None:
        for row in range(6):
            at.write(f"listed/{row}.png", at.png(row))
        at.write("listed/labels.csv", text)

    add(name, build, "measure net.onnx listed", outcome, *says)


_GOOD = "file_name,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n"
_table("table empty", "", "refused", "names no file_name")
_table("table without a header", _GOOD.partition("\n")[2], "refused", "names no file_name")
_table("table with a missing file", _GOOD + "9.png,a\n", "refused", "line 6 names '9.png'")
_table(
    "table with a file outside", _GOOD + "../vec.npz,a\n", "refused", "line 6 names '../vec.npz'"
)
_table("table with a file twice", _GOOD + "0.png,b\n", "refused", "a second time")
_table("table with a short line", _GOOD + "4.png\n", "refused", "line 6 has 1 cells")
_table("table with an empty label", _GOOD + "4.png,\n", "refused", "is empty")
_table("table in another encoding", _GOOD.encode("utf-16"), "refused", "UTF-8")
_table("table with an open quote", _GOOD + '"4.png,a\n', "refused", "labels.csv")
_table("table of semicolons", _GOOD.replace(",", ";"), "fine", "not listed")
_table("table without rows", "file_name,label\n", "refused", "no samples")
_table("table with zero bytes", _GOOD.replace("0.png", "0\0.png"), "refused", "labels.csv")
_table("table with a huge cell", _GOOD + "4.png," + "a" * 200_000 + "\n", "refused", "labels.csv")


@refused("measure net.onnx pixels.npz", "give rows with values")
def images_without_pixels(at: Bench) -> None:
    at.npz("pixels.npz", images=np.zeros((6, 0, 8), np.uint8), labels=np.arange(6) % 2)


@refused("measure net.onnx images --preprocess sizes.json", "preprocessing: gives samples")
def sizes_that_do_not_fit(at: Bench) -> None:
    at.write("sizes.json", '{"size": [9, 9]}')


add("image folder as it should be", nothing, RUN, "fine")
