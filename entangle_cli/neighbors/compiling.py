"""PyNNDescent compiled before it is needed, in a process of its own.

PyNNDescent's code is compiled by numba on first use, and the compiler keeps several hundred MiB
for as long as the process lives. A child process that builds a small graph fills numba's cache on
disk and takes that memory away with it; a mark in the cache says that this has been done for these
versions on this machine. Where no mark can be left, the child runs every time.
"""

import importlib.util
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# enough rows for the code that only larger graphs reach
ROWS, WIDTH = 20_000, 16
LONGEST_SECONDS = 600


def compile_ahead(neighbors: int) -> None:
    """See to it that numba's cache holds PyNNDescent's code for float32 Euclidean points.

    A child that fails changes nothing: the code is then compiled where it is used.
    """
    mark = _mark()
    if mark is None or mark.exists():
        return
    command = [sys.executable, "-m", __name__, str(neighbors)]
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        if child.returncode == 0:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    except (OSError, subprocess.TimeoutExpired):
        return


def build_small_graph(neighbors: int) -> None:
    """One graph from narrow random points, prepared and asked: all that a search compiles."""
    import numpy as np
    import pynndescent

    points = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    graph = pynndescent.NNDescent(points, metric="euclidean", n_neighbors=neighbors, random_state=0)
    graph.prepare()
    graph.query(points[:1], k=1)


def _mark() -> Path | None:
    """The file that says the cache is filled; None without PyNNDescent.

    Found without importing it, since that compiles already.
    """
    package = importlib.util.find_spec("pynndescent")
    if package is None or package.origin is None:
        return None
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(package.origin).parent / "__pycache__")
    versions = [metadata.version(name) for name in ("pynndescent", "numba")]
    python = f"python{platform.python_version()}"
    return folder / "-".join(("entangle", *versions, python, platform.node()))


if __name__ == "__main__":
    build_small_graph(int(sys.argv[1]))
