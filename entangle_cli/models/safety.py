"""The gate before a TorchScript file is loaded: what its program may reach.

A TorchScript file is a program. It can read and write files while it runs, and even while it is
loaded. The gate reads the archive without executing anything of it, and refuses what no network
needs. It is no proof of harmlessness: run a stranger's file in a container.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from entangle_cli.models.formats import REASONS, ZIP_DAMAGE, file_kind, foreign_global

_TRUST = "if you trust the file, --trust loads it all the same"
# trust does not help here
_MISSING = "it uses the operator"
_OWN = "__torch__"
_RESTORERS = "torch.jit._pickle "
# operators of torch by namespace; others are registered by packages that are not here
_NAMESPACES = frozenset(
    "aten prim quantized _quantized prepacked mkl mkldnn mkldnn_prepacked onednn sparse"
    " profiler".split()
)
_FILES = frozenset({"save", "from_file"})
_MEMORY = frozenset(
    "as_strided as_strided_ set_ resize_ resize_as_ _reinterpret_tensor"
    " _cudnn_init_dropout_state".split()
)
_NETWORK = frozenset("rpc_sync rpc_async rpc_remote".split())
# whatever TorchScript's reader skips between two words
_GAP = r"(?:\s|\\\r?\n|#[^\n]*\n)*"
_ATTRIBUTE = re.compile(rf"\.{_GAP}(\w+)")
_QUOTED = re.compile(r"""["'](\w+)["']""")
# not `ops : SomeModule`, by which a class declares an attribute of that name
_OPERATOR = re.compile(rf"(?<![\w.])ops\b(?!{_GAP}:)(?:{_GAP}\.{_GAP}(\w+){_GAP}\.{_GAP}(\w+))?")
_NAME = re.compile(r"\b\w+\b")
# these alone restore their packed weights with code of their own
_QUANTISED = re.compile(r"[^/]+/code/__torch__/torch/(?:ao/)?nn/(?:intrinsic/)?quantized/.+\.py")
_SETSTATE = re.compile(r"\b__setstate__\b")
_LARGE = 1 << 30


def refusal(path: Path, *, trust: bool = False) -> str | None:
    """Why the file must not be loaded as TorchScript, in one line; None if it may.

    ``trust`` skips the judgement of what the program does, not that of the file itself.
    """
    kind = file_kind(path)
    if kind != "torchscript":
        return REASONS[kind]
    try:
        with zipfile.ZipFile(path) as archive:
            reason = _broken(archive, path.stat().st_size)
            if reason is not None or trust:
                return reason
            suspicion = next(_suspicions(archive), None)
    except ZIP_DAMAGE as error:
        what = next(iter(str(error).splitlines()), type(error).__name__)
        return f"the file is damaged ({what[:80]}); copy it again"
    if suspicion is None or suspicion.startswith(_MISSING):
        return suspicion
    return f"{suspicion}; {_TRUST}"


def _broken(archive: zipfile.ZipFile, size: int) -> str | None:
    members = archive.infolist()
    # torch compares the names of members without case
    names = [member.filename.casefold() for member in members]
    if len(set(names)) != len(names):
        return "two parts of the file have the same name"
    if len({name.split("/")[0] for name in names}) != 1 or any(".." in n.split("/") for n in names):
        return "not laid out as TorchScript: its parts are not in one folder"
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(_LARGE, 100 * size):
        return f"it unpacks to {unpacked / 1e9:.0f} GB, far more than its own size"
    damaged = archive.testzip()
    return None if damaged is None else f"damaged: wrong checksum of {damaged}; copy it again"


def _suspicions(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        folded = name.casefold()
        if folded.endswith(".debug_pkl"):  # line numbers, by a reader that knows no other types
            found = None
        elif folded.endswith("pkl"):
            found = _foreign_object(archive.read(name))
        elif "/code/" in folded:
            found = _suspicious_code(archive.read(name).decode("utf-8", "replace"), name)
        else:
            found = None
        if found is not None:
            yield f"{found} (in {name})"


def _foreign_object(pickle: bytes) -> str | None:
    found = foreign_global(pickle, (_OWN, _RESTORERS))
    return None if found is None else f"its data refer to {found}, which no network needs"


def _suspicious_code(text: str, name: str) -> str | None:
    """What the code of one member reaches for beyond tensors, None for nothing."""
    if _SETSTATE.search(text) and not _QUANTISED.fullmatch(name):
        return "it runs code of its own while it is loaded (__setstate__)"
    if _NETWORK.intersection(_NAME.findall(text)):
        return "it makes calls over the network (rpc)"
    for space, operator in _OPERATOR.findall(text):
        if space not in _NAMESPACES:
            called = f"{space}::{operator}" if space else "ops"
            return (
                f"{_MISSING} {called}, which is not torch's own; the package that registers it "
                "is not part of entangle"
            )
    reached = set(_ATTRIBUTE.findall(text))
    if "getattr" in text:
        reached.update(_QUOTED.findall(text))
    if found := sorted(reached & _FILES):
        return f"it reads or writes files (aten::{found[0]})"
    if found := sorted(reached & _MEMORY):
        return f"it reaches past the bounds of its tensors (aten::{found[0]})"
    return None
