"""Hostile data: files that point elsewhere, unpack to gigabytes, run code, or carry names."""

import io
import os
import pickle
import shutil
import struct
import subprocess
import zipfile
import zlib

import h5py
import numpy as np
from bench import CLASSES, ROWS, encoded
from hostile_models import Harmful
from PIL import Image
from traps import Trap, hostile

FILE = "measure vec.onnx evil.h5"
ARRAYS = "measure vec.onnx evil.npz"
IMAGES = "measure net.onnx evil"
NAMES = (
    "[bold red]x[/]",
    "\x1b[31mred\x1b]52;c;x\x07",
    "=cmd|'/C calc'!A0",
    "a\nerror: b",
    "\u202egnp",
)


def _file(at: Trap) -> h5py.File:
    file = h5py.File(at.path("evil.h5"), "w", libver="latest")
    file["y"] = at.labels
    return file


def _canary_file(at: Trap) -> str:
    """The canary as numbers of an HDF5 file."""
    path = at.canary.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = at.points, at.labels
    return str(path)


@hostile(FILE, "external link")
def link_to_another_file(at: Trap) -> None:
    target = _canary_file(at)
    with _file(at) as file:
        file["x"] = h5py.ExternalLink(target, "/x")


@hostile(f"{FILE}::inner/x", "external link")
def link_to_a_group_of_another_file(at: Trap) -> None:
    target = _canary_file(at)
    with _file(at) as file:
        file["inner"] = h5py.ExternalLink(target, "/")


@hostile(FILE, "external link")
def labels_in_another_file(at: Trap) -> None:
    target = _canary_file(at)
    with _file(at) as file:
        file["x"] = at.points
        del file["y"]
        file["y"] = h5py.ExternalLink(target, "/y")


@hostile(f"{FILE}::x", "link")
def labels_found_in_another_file(at: Trap) -> None:
    target = _canary_file(at)
    with _file(at) as file:
        file["x"] = at.points
        del file["y"]
        file["y"] = h5py.ExternalLink(target, "/y")


@hostile(f"{FILE}@test", "external link")
def split_in_another_file(at: Trap) -> None:
    target = _canary_file(at)
    with _file(at) as file:
        file["test"] = h5py.ExternalLink(target, "/")


@hostile(FILE, "link, which is not followed")
def soft_link_to_a_link(at: Trap) -> None:
    target = _canary_file(at)
    with _file(at) as file:
        file["hidden"] = h5py.ExternalLink(target, "/x")
        file["x"] = h5py.SoftLink("/hidden")


@hostile(FILE, "other files")
def values_in_another_file(at: Trap) -> None:
    at.canary.write_bytes(at.canary.read_bytes().ljust(ROWS * 4 * 4, b"."))
    with _file(at) as file:
        file.create_dataset(
            "x", (ROWS, 4), "f4", external=[(str(at.canary), 0, h5py.h5f.UNLIMITED)]
        )


@hostile(FILE, "other files")
def values_assembled_from_another_file(at: Trap) -> None:
    layout = h5py.VirtualLayout((ROWS, 4), "f4")
    layout[:] = h5py.VirtualSource(_canary_file(at), "x", (ROWS, 4))
    with _file(at) as file:
        file.create_virtual_dataset("x", layout)


@hostile(FILE, "filter 31999")
def values_for_a_foreign_filter(at: Trap) -> None:
    _filtered(at)


def _filtered(at: Trap) -> None:
    """A block that only the filter 31999 could unpack."""
    with _file(at) as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((ROWS, 4))
        plan.set_filter(31999, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((ROWS, 4))
        made = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, plan)
        made.write_direct_chunk((0, 0), at.points.tobytes())


def marker_plugin(at: Trap) -> dict[str, str] | None:
    """An HDF5 plug-in that leaves the mark when it is loaded; None without a compiler."""
    if shutil.which("gcc") is None:
        return None
    folder = at.path("plugins/x").parent
    source = at.write(
        "plugins/mark.c",
        "#include <fcntl.h>\n#include <unistd.h>\n"
        f'__attribute__((constructor)) static void mark(void) {{ close(open("{at.mark}",'
        " O_CREAT | O_WRONLY, 0600)); }\n"
        "int H5PLget_plugin_type(void) { return 0; }\n"
        "const void *H5PLget_plugin_info(void) { return 0; }\n",
    )
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(folder / "libmark.so"), str(source)], check=True
    )
    return {"HDF5_PLUGIN_PATH": str(folder)}


def _objects(at: Trap) -> np.ndarray:
    return np.array([Harmful(at.mark)] * ROWS, dtype=object)


@hostile(ARRAYS, "pickled")
def samples_that_run_code(at: Trap) -> None:
    at.npz("evil.npz", x=_objects(at), y=at.labels)


@hostile(ARRAYS, "pickled")
def labels_that_run_code(at: Trap) -> None:
    at.npz("evil.npz", x=at.points, y=_objects(at))


@hostile("measure vec.onnx evil.npy", "pickled")
def array_that_runs_code(at: Trap) -> None:
    at.npy("evil.npy", _objects(at))


@hostile("measure vec.onnx x.npy", "pickled")
def labels_beside_that_run_code(at: Trap) -> None:
    at.npy("x.npy", at.points)
    at.npy("y.npy", _objects(at))


@hostile(ARRAYS, "leaves")
def member_that_leaves(at: Trap) -> None:
    with zipfile.ZipFile(at.folder / "vec.npz") as archive:
        data = archive.read("x.npy")
    at.zip("evil.npz", {f"../{at.mark.name}": data, "x.npy": data})


@hostile(ARRAYS, "evil.npz")
def archive_that_is_a_bomb(at: Trap) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (6000000000, 1), }".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    at.zip("evil.npz", {"x.npy": head + bytes(30_000_000)}, compression=zipfile.ZIP_DEFLATED)


@hostile("measure test_batch", "system")
def batch_that_runs_code(at: Trap) -> None:
    at.write("test_batch", pickle.dumps({"data": Harmful(at.mark), "labels": [0]}, 2))


@hostile("measure cifar", "system")
def class_names_that_run_code(at: Trap) -> None:
    pixels = at.random.integers(0, 255, (ROWS, 3072), dtype=np.uint8)
    batch = {"data": pixels, "labels": at.labels.tolist()}
    at.write("cifar/test_batch", pickle.dumps(batch, 2))
    at.write("cifar/batches.meta", pickle.dumps(Harmful(at.mark), 2))


@hostile("measure test_batch", "not a pickle of plain arrays")
def batch_that_doubles_and_doubles(at: Trap) -> None:
    # a list of a list twice, thirty levels deep: a billion entries to whoever walks it
    levels = b"]" + b"".join(
        b"q" + bytes([i]) + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(30)
    )
    at.write("test_batch", b"\x80\x02" + levels + b"cos\nsystem\n.")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(side: int) -> bytes:
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(10_000_000), 9)
    parts = _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@hostile(IMAGES, "million pixels")
def image_of_billions_of_pixels(at: Trap) -> None:
    at.class_folders("evil")
    at.write("evil/0/bomb.png", _bomb(60_000))


@hostile(IMAGES, "million pixels")
def image_just_too_large(at: Trap) -> None:
    at.class_folders("evil")
    at.write("evil/0/bomb.png", _bomb(12_000))


@hostile(IMAGES, "cannot be decoded")
def image_whose_text_is_a_bomb(at: Trap) -> None:
    data = at.png()
    text = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    at.class_folders("evil")
    at.write("evil/0/text.png", data[:33] + text + data[33:])


@hostile(IMAGES, "none of PNG")
def postscript_as_an_image(at: Trap) -> None:
    at.class_folders("evil")
    code = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({at.mark}) (w) file closefile\n"
    at.write("evil/0/ghost.png", code)


@hostile(IMAGES, "none of PNG")
def image_that_names_a_font_or_a_palette(at: Trap) -> None:
    at.class_folders("evil")
    stream = io.BytesIO()
    Image.fromarray(at.images[0]).convert("RGB").save(stream, "ICO")
    at.write("evil/0/icon.png", stream.getvalue())


@hostile(IMAGES, "not a regular file")
def pipe_among_images(at: Trap) -> None:
    at.class_folders("evil")
    os.mkfifo(at.path("evil/0/pipe.png"))


@hostile(IMAGES, "not a regular file")
def device_among_images(at: Trap) -> None:
    at.class_folders("evil")
    os.symlink("/dev/zero", at.path("evil/0/zero.png"))


@hostile("measure net.onnx evil.h5", "not a regular file")
def pipe_for_a_data_set(at: Trap) -> None:
    os.mkfifo(at.path("evil.h5"))


@hostile("measure evil.onnx vec.npz", "not an ordinary file")
def pipe_for_a_model(at: Trap) -> None:
    os.mkfifo(at.path("evil.onnx"))


@hostile(IMAGES, "cannot be decoded")
def link_to_a_secret_among_images(at: Trap) -> None:
    at.class_folders("evil")
    os.symlink(at.canary, at.path("evil/0/secret.png"))


@hostile("measure evil.zip", "larger than")
def archive_of_gigabytes(at: Trap) -> None:
    at.zip("evil.zip", {"0/a.png": at.png(), "1/b.png": at.png(1)})
    data = at.read("evil.zip")
    entry = data.rindex(b"PK\x01\x02")
    size = (4_000_000_000).to_bytes(4, "little")
    at.write("evil.zip", data[: entry + 24] + size + data[entry + 28 :])


@hostile("measure evil.zip", "leaves")
def archive_that_leaves(at: Trap) -> None:
    at.zip("evil.zip", {f"0/../../{at.mark.name}.png": at.png(), "1/b.png": at.png(1)})


@hostile("measure net.onnx evil", "which is not there")
def table_that_names_a_secret(at: Trap) -> None:
    at.write("evil/a.png", at.png())
    at.write("evil/labels.csv", f"file_name,label\na.png,0\n{at.canary},1\n")


@hostile("measure net.onnx evil", "names no file_name")
def table_that_is_a_secret(at: Trap) -> None:
    at.write("evil/a.png", at.png())
    os.symlink(at.canary, at.path("evil/labels.csv"))


@hostile("measure net.onnx images.npz", "not valid JSON")
def settings_that_are_a_secret(at: Trap) -> None:
    os.symlink(at.canary, at.path("net.preprocess.json"))


def _named_folders(at: Trap) -> None:
    for label, name in enumerate(NAMES):
        for row in range(3):
            at.write(
                f"evil/{name.replace('/', '')}/{row}{name[-3:].replace('/', '')}.png",
                at.png(CLASSES * row + label % CLASSES),
            )


@hostile("inspect evil", None)
def class_folders_for_the_terminal(at: Trap) -> None:
    _named_folders(at)


@hostile("inspect evil --format csv", None)
def class_folders_for_a_spreadsheet(at: Trap) -> None:
    _named_folders(at)


@hostile("measure net.onnx evil", None)
def class_folders_for_the_results(at: Trap) -> None:
    _named_folders(at)


@hostile("inspect evil.npz", None)
def class_names_for_the_terminal(at: Trap) -> None:
    at.npz("evil.npz", images=at.images, labels=np.arange(ROWS) % 5, class_names=np.array(NAMES))


@hostile("inspect evil.h5", None)
def class_names_in_an_attribute(at: Trap) -> None:
    with h5py.File(at.path("evil.h5"), "w") as file:
        file["images"], file["labels"] = at.images, np.arange(ROWS) % 5
        file.attrs["class_names"] = [name.encode() for name in NAMES]


@hostile("measure 'net\x1b[31m\u202e[red].onnx' 'im\x1b]0;x\x07.npz'", None)
def file_names_for_the_terminal(at: Trap) -> None:
    at.write("net\x1b[31m\u202e[red].onnx", at.read("net.onnx"))
    at.write("im\x1b]0;x\x07.npz", at.read("images.npz"))


@hostile("measure 'no\x1b[31m\u202e[red]\nerror: x.onnx' images.npz", "no such file")
def name_of_a_missing_file_for_the_terminal(at: Trap) -> None:
    assert encoded(Image.fromarray(at.images[0]))
