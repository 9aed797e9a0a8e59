"""Bad inputs: arrays in .npz, .npy and HDF5 files, and labels beside them."""

import io
import struct
import zipfile

import h5py
import numpy as np
from bench import ROWS, Bench, add, fine, keeps, nothing, refused, warned

RUN = "measure vec.onnx bad.npz"
ONE = "measure vec.onnx bad.npy"
FILE = "measure vec.onnx bad.h5"
DATA = "measure bad.npz"


def _npz(name: str, outcome: str, *says: str, words: str = RUN, **change) -> None:
    def build(at: Bench) -> None:
        made = {key: value(at) if callable(value) else value for key, value in change.items()}
        arrays = {"x": at.points, "y": at.labels} | made
        at.npz("bad.npz", **{key: array for key, array in arrays.items() if array is not None})

    add(name, build, words, outcome, *says)


def _spoiled(value: float):
    def points(at: Bench) -> np.ndarray:
        points = at.points.copy()
        points[int(at.random.integers(ROWS)), 1] = value
        return points

    return points


add("npz empty", lambda at: at.write("bad.npz", b""), RUN, "refused", "empty")
add("npz cut", lambda at: at.cut("vec.npz", "bad.npz"), RUN, "refused", "bad.npz", "damaged")
add("npz of noise", lambda at: at.write("bad.npz", at.random.bytes(999)), RUN, "refused", "bad.npz")
add("npz of zeros", lambda at: at.write("bad.npz", bytes(999)), RUN, "refused", "bad.npz")
add(
    "npz that is a web page",
    lambda at: at.write("bad.npz", "<html>login</html>"),
    RUN,
    "refused",
    "a web page",
)
add("npz that is gzip", lambda at: at.write("bad.npz", b"\x1f\x8b\x08" + bytes(99)), RUN, "refused")
add("npz without arrays", lambda at: at.zip("bad.npz", {}), RUN, "refused", "bad.npz")
_npz("no rows", "refused", "no samples", x=lambda at: at.points[:0], y=lambda at: at.labels[:0])
_npz("nan in the data", "refused", "not finite", x=_spoiled(np.nan))
_npz("infinity in the data", "refused", "not finite", x=_spoiled(np.inf))
_npz("python objects", "refused", "pickled", x=np.array([{"a": 1}] * ROWS, dtype=object))
_npz("text for samples", "refused", "give an array of numbers", x=np.array(["a"] * ROWS))
_npz("complex numbers", "refused", "complex", x=np.ones((ROWS, 4), complex))
_npz("dates for samples", "refused", "datetime", x=np.zeros(ROWS, "datetime64[s]"))
_npz("records for samples", "refused", "bad.npz", x=np.zeros(ROWS, [("a", "f4"), ("b", "i4")]))
_npz("arrays of different lengths", "refused", "lengths", z=np.zeros(7))
_npz("samples without values", "refused", "bad", x=np.zeros((ROWS, 0), "f4"))
_npz("a single number", "refused", "one row per sample", x=np.float32(3))
_npz("only labels", "refused", "no array for the samples", x=None)
_npz("integers beyond the network's type", "refused", "do not fit", x=np.full((ROWS, 4), 2**40 + 1))
_npz("rank too high", "refused", "the model takes", x=np.zeros((ROWS, 2, 3, 5), "f4"))
_npz("column-major samples", "fine", x=lambda at: np.asfortranarray(at.points))
_npz("big-endian samples", "fine", x=lambda at: at.points.astype(">f4"))
_npz("double precision beyond single", "refused", "do not fit", x=np.full((ROWS, 4), 1e300))
_npz(
    "pixels 0 to 255 as floats",
    "fine",
    "0-255",
    words="measure net.onnx bad.npz",
    x=None,
    images=lambda at: at.images.astype("f4"),
)
_npz(
    "pixels with negative values",
    "refused",
    "bad",
    words="measure net.onnx bad.npz",
    x=None,
    images=lambda at: at.images / 255.0 - 0.5,
)
_npz("all samples alike", "warned", "same", words=DATA, x=np.ones((ROWS, 4), "f4"))
_npz(
    "many duplicates",
    "warned",
    "duplicate",
    words=DATA,
    x=lambda at: np.concatenate([at.points[:3]] * 8),
    y=lambda at: at.labels,
)
_npz(
    "zero rows with cosine",
    "warned",
    "5 zero vectors",
    words=f"{DATA} --metric cosine",
    x=lambda at: at.points * (np.arange(ROWS) > 4)[:, None],
)

# labels
_npz("too few labels", "refused", "24 samples but 23 labels", y=lambda at: at.labels[:-1])
_npz("labels with fractions", "refused", "not an integer", y=lambda at: at.labels + 0.5)
_npz("labels that are nan", "refused", "not an integer", y=lambda at: at.labels * np.nan)
_npz("negative labels", "refused", "negative", y=lambda at: at.labels - 1)
_npz("labels of python objects", "refused", "pickled", y=np.array([None] * ROWS))
_npz("broken one-hot labels", "refused", "one-hot", y=lambda at: np.eye(3)[at.labels] * 0.9)
_npz("labels in three axes", "refused", "shape", y=np.zeros((ROWS, 2, 2), int))
_npz("one label for all", "warned", "one class only", y=np.zeros(ROWS, int))
_npz("labels too large", "refused", "too large", y=np.full(ROWS, 2**64 - 1, np.uint64))
_npz("empty text for a label", "refused", "empty", y=np.array(["a", ""] * 12))
_npz("complex labels", "refused", "labels are complex", y=np.ones(ROWS, complex))
_npz("a single label", "refused", "a single value", y=np.int64(1))
_npz("no labels at all", "refused", "no labels", y=None)
_npz(
    "class of one member",
    "warned",
    "class",
    y=lambda at: np.where(np.arange(ROWS) == 5, 7, at.labels),
)
_npz("every class of one member", "refused", "class", y=np.arange(ROWS))
_npz("text labels", "fine", y=lambda at: np.array(["cat", "dog", "emu"])[at.labels])
_npz("one-hot labels", "fine", y=lambda at: np.eye(3)[at.labels])
_npz("gaps between labels", "fine", y=lambda at: at.labels * 1000)


@refused(RUN, "twice")
def member_twice(at: Bench) -> None:
    with zipfile.ZipFile(at.folder / "vec.npz") as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(at.path("bad.npz"), "w") as archive:
        for name, data in [*parts, parts[0]]:
            archive.writestr(name, data)


@refused(RUN, "damaged")
def member_with_a_flipped_byte(at: Bench) -> None:
    np.savez_compressed(at.path("bad.npz"), x=at.points, y=at.labels)
    with zipfile.ZipFile(at.folder / "bad.npz") as archive:
        member = archive.infolist()[0]
    data = bytearray(at.read("bad.npz"))
    data[member.header_offset + 70 + int(at.random.integers(member.compress_size - 60))] ^= 0xFF
    at.write("bad.npz", bytes(data))


@refused(RUN, "encrypted")
def member_encrypted(at: Bench) -> None:
    data = bytearray(at.read("vec.npz"))
    at.write("bad.npz", bytes(_marked(data, b"PK\x01\x02", 8)))


@refused(RUN, "bad.npz")
def member_of_an_unknown_compression(at: Bench) -> None:
    data = bytearray(at.read("vec.npz"))
    start = data.index(b"PK\x01\x02")
    data[start + 10] = 99
    at.write("bad.npz", bytes(data))


def _marked(data: bytearray, magic: bytes, flags: int) -> bytearray:
    data[data.index(magic) + flags] |= 1
    return data


def _header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def _npy(name: str, head: bytes, outcome: str, *says: str) -> None:
    add(name, lambda at: at.write("bad.npy", head + bytes(96)), ONE, outcome, *says)


add("npy empty", lambda at: at.write("bad.npy", b""), ONE, "refused", "empty")
_npy("npy header with a huge shape", _header("(9999999999, 9999999999)"), "refused", "96 bytes")
_npy("npy header that overflows", _header("(4294967296, 4294967296, 4)"), "refused", "96 bytes")
_npy("npy header with a negative shape", _header("(-6, 4)"), "refused", "bad.npy")
_npy("npy header that is no table", b"\x93NUMPY\x01\x00\x02\x00{}", "refused", "bad.npy")
_npy("npy header that calls something", _header("(6, 4)", "__import__('os')"), "refused", "bad.npy")
_npy("npy of a later version", b"\x93NUMPY\x09\x00", "refused", "bad.npy")
_npy("npy nested too deeply", _header("(" * 3000), "refused", "bad.npy")


@refused(ONE, "follow")
def npy_cut(at: Bench) -> None:
    stream = io.BytesIO()
    np.save(stream, at.points)
    at.write("bad.npy", stream.getvalue()[: -int(at.random.integers(1, 90))])


@refused("measure bad.npy", "no labels")
def npy_without_labels(at: Bench) -> None:
    at.npy("bad.npy", at.points)


def _h5(name: str, make, outcome: str, *says: str, words: str = FILE) -> None:
    def build(at: Bench) -> None:
        with h5py.File(at.path("bad.h5"), "w") as file:
            file["x"], file["y"] = at.points, at.labels
            make(file, at)

    add(name, build, words, outcome, *says)


def _replaced(values, **options):
    def make(file: h5py.File, at: Bench) -> None:
        del file["x"]
        file.create_dataset("x", data=values, **options)

    return make


def _emptied(file: h5py.File, at: Bench) -> None:
    for key in list(file):
        del file[key]


def _soft(file: h5py.File, at: Bench) -> None:
    file.move("x", "hidden")
    file["x"] = h5py.SoftLink("/hidden")


def _looped(file: h5py.File, at: Bench) -> None:
    del file["x"]
    file["x"] = h5py.SoftLink("/x")


def _crowded(file: h5py.File, at: Bench) -> None:
    for key in range(10_050):
        file.create_group(f"g{key}")


def _varied(file: h5py.File, at: Bench) -> None:
    del file["x"]
    file.create_dataset("x", (ROWS,), h5py.vlen_dtype(np.float32))


def _referring(file: h5py.File, at: Bench) -> None:
    del file["x"]
    file.create_dataset("x", (ROWS,), h5py.ref_dtype)


add("h5 empty", lambda at: at.write("bad.h5", b""), FILE, "refused", "empty")
add("h5 of noise", lambda at: at.write("bad.h5", at.random.bytes(99)), FILE, "refused", "bad.h5")
_h5("h5 without data", _emptied, "refused", "no array for the samples")
_h5("h5 with a soft link", _soft, "refused", "soft link")
_h5("h5 with a link to itself", _looped, "refused", "soft link")
_h5("h5 with thousands of groups", _crowded, "refused", "entries")
_h5("h5 with rows of different lengths", _varied, "refused", "bad.h5")
_h5("h5 with references", _referring, "refused", "bad.h5")
_h5("h5 with nan", _replaced(np.full((ROWS, 4), np.nan, "f4")), "refused", "not finite")
_h5("h5 without rows", _replaced(np.zeros((0, 4), "f4")), "refused", "no samples")
_h5("h5 with nothing for values", _replaced(h5py.Empty("f4")), "refused", "bad.h5")
_h5("h5 place that is not there", lambda f, at: None, "refused", "'q'", words=f"{FILE}::q")
_h5("h5 place with dots", lambda f, at: None, "refused", "'..'", words=f"{FILE}::../x")
_h5("h5 compressed", _replaced(np.ones((ROWS, 4), "f4"), compression="gzip"), "fine")


@refused(FILE, "bad.h5")
def h5_cut(at: Bench) -> None:
    with h5py.File(at.path("whole.h5"), "w") as file:
        file["x"], file["y"] = np.tile(at.points, (50, 1)), np.tile(at.labels, 50)
    at.cut("whole.h5", "bad.h5")
    (at.folder / "whole.h5").unlink()


@refused(FILE, "bad.h5")
def h5_with_a_damaged_compressed_block(at: Bench) -> None:
    with h5py.File(at.path("bad.h5"), "w") as file:
        file.create_dataset("x", data=at.points, compression="gzip", chunks=(ROWS, 4))
        file["y"] = at.labels
        chunk = file["x"].id.get_chunk_info(0)
    data = bytearray(at.read("bad.h5"))
    data[chunk.byte_offset + 4 : chunk.byte_offset + 40] = at.random.bytes(36)
    at.write("bad.h5", bytes(data))


@fine("measure vec.onnx bad.h5::deep/er/x")
def h5_in_groups(at: Bench) -> None:
    with h5py.File(at.path("bad.h5"), "w") as file:
        file["deep/er/x"], file["deep/y"] = at.points, at.labels


@warned("measure vec.onnx vec.npz --limit 6", "LIMITED to 6 of 24")
def fewer_samples(at: Bench) -> None:
    assert len(at.points) > 6


for _reference, _says in {
    "vec.npz@train": "no split",
    "vec.npz::x": "no inside",
    "vec.npz[99:]": "none in [99:]",
    "vec.npz[5:2]": "none in",
    "''": "names nothing",
    "nowhere.npz": "no such file",
    "vec.nzp": "did you mean 'vec.npz'",
    "images@holdout": "splits",
    "digits@nothing": "digits",
}.items():
    add(f"reference {_reference}", nothing, f"measure vec.onnx {_reference}", "refused", _says)

keeps("every class of one member", "entangle-out/activations")
