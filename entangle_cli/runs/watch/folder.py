"""The checkpoints in a folder that somebody else is writing into."""

import os
import stat
from collections.abc import Hashable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path

from entangle_cli.errors import UsageError
from entangle_cli.models.series import SUFFIXES

_TEMPORARY = {".tmp", ".temp", ".part", ".partial", ".incomplete", ".crdownload", ".swp", ".lock"}


@dataclass(frozen=True)
class WatchedFolder:
    """A folder, and the names in it that count (``step*.onnx``)."""

    path: Path
    pattern: str = "*"

    def __str__(self) -> str:
        return str(self.path if self.pattern == "*" else self.path / self.pattern)

    def look(self) -> dict[str, Hashable]:
        """What is there, by name: everything that a change of a checkpoint's content changes.

        That is size, time and inode of the file and of those whose names go on after its own, such
        as an ONNX file's external data. A link to another checkpoint of the folder (``latest.pt``)
        is none of its own. A folder that is missing holds nothing.
        """
        found = {}
        try:
            entries = sorted(os.scandir(self.path), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:
                # gone again, or a link to nothing
                continue
            if stat.S_ISREG(status.st_mode) and not is_temporary(entry.name):
                if not (entry.is_symlink() and self._inside(entry)):
                    found[entry.name] = (status.st_size, status.st_mtime_ns, status.st_ino)
        others = [name for name in found if not _is_checkpoint(name)]
        return {
            name: (found[name], *((o, found[o]) for o in others if o.startswith(name)))
            for name in found
            if _is_checkpoint(name) and fnmatchcase(name, self.pattern)
        }

    def _inside(self, link: "os.DirEntry[str]") -> bool:
        return os.path.dirname(os.path.realpath(link.path)) == os.path.realpath(self.path)


def watched_folder(place: str) -> WatchedFolder:
    """``DIR``, or ``DIR/*.onnx``. The folder may be missing, the one that it goes into may not.

    Raises:
        UsageError: no folder, and none that could come.
    """
    path, pattern = Path(place).expanduser(), "*"
    if has_magic(path.name) and not path.exists():
        path, pattern = path.parent, path.name
    if path.exists() and not path.is_dir():
        raise UsageError(f"--watch {place}: not a folder; give the folder that checkpoints go into")
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"--watch {place}: neither it nor the folder above it exists; correct the path"
        )
    return WatchedFolder(path, pattern)


def is_temporary(name: str) -> bool:
    """Whether a name says that the file is not meant to be read: hidden, ``.tmp``, ``.part``."""
    hidden = name.startswith((".", "~", "#"))
    return hidden or any(suffix.lower() in _TEMPORARY for suffix in Path(name).suffixes)


def _is_checkpoint(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES
