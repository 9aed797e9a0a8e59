"""Pickles of plain containers and NumPy arrays, read without running anything.

Nothing that a pickle names is NumPy's own: arrays and their types are built by stand-ins that check
every field, since NumPy trusts the states that it restores and crashes on wrong ones.
"""

import io
import pickle
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from entangle_cli.datasets.signature import regular_file
from entangle_cli.errors import DataError

PICKLE_LIMIT = 2**30
_TYPE = re.compile(r"[<>|=]?(b1|[ui][1248]|f[248])")


class _StandIn:
    """What a pickle names and may call, but not change."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("a state for what has none")


class _Encode(_StandIn):
    """How Python 3 writes bytes into old pickles; the codec is not the file's to choose."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object = "latin1") -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError(f"codec {encoding!r}")
        return text.encode("latin1")


class _Type:
    """A type of numbers: its name, then its byte order as the state."""

    __slots__ = ("order", "text")

    def __init__(self, text: str) -> None:
        self.text, self.order = text, ""

    def __setstate__(self, state: object) -> None:
        plain = isinstance(state, tuple) and len(state) >= 5 and all(x is None for x in state[2:5])
        if not plain or state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a type of something other than numbers")
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        """NumPy's own."""
        return np.dtype(self.text).newbyteorder(self.order or "=")


class _MakeType(_StandIn):
    """``numpy.dtype(text, align, copy)``."""

    __slots__ = ()

    def __call__(self, text: object, *_: object) -> _Type:
        if not isinstance(text, str) or not _TYPE.fullmatch(text):
            raise pickle.UnpicklingError(f"numbers of type {text!r}")
        return _Type(text)


class _ArrayType(_StandIn):
    """The type ``numpy.ndarray``, which pickles name but must not call."""

    __slots__ = ()


class _Array:
    """An array, empty until its state comes: version, shape, type, order, bytes."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array of another version")
        _, shape, kind, fortran, data = state
        # bytes that Python 2 wrote come as text
        data = data.encode("latin1") if isinstance(data, str) else data
        known = isinstance(kind, _Type) and isinstance(data, bytes) and isinstance(shape, tuple)
        if not known or not all(type(n) is int and n >= 0 for n in shape):
            raise pickle.UnpicklingError("an array of something other than numbers")
        order = "F" if fortran is True or fortran == 1 else "C"
        self.values = np.frombuffer(data, kind.dtype).reshape(shape, order=order)


class _MakeArray(_StandIn):
    """The empty array that a pickled one starts as."""

    __slots__ = ()

    def __call__(self, subtype: object, *_: object) -> _Array:
        if not isinstance(subtype, _ArrayType):
            raise pickle.UnpicklingError("an array of a foreign type")
        return _Array()


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy", "ndarray"): _ArrayType(),
    ("numpy", "dtype"): _MakeType(),
    ("_codecs", "encode"): _Encode(),
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

    Arrays are those that are values of the outermost dict.

    Raises:
        DataError: damaged, too large, or holding anything else (nothing of it is run).
    """
    if regular_file(path).stat().st_size > PICKLE_LIMIT:
        raise DataError(f"{path}: larger than {PICKLE_LIMIT >> 20} MiB; not a CIFAR batch")
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
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
    if isinstance(content, dict):
        return {key: v.values if isinstance(v, _Array) else v for key, v in content.items()}
    return content
