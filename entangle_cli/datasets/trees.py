"""A tree of files, in a folder or in a .zip: sorted names, and bytes by name.

Nothing is ever extracted. Hidden files and what archivers add (``__MACOSX``, ``.DS_Store``) do
not exist here.
"""

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from entangle_cli.datasets.labels import natural_key
from entangle_cli.datasets.reference import Reference
from entangle_cli.datasets.signature import regular_file
from entangle_cli.errors import DataError
from entangle_cli.text import suggestion

MEMBER_LIMIT = 512 * 2**20
_FILE_LIMIT = 20_000_000
# what Python's reader raises for damaged archives; RuntimeError: a member that is encrypted
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True)
class Tree:
    """Files by relative name with ``/``, in natural order; ``where`` is for messages."""

    where: str
    names: tuple[str, ...]
    read: Callable[[str], bytes]

    def below(self, prefix: str) -> "Tree":
        """The files below a folder of this tree, named from there."""
        start = prefix.rstrip("/") + "/"
        names = tuple(name[len(start) :] for name in self.names if name.startswith(start))
        read = self.read
        return Tree(f"{self.where}/{prefix}", names, lambda name: read(start + name))


def open_tree(reference: Reference) -> Tree:
    """The files at a folder or .zip, from ``::inside`` on where it is given.

    Raises:
        DataError: an archive that is damaged or not to be trusted, or no such folder inside.
    """
    tree = _folder(reference.path) if reference.path.is_dir() else _archive(reference.path)
    if reference.inside is None:
        return tree
    inside = tree.below(reference.inside.strip("/"))
    if not inside.names:
        cuts = (name.split("/")[:-1] for name in tree.names)
        folders = {"/".join(cut[:depth]) for cut in cuts for depth in range(1, len(cut) + 1)}
        hint = suggestion(reference.inside, folders)
        raise DataError(f"{tree.where}: no folder {reference.inside!r} inside{hint}")
    return inside


def _folder(root: Path) -> Tree:
    names: list[str] = []
    for folder, folders, files in os.walk(root, followlinks=False, onerror=_unreadable):
        folders[:] = [f for f in folders if not _hidden(f)]
        prefix = os.path.relpath(folder, root).replace(os.sep, "/")
        start = "" if prefix == "." else prefix + "/"
        names += [start + name for name in files if not _hidden(name)]
        if len(names) > _FILE_LIMIT:
            raise DataError(f"{root}: more than {_FILE_LIMIT} files; give a smaller folder")
        # a class folder may be a link to a folder elsewhere; one level keeps loops out
        for linked in (f for f in folders if os.path.islink(os.path.join(folder, f))):
            names += [f"{start}{linked}/{n}" for n in _listed(os.path.join(folder, linked))]
    return Tree(str(root), _ordered(names), lambda name: file_bytes(root / name))


def _listed(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not _hidden(name)]
    except OSError as error:
        _unreadable(error)
        raise


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions")


def file_bytes(path: Path) -> bytes:
    """The content of one sample's file.

    Raises:
        DataError: it is no regular file, larger than ``MEMBER_LIMIT``, or cannot be read.
    """
    if regular_file(path).stat().st_size > MEMBER_LIMIT:
        raise DataError(f"{path}: larger than {MEMBER_LIMIT // 2**20} MiB; not a sample")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file") from None


def _archive(path: Path) -> Tree:
    archive = open_zip(path)
    members = {i.filename: i for i in checked_members(archive, path) if not i.is_dir()}
    names = [name for name in members if not any(map(_hidden, name.split("/")))]
    return Tree(str(path), _ordered(names), lambda name: member_bytes(archive, members[name], path))


def open_zip(path: Path) -> zipfile.ZipFile:
    """A .zip file opened for reading.

    Raises:
        DataError: the file is damaged or cut short.
    """
    try:
        return zipfile.ZipFile(path)
    except ZIP_DAMAGE as error:
        raise DataError(f"{path}: a damaged .zip file ({error}); get it again") from None


def checked_members(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The members of an archive that can be trusted by name.

    Raises:
        DataError: a name occurs twice, leaves the archive or is a link, or a member is encrypted.
    """
    seen: set[str] = set()
    for member in archive.infolist():
        name = member.filename
        if name in seen:
            raise DataError(f"{path}: holds {name!r} twice; remove one of them")
        seen.add(name)
        if not name or name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise DataError(f"{path}: member {name!r} leaves the archive; make the archive again")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{path}: member {name!r} is a link; pack the file itself")
        if member.flag_bits & 0x1:
            raise DataError(f"{path}: member {name!r} is encrypted; unpack the archive first")
    return archive.infolist()


def member_bytes(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, limit: int = MEMBER_LIMIT
) -> bytes:
    """The content of one member, its checksum verified.

    Raises:
        DataError: the member is damaged or larger than ``limit`` bytes.
    """
    where = f"{path}::{member.filename}"
    if member.file_size > limit:
        raise DataError(f"{where}: larger than {limit // 2**20} MiB; unpack the archive first")
    try:
        return archive.read(member)
    except ZIP_DAMAGE as error:
        raise DataError(f"{where}: damaged ({error}); get the archive again") from None


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _ordered(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda n: ([natural_key(part) for part in n.split("/")], n)))
