"""How to write the same images in every format, as other programs write them."""

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image


def png_bytes(image: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.squeeze()).save(stream, "PNG", **options)
    return stream.getvalue()


def write_folder(root: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / str(label) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(image))
    return root


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    header = struct.pack(">BBBB", 0, 0, code, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray, prefix="t10k", zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        data = idx_bytes(array.astype(np.uint8))
        end = ".gz" if zipped else ""
        path = folder / f"{prefix}-{name}{end}"
        path.write_bytes(gzip.compress(data) if zipped else data)
    return folder


def write_cifar_python(folder: Path, images: np.ndarray, labels: np.ndarray, batch="test_batch"):
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.moveaxis(images, -1, 1).reshape(len(images), -1)
    content = {"data": rows, "labels": labels.tolist()}
    (folder / batch).write_bytes(pickle.dumps(content, protocol=2))
    names = {"label_names": ["cat", "dog", "emu"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def write_cifar_binary(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.moveaxis(images, -1, 1).reshape(len(images), -1)
    path.write_bytes(np.hstack([labels[:, None].astype(np.uint8), rows]).tobytes())
    return path


def write_h5(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path
