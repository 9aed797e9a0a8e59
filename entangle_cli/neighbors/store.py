"""Neighbor lists kept on disk, so that a second question about the same layers costs nothing.

A list is an .npz file with ``indices``, ``distances`` and ``notes``, named by the digest of
everything that determines it. What is read is a map of the file and takes no memory of its own.
"""

import fcntl
import hashlib
import json
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.mapped import mapped_arrays, write_arrays

# what reading a damaged archive or array raises
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    SyntaxError,
    tokenize.TokenError,
    RuntimeError,
    SystemError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class NeighborStore:
    """The neighbor lists below one folder.

    A list is found again by its ``identity``: the activations of both sides, the layer, k, the
    metric and the method. A file that is damaged counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, identity: Mapping[str, Any]) -> tuple[Neighbors, tuple[str, ...]] | None:
        """The list with this identity and the notes on it, None where there is none."""
        path = self._path(identity)
        if not path.is_file():
            return None
        try:
            # before numpy parses headers: a changed byte must not reach its parser
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    return None
            with warnings.catch_warnings():
                # numpy remarks on odd headers, and reads them
                warnings.simplefilter("ignore")
                indices, distances, notes = mapped_arrays(path, ("indices", "distances", "notes"))
            found = Neighbors(indices, distances)
            return (found, tuple(map(str, notes.tolist()))) if _is_list(found) else None
        except _DAMAGE:
            return None

    def write(
        self, identity: Mapping[str, Any], neighbors: Neighbors, notes: Sequence[str] = ()
    ) -> None:
        """Keep a list and what somebody who uses it should know; the file appears as a whole.

        While another process writes the same list, this one leaves it to that.

        Raises:
            OSError: no space, or no permission; nothing is left behind.
        """
        path = self._path(identity)
        self.folder.mkdir(parents=True, exist_ok=True)
        # the same name every time: what a killed process has left is used up by the next
        temporary = path.with_name(f"{path.name}.tmp")
        with open(os.open(temporary, os.O_RDWR | os.O_CREAT, 0o644), "wb") as file:
            if not _alone(file.fileno(), temporary):
                return
            try:
                file.truncate(0)
                arrays = {"indices": neighbors.indices, "distances": neighbors.distances}
                write_arrays(file, {**arrays, "notes": np.array(notes, dtype=np.str_)})
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def remove(self, identity: Mapping[str, Any]) -> None:
        """Remove a list, if there is one."""
        self._path(identity).unlink(missing_ok=True)

    def _path(self, identity: Mapping[str, Any]) -> Path:
        text = json.dumps(identity, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"


def _alone(fd: int, path: Path) -> bool:
    """Whether no other process writes the file, which is open, or has just put it in its place."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:
        # a file system without locks
        return True


def _is_list(found: Neighbors) -> bool:
    indices, distances = found.indices, found.distances
    return (
        indices.dtype == np.int64
        and distances.dtype.kind == "f"
        and indices.ndim == 2
        and indices.shape == distances.shape
        and all(
            bool((indices[rows] >= -1).all() and not np.isnan(distances[rows]).any())
            for rows in found.blocks()
        )
    )
