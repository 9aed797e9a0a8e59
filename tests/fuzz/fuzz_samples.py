"""Small sound files of every kind that is read without torch, made on the spot from a seed."""

import gzip
import io
import json
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.fuzz.fuzz_pool import Sample

ROWS, SIDE = 6, 5
CHANCE = np.random.default_rng(0)
IMAGES = CHANCE.integers(0, 256, (ROWS, SIDE, SIDE), dtype=np.uint8)
COLORS = CHANCE.integers(0, 256, (ROWS, SIDE, SIDE, 3), dtype=np.uint8)
POINTS = CHANCE.normal(size=(ROWS, 4)).astype(np.float32)
LABELS = np.arange(ROWS) % 3
NAMES = np.array(["ant", "bee", "cät"])


def written(write: Callable[[Path], object], name: str = "file") -> bytes:
    """The bytes of the file that ``write`` makes at a path."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name))
        return Path(folder, name).read_bytes()


def image_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    """One array as the bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def idx() -> list[Sample]:
    """Images and labels, plain, in gzip, and as floats."""

    def stored(array: np.ndarray, code: int = 8) -> bytes:
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
        return head + array.tobytes()

    images, labels = stored(IMAGES), stored(LABELS.astype("u1"))
    floats = stored(POINTS.astype(">f4"), 0x0D)
    first, second = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
    return [
        Sample({first: images, second: labels}, "."),
        Sample({first: images, second: labels}, first),
        Sample({f"{first}.gz": gzip.compress(images), f"{second}.gz": gzip.compress(labels)}, "."),
        Sample({first: floats, second: labels}, "@test"),
    ]


def npys() -> list[Sample]:
    """Arrays of several kinds, alone and with labels beside."""
    columns = {"x.npy": npy(np.asfortranarray(POINTS)), "y.npy": npy(LABELS)}
    texts = {"images.npy": npy(COLORS), "images_labels.npy": npy(NAMES[LABELS])}
    return [
        Sample({"a.npy": npy(POINTS)}, "a.npy"),
        Sample(columns, "x.npy"),
        Sample(texts, "images.npy"),
        Sample({"x.npy": npy(POINTS), "y.npy": npy(np.eye(3)[LABELS])}, "x.npy"),
    ]


def npzs() -> list[Sample]:
    """Archives of arrays, stored and compressed, with splits and names."""
    found = []
    for save in (np.savez, np.savez_compressed):
        for arrays in (
            {"images": IMAGES, "labels": LABELS, "class_names": NAMES},
            {"x_train": POINTS, "y_train": LABELS, "x_test": POINTS, "y_test": LABELS},
            {"left": POINTS, "right": np.asfortranarray(POINTS), "constant": np.float32(2)},
        ):
            data = written(lambda path, save=save, arrays=arrays: save(path, **arrays), "a.npz")
            found.append(Sample({"a.npz": data}, "a.npz"))
    return found


def hdf5s() -> list[Sample]:
    """HDF5 files: contiguous, in chunks with filters, with groups, text and attributes."""

    def flat(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["images"], file["labels"] = IMAGES, LABELS
            file.attrs["class_names"] = ["ant", "bee", "cat"]

    def chunked(path: Path) -> None:
        with h5py.File(path, "w") as file:
            options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
            file.create_dataset("x", data=POINTS, chunks=(2, 4), **options)
            file["y"] = [name.encode() for name in NAMES[LABELS]]

    def grouped(path: Path) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            for split in ("train", "test"):
                file[f"{split}/x"], file[f"{split}/y"] = POINTS, LABELS
            file["train/class_names"] = np.array(NAMES, dtype=object)

    return [
        Sample({"a.h5": written(flat)}, "a.h5"),
        Sample({"a.h5": written(flat)}, "a.h5::images"),
        Sample({"a.h5": written(chunked)}, "a.h5"),
        Sample({"a.h5": written(grouped)}, "a.h5@train"),
    ]


def _pngs(count: int = ROWS) -> list[bytes]:
    return [image_bytes(Image.fromarray(image), "PNG") for image in IMAGES[:count]]


def tables() -> list[Sample]:
    """Images listed by a table."""
    images = {f"{row}.png": data for row, data in enumerate(_pngs(3))}
    rows = [f"{row}.png,{NAMES[row]},{'train' if row else 'test'}" for row in range(3)]
    split = "\n".join(["file_name,label,split", *rows]).encode()
    plain = b'path;class\r\n"0.png";1\r\n"1.png";0\r\n"2.png";2\r\n'
    return [
        Sample({"labels.csv": split, **images}, "@train", ("labels.csv",)),
        Sample({"metadata.csv": plain, **images}, ".", ("metadata.csv",)),
        Sample({"list.csv": plain, **images}, "list.csv", ("list.csv",)),
    ]


def folders() -> list[Sample]:
    """Class folders, splits, and an archive inside a folder."""
    pngs = _pngs()
    classes = {f"{NAMES[row % 3]}/{row}.png": data for row, data in enumerate(pngs)}
    splits = {f"{s}/{name}": data for s in ("train", "test") for name, data in classes.items()}
    archives = {"train.zip": zipped(classes), "test.zip": zipped(classes, zipfile.ZIP_DEFLATED)}
    return [Sample(classes, "."), Sample(splits, "@train"), Sample(archives, "@train")]


def zips() -> list[Sample]:
    """Images in archives."""
    classes = {f"top/{NAMES[row % 3]}/{row}.png": data for row, data in enumerate(_pngs())}
    table = {"labels.csv": b"file_name,label\n0.png,ant\n1.png,bee\n"}
    listed = table | {f"{row}.png": data for row, data in enumerate(_pngs(2))}
    return [
        Sample({"a.zip": zipped(classes)}, "a.zip"),
        Sample({"a.zip": zipped(classes, zipfile.ZIP_DEFLATED)}, "a.zip::top"),
        Sample({"a.zip": zipped(listed, zipfile.ZIP_DEFLATED)}, "a.zip"),
    ]


def images() -> list[Sample]:
    """One image of every accepted format, and of the modes that are converted."""
    color, gray = Image.fromarray(COLORS[0]).resize((17, 11)), Image.fromarray(IMAGES[0])
    deep = Image.fromarray(IMAGES[0].astype(np.uint16) * 200)
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [Image.fromarray(image) for image in COLORS]
    tiffs = ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4")
    made = [
        *(image_bytes(image, "PNG") for image in (color, gray, deep, color.convert("RGBA"))),
        image_bytes(color.convert("P"), "PNG", transparency=3),
        image_bytes(gray.convert("1"), "PNG"),
        image_bytes(color, "PNG", save_all=True, append_images=frames),
        image_bytes(color, "JPEG", exif=turned),
        image_bytes(gray, "JPEG", progressive=True),
        image_bytes(color.convert("CMYK"), "JPEG"),
        image_bytes(color, "BMP"),
        image_bytes(color.convert("P"), "BMP"),
        image_bytes(gray.convert("1"), "BMP"),
        image_bytes(color.convert("P"), "GIF"),
        image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        image_bytes(deep, "TIFF"),
        *(image_bytes(_fit(color, kind), "TIFF", compression=kind) for kind in tiffs),
        image_bytes(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        image_bytes(color, "WEBP", exif=turned),
        image_bytes(color, "WEBP", lossless=True),
        image_bytes(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        *(image_bytes(image, "PPM") for image in (color, gray, gray.convert("1"), deep)),
        b"P3 2 1 255\n1 2 3  4 5 6\n",
        b"P2\n# remark\n2 1 70\n1 2\n",
    ]
    return [Sample({"one.png": data}, "one.png") for data in made]


def _fit(image: Image.Image, compression: str) -> Image.Image:
    return image.convert("1") if compression == "group4" else image


def matlab() -> list[Sample]:
    """SVHN's layout, plain and compressed."""
    content = {"X": np.moveaxis(COLORS, 0, -1), "y": LABELS[:, None] + 1.0}
    files = (
        written(lambda path, kind=kind: savemat(path, content, do_compression=kind), "a.mat")
        for kind in (False, True)
    )
    return [Sample({"a.mat": data}, "a.mat") for data in files]


def cifar() -> list[Sample]:
    """Python batches and binary ones."""
    rows = np.random.default_rng(1).integers(0, 256, (2, 3072), dtype=np.uint8)
    batch = pickle.dumps({"data": rows, "labels": [0, 2]}, 2)
    hundred = pickle.dumps({b"data": rows, "fine_labels": [0, 2], "coarse_labels": [1, 1]}, 4)
    hundred = hundred.replace(b"C\x04data", b"\x8c\x04data")
    meta = pickle.dumps({"label_names": NAMES.tolist()}, 2)
    binary = np.hstack([np.array([[0], [2]], "u1"), rows]).tobytes()
    names = "\n".join(NAMES).encode()
    return [
        Sample({"test_batch": batch, "batches.meta": meta}, "."),
        Sample({"test_batch": batch}, "test_batch"),
        Sample({"test": hundred, "meta": meta}, "::coarse"),
        Sample({"test_batch.bin": binary, "batches.meta.txt": names}, "."),
        Sample({"test_batch.bin": binary}, "test_batch.bin"),
    ]


def sidecars() -> list[Sample]:
    """Preprocessing beside and inside a model."""
    own = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875,
           "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 255}  # fmt: skip
    more = {"preset": "unit", "size": [8, 8], "color": "gray", "layout": "nhwc",
            "shape": [1, 64], "dtype": "float16", "crop_mode": "center"}  # fmt: skip
    timm = {"architecture": "x", "pretrained_cfg": {k: own[k] for k in ("mean", "std")}}
    timm["pretrained_cfg"] |= {"input_size": [3, 32, 32], "crop_mode": "squash"}
    face = {"do_resize": True, "size": {"shortest_edge": 256}, "do_center_crop": True,
            "crop_size": {"height": 224, "width": 224}, "do_rescale": True, "resample": 3,
            "rescale_factor": 1 / 255, "image_mean": [0.5], "image_std": [0.5]}  # fmt: skip
    named = {
        "net.preprocess.json": own, "net.onnx.preprocess.json": more, "config.json": timm,
        "preprocessor_config.json": face, "entangle.json": {"preprocess": own},
    }  # fmt: skip
    return [
        Sample({name: json.dumps(values, indent=1).encode()}, name)
        for name, values in named.items()
    ]


def projects() -> list[Sample]:
    """``entangle.toml``, short and long."""
    long = """
model = ["checkpoints/*.onnx", 'other.pt']  # remark

[models]
baseline = "baseline.onnx"
"name with space" = \"\"\"a
b.onnx\"\"\"

[data]
test = "data/test"
cifar10 = "~/data/cifar-10-batches-py@test[:500]"

[preprocess]
mean = [0.5, 1e-3]
std = [0.5]
color = "rgb"
"""
    return [
        Sample({"entangle.toml": text.encode()}, "entangle.toml")
        for text in (long, 'model = "*.onnx"\ndata.test = "digits@test"\n')
    ]
