"""What kind of file this is, by its content: names and suffixes are often wrong."""

import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

FileKind = Literal[
    "torchscript", "onnx", "pt2", "state_dict", "pickle", "safetensors", "hdf5", "html",
    "git-lfs", "empty", "cut zip", "zip", "text", "unknown",
]  # fmt: skip

_EXPORT = "save torch.jit.trace(model.eval(), example) or an ONNX export of it"
REASONS: dict[FileKind, str] = {
    "empty": "the file is empty",
    "html": "a web page, not a model; the download went wrong, fetch the file itself",
    "git-lfs": "a git-lfs pointer, not the model itself; run `git lfs pull`",
    "cut zip": "the file is cut or damaged, its table of contents is missing; copy it again",
    "state_dict": "a state_dict, not TorchScript: weights without their network; load it into "
    f"the network and {_EXPORT}",
    "pickle": "a pickled Python object, as torch.save(model) writes it, which can run any code "
    f"when loaded; load it where it was made and {_EXPORT}",
    "pt2": f"a torch.export file (.pt2), which is not read; {_EXPORT}",
    "safetensors": "a safetensors file: weights without their network; load it into the network "
    f"and {_EXPORT}",
    "hdf5": "an HDF5 file, perhaps Keras weights, not a model; convert the model to ONNX",
    "zip": "a zip archive, but not a model; models are ONNX or TorchScript files",
    "text": "a text file, not a model; models are ONNX or TorchScript files",
    "unknown": "neither ONNX nor TorchScript, or damaged",
    "onnx": "an ONNX file, not TorchScript",
    "torchscript": "a TorchScript file, not ONNX",
}
"""Why a file of this kind is not the model that was looked for, as the end of a sentence."""

PICKLE_GLOBALS = frozenset({
    "collections OrderedDict",
    "torch device",
    "torch Size",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_qtensor",
    "torch per_tensor_affine",
    "torch per_channel_affine",
    "torch per_channel_affine_float_qparams",
})  # fmt: skip
"""What a pickle of tensors alone refers to, beside the storages and dtypes of torch."""

ZIP_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, IndexError,
    RuntimeError, OverflowError, MemoryError,
)  # fmt: skip
"""What Python's readers raise for damaged archives and pickles."""

_TORCH_NAME = re.compile(
    r"torch (?:\w+Storage|float\w*|bfloat16|u?int\d+|bool|q?u?int\d+x?\d*|complex\d+)"
)
_LENGTH_DELIMITED = 2
# the fields of ModelProto: number -> wire type
_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_ONNX_GRAPH = 7


def file_kind(path: Path) -> FileKind:
    """The kind of the file at ``path``; reads its head, a zip's listing and small pickles."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head.startswith(b"version https://git-lfs"):
        return "git-lfs"
    if re.match(rb"\s*<(?:!doctype|html|\?xml|head|body)", head, re.IGNORECASE):
        return "html"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    return _flat_kind(path, head)


def _flat_kind(path: Path, head: bytes) -> FileKind:
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        # torch.save before 1.6 wrote several pickles in a row, the first one a magic number
        return "pickle"
    with path.open("rb") as file:
        if _is_onnx(file, path.stat().st_size):
            return "onnx"
    if not re.search(rb"[^\t\n\r\x20-\x7e\x80-\xff]", head):
        return "text"
    return "unknown"


def _zip_kind(path: Path) -> FileKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            ends = {name.rpartition("/")[2] for name in names}
            if "constants.pkl" in ends and any("/code/" in name for name in names):
                return "torchscript"
            if ends & {"archive_format", "serialized_exported_program.json"}:
                return "pt2"
            pickles = [name for name in names if name.endswith("data.pkl")]
            if not pickles:
                return "zip"
            plain = all(foreign_global(archive.read(name)) is None for name in pickles)
            return "state_dict" if plain else "pickle"
    except ZIP_DAMAGE:
        return "cut zip"


def foreign_global(pickle: bytes, own: tuple[str, ...] = ()) -> str | None:
    """The first class or function that a pickle refers to beyond tensors, None if there is none.

    Names that begin with ``own`` are allowed as well. Nothing is unpickled.
    """
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX"):
            return f"the opcode {opcode.name}"
        if opcode.name == "GLOBAL":
            known = argument in PICKLE_GLOBALS or _TORCH_NAME.fullmatch(argument)
            if not known and not argument.startswith(own):
                return argument.replace(" ", ".")
    return None


def _is_onnx(file: BinaryIO, size: int) -> bool:
    """Whether the file is one whole ModelProto, judged by its outermost fields alone."""
    seen = set()
    while file.tell() < size:
        tag = _varint(file)
        number, wire = (0, 0) if tag is None else (tag >> 3, tag & 7)
        value = _varint(file)
        if value is None or _ONNX_FIELDS.get(number) != wire:
            return False
        seen.add(number)
        if wire == _LENGTH_DELIMITED:
            if file.tell() + value > size:
                return False
            file.seek(value, 1)
    return _ONNX_GRAPH in seen


def _varint(file: BinaryIO) -> int | None:
    """The next variable-length integer, None where there is none."""
    value = shift = 0
    while shift < 70:
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    return None
