"""Bad inputs: activation files that were cut, changed, or made by somebody else."""

import h5py
from bench import Bench, add, fine, nothing, refused

RUN = "measure acts.h5"

add("store as it should be", nothing, RUN, "fine")
add("store that is not there", nothing, "measure missing.h5", "refused", "missing.h5")


def _file(name: str, change, *says: str, outcome: str = "refused", words: str = RUN) -> None:
    add(f"store {name}", change, words, outcome, *says)


def _flipped(name: str, low: float, high: float):
    def change(at: Bench) -> None:
        data = bytearray(at.read(name))
        at_byte = int(len(data) * at.random.uniform(low, high))
        data[at_byte] ^= 1 << int(at.random.integers(8))
        at.write(name, bytes(data))

    return change


def _attribute(name: str, value: object, where: str = "/"):
    def change(at: Bench) -> None:
        with h5py.File(at.folder / "acts.h5", "r+") as file:
            if value is None:
                del file[where].attrs[name]
            else:
                file[where].attrs[name] = value

    return change


def _member(make):
    def change(at: Bench) -> None:
        with h5py.File(at.folder / "acts.h5", "r+") as file:
            make(file)

    return change


def _labels_outside(file: h5py.File) -> None:
    del file["samples/label"]
    file["samples/label"] = h5py.ExternalLink("vec.h5", "/y")


_file("empty", lambda at: at.write("acts.h5", b""), "acts.h5")
_file("cut", lambda at: at.cut("acts.h5", "acts.h5"), "acts.h5")
_file("of noise", lambda at: at.write("acts.h5", at.random.bytes(9000)), "acts.h5")
_file("with a flipped header", _flipped("acts.h5", 0.0, 0.005), "acts.h5")
_file("without its journal", lambda at: (at.folder / "acts.journal").unlink(), "acts")
_file("with an empty journal", lambda at: at.write("acts.journal", b""), "acts")
_file("with a journal of noise", lambda at: at.write("acts.journal", at.random.bytes(99)), "acts")
_file("with a flipped journal header", _flipped("acts.journal", 0.0, 0.02), "acts")
_file(
    "without its manifest",
    lambda at: (at.folder / "acts.manifest.json").unlink(),
    "incomplete",
)
_file("of a later version", _attribute("format_version", "9.0"), "acts.h5")
_file("with another identity", _attribute("identity", "{}"), "acts.h5")
_file("with an identity that is no JSON", _attribute("identity", "{"), "acts.h5")
_file("without a row count", _attribute("rows", None), "acts.h5")
_file("with labels elsewhere", _member(_labels_outside), "acts.h5")
_file("without samples", _member(lambda file: file.pop("samples")), "acts.h5")
_file("with a manifest of another", lambda at: at.write("acts.manifest.json", b"{}"), "acts")
_file("with a manifest that is no JSON", lambda at: at.write("acts.manifest.json", b"["), "acts")


@refused("measure acts.h5::nothing", "acts.h5")
def store_layer_that_is_not_there(at: Bench) -> None:
    nothing(at)


@refused("dump vec.onnx train.npz --file acts.h5", "acts.h5", "--overwrite")
def store_of_another_data_set(at: Bench) -> None:
    nothing(at)


@refused("dump vec.onnx vec.npz --file acts.h5 --dtype float16", "acts.h5", "--overwrite")
def store_of_another_type(at: Bench) -> None:
    nothing(at)


@fine("dump vec.onnx vec.npz --file acts.h5")
def store_that_is_complete(at: Bench) -> None:
    nothing(at)
