"""Pickles of plain containers and NumPy arrays, read without running anything."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from entangle_cli.datasets.signature import regular_file
from entangle_cli.errors import DataError

PICKLE_LIMIT = 2**30


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes into old pickles; the codec is not the file's to choose."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return text.encode("latin1")


# stands for the type numpy.ndarray, which pickles name but must not call
_ARRAY_TYPE = object()


def _new_array(subtype: object, shape: object, dtype: object) -> np.ndarray:
    """The empty array that a pickled one starts as; its state gives the shape."""
    if subtype is not _ARRAY_TYPE:
        raise pickle.UnpicklingError("an array of a foreign type")
    return np.ndarray((0,), dtype="u1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("asks for an object outside the file")


def load_pickle(path: Path) -> Any:
    """What a pickle of lists, dicts, text, numbers and arrays holds; old bytes become text.

    Raises:
        DataError: damaged, too large, or holding anything else (nothing of it is run).
    """
    if regular_file(path).stat().st_size > PICKLE_LIMIT:
        raise DataError(f"{path}: larger than {PICKLE_LIMIT >> 20} MiB; not a CIFAR batch")
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    # damaged pickles end in many ways
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
        EOFError,
        OverflowError,
        MemoryError,
        ImportError,
        NotImplementedError,
        SystemError,
        OSError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a pickle of plain arrays ({reason}); not loaded") from None
