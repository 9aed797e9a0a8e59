"""Bad inputs: IDX, CIFAR and MATLAB files, and archives that are no data set."""

import gzip
import pickle
import stat
import struct
import tarfile
import zipfile

import numpy as np
from bench import ROWS, Bench, add, fine, refused
from scipy.io import savemat

IDX = "measure net.onnx t10k-images-idx3-ubyte"
BATCH = "measure test_batch"


def _idx(array: np.ndarray, code: int = 8) -> bytes:
    return (
        struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + array.tobytes()
    )


def _pair(at: Bench, images: bytes, labels: bytes | None = None) -> None:
    at.write("t10k-images-idx3-ubyte", images)
    held = _idx(at.labels.astype(np.uint8)) if labels is None else labels
    at.write("t10k-labels-idx1-ubyte", held)


@fine(IDX)
def idx_pair(at: Bench) -> None:
    _pair(at, _idx(at.images))


@refused(IDX, "the header says")
def idx_cut(at: Bench) -> None:
    whole = _idx(at.images)
    _pair(at, whole[: int(at.random.integers(20, len(whole)))])


@refused(IDX, "more are there")
def idx_with_more_than_it_says(at: Bench) -> None:
    _pair(at, _idx(at.images) + b"more")


@refused(IDX, "24 samples but 9 labels")
def idx_with_few_labels(at: Bench) -> None:
    _pair(at, _idx(at.images), _idx(at.labels[:9].astype(np.uint8)))


@refused(IDX, "the header says")
def idx_of_absurd_size(at: Bench) -> None:
    _pair(at, struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1))


@refused(f"{IDX}.gz", "damaged gzip data")
def idx_zipped_and_cut(at: Bench) -> None:
    packed = gzip.compress(_idx(at.images))
    at.write("t10k-images-idx3-ubyte.gz", packed[: len(packed) // 2])


@refused("measure t10k-labels-idx1-ubyte", "labels, not images")
def idx_labels_alone(at: Bench) -> None:
    at.write("t10k-labels-idx1-ubyte", _idx(at.labels.astype(np.uint8)))


@refused("measure broken.gz", "gzip")
def gzip_of_something(at: Bench) -> None:
    at.write("broken.gz", gzip.compress(b"hello"))


def _batch(at: Bench, **changes) -> dict:
    pixels = at.random.integers(0, 255, (ROWS, 3072), dtype=np.uint8)
    return {"data": pixels, "labels": at.labels.tolist()} | changes


def _pickled(name: str, change, *says: str, outcome: str = "refused") -> None:
    def build(at: Bench) -> None:
        at.write("test_batch", pickle.dumps(change(at), 2))

    add(name, build, BATCH, outcome, *says)


_pickled("cifar batch", lambda at: _batch(at), outcome="fine")
_pickled(
    "cifar pixels of another type", lambda at: _batch(at, data=np.zeros((ROWS, 3072))), "uint8"
)
_pickled("cifar rows too short", lambda at: _batch(at, data=np.zeros((ROWS, 9), "u1")), "3072")
_pickled("cifar labels of text", lambda at: _batch(at, labels=["a"] * ROWS), "list of integers")
_pickled("cifar labels missing", lambda at: {"data": at.images}, "lacks")
_pickled("pickle of something else", lambda at: [1, 2, 3], "lacks")


@refused(BATCH, "test_batch")
def cifar_batch_cut(at: Bench) -> None:
    whole = pickle.dumps(_batch(at), 2)
    at.write("test_batch", whole[: int(at.random.integers(10, len(whole) - 1))])


@refused("measure test_batch.bin", "no data set is recognised")
def cifar_rows_cut(at: Bench) -> None:
    at.write("test_batch.bin", bytes(3073 * 2 + 7))


@refused("measure bad.mat", "damaged .mat file")
def matlab_cut(at: Bench) -> None:
    savemat(at.path("whole.mat"), {"X": np.zeros((32, 32, 3, 4), "u1"), "y": np.ones((4, 1))})
    at.cut("whole.mat", "bad.mat", 0.3)
    (at.folder / "whole.mat").unlink()


@refused("measure bad.mat", "not SVHN's X")
def matlab_of_something_else(at: Bench) -> None:
    savemat(at.path("bad.mat"), {"weights": np.zeros((3, 3))})


@refused("measure bad.mat", "bad.mat")
def matlab_of_the_old_kind(at: Bench) -> None:
    savemat(at.path("bad.mat"), {"X": np.zeros((3, 3))}, format="4")


@refused("measure data.tar", "unpack it first")
def tar_archive(at: Bench) -> None:
    with tarfile.open(at.path("data.tar"), "w") as archive:
        archive.add("images")


@refused("measure data.tar.gz", "unpack it first")
def zipped_tar_archive(at: Bench) -> None:
    with tarfile.open(at.path("data.tar.gz"), "w:gz") as archive:
        archive.add("images")


def _zip(name: str, build, *says: str) -> None:
    add(name, build, "measure bad.zip", "refused", *says)


def _linked(at: Bench) -> None:
    info = zipfile.ZipInfo("0/a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(at.path("bad.zip"), "w") as archive:
        archive.writestr(info, "/etc/passwd")


def _same_twice(at: Bench) -> None:
    with zipfile.ZipFile(at.path("bad.zip"), "w") as archive:
        archive.writestr("0/a.png", at.png(0))
        archive.writestr("0/a.png", at.png(1))


def _flipped(at: Bench) -> None:
    data = bytearray(at.zip("bad.zip", {"0/a.png": at.png(0), "1/b.png": at.png(1)}).read_bytes())
    data[60] ^= 0xFF
    at.write("bad.zip", bytes(data))


_zip("zip empty", lambda at: at.zip("bad.zip", {}), "bad.zip")
_zip("zip without images", lambda at: at.zip("bad.zip", {"a.txt": b"hello"}), "bad.zip")
_zip("zip cut", lambda at: at.write("bad.zip", at.read("vec.npz")[:300]), "damaged")
_zip("zip leaving upwards", lambda at: at.zip("bad.zip", {"../a.png": at.png()}), "leaves")
_zip("zip from the root", lambda at: at.zip("bad.zip", {"/tmp/a.png": at.png()}), "leaves")
_zip("zip of backslashes", lambda at: at.zip("bad.zip", {"0\\..\\a.png": at.png()}), "leaves")
_zip("zip with a link", _linked, "is a link")
_zip("zip with a name twice", _same_twice, "twice")
_zip("zip with a flipped byte", _flipped, "damaged")
_zip("zip in a zip", lambda at: at.zip("bad.zip", {"a.zip": at.read("vec.npz")}), "bad.zip")


@refused("measure bad.zip::nope", "no folder 'nope' inside")
def zip_folder_that_is_not_there(at: Bench) -> None:
    at.zip("bad.zip", {"0/a.png": at.png(0), "1/b.png": at.png(1)})
