"""Neighbor lists kept on disk, so that a second question about the same layers costs nothing.

A list is an .npz file with ``indices`` and ``distances``, named by the digest of everything that
determines it.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from entangle_cli.neighbors.interface import Neighbors


class NeighborStore:
    """The neighbor lists below one folder.

    A list is found again by its ``identity``: the activations of both sides, the layer, k, the
    metric and the method. A file that is damaged counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, identity: Mapping[str, Any]) -> Neighbors | None:
        """The list with this identity, None where there is none."""
        try:
            with open(self._path(identity), "rb") as file:
                stored = np.load(file, allow_pickle=False)
                return Neighbors(stored["indices"], stored["distances"])
        except (FileNotFoundError, zipfile.BadZipFile, ValueError, KeyError, EOFError):
            return None

    def write(self, identity: Mapping[str, Any], neighbors: Neighbors) -> None:
        """Keep a list; the file appears as a whole."""
        path = self._path(identity)
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            np.savez(file, indices=neighbors.indices, distances=neighbors.distances)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def _path(self, identity: Mapping[str, Any]) -> Path:
        text = json.dumps(identity, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"
