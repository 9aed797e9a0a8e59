"""Messages between this process and a confined one: JSON and arrays over a socket.

A message is two lengths, JSON of the first length, and the bytes of the arrays. Nothing in it is
executed when it is read, every length is checked before memory is taken, and who reads sets the
time by which all of it must be there.
"""

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from entangle_cli.errors import ModelError

_LENGTHS = struct.Struct("!QQ")
_LONGEST_TEXT = 64 * 2**20
_PART = 1 << 20
_DTYPES = frozenset("|b1 |i1 |u1 <f2 <i2 <u2 <f4 <i4 <u4 <f8 <i8 <u8".split())


class ChannelClosed(Exception):
    """The other side is gone."""


class NoAnswer(Exception):
    """The time is up."""


class Nonsense(ModelError):
    """The other side sends what is no message."""


class Channel:
    """One end of a socket; ``largest`` is the most bytes of arrays that it takes in a message."""

    def __init__(self, end: socket.socket, *, largest: int) -> None:
        self._end, self._largest = end, largest

    def close(self) -> None:
        """Hang up."""
        self._end.close()

    def send(self, message: Any, *, until: float | None = None) -> None:
        """Send plain Python values and numeric arrays.

        ``until`` is a time of ``time.monotonic``.

        Raises:
            ChannelClosed: nobody reads any more.
            NoAnswer: it was not read in time.
            ModelError: something in it is neither.
        """
        arrays: list[np.ndarray] = []
        text = json.dumps(_packed(message, arrays)).encode()
        self._send(_LENGTHS.pack(len(text), sum(array.nbytes for array in arrays)) + text, until)
        for array in arrays:
            self._send(array.reshape(-1).view(np.uint8).data, until)

    def receive(self, *, until: float | None = None) -> Any:
        """The next message.

        Raises:
            ChannelClosed: the other side hung up.
            NoAnswer: it was not there in time.
            Nonsense: it is not well formed, or larger than is taken.
        """
        text_size, size = _LENGTHS.unpack(self._bytes(_LENGTHS.size, until))
        if text_size > _LONGEST_TEXT or size > self._largest:
            raise Nonsense(f"it answered with {text_size + size} bytes, more than is taken")
        try:
            message = json.loads(bytes(self._bytes(text_size, until)))
            described: list[tuple[np.dtype, tuple[int, ...]]] = []
            _find_arrays(message, described)
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise Nonsense("it answered with what is no message") from None
        if sum(dtype.itemsize * math.prod(shape) for dtype, shape in described) != size:
            raise Nonsense("it answered with arrays of other sizes than it says")
        arrays = []
        for dtype, shape in described:
            array = np.empty(shape, dtype)
            self._fill(array.reshape(-1).view(np.uint8).data, until)
            arrays.append(array)
        return _unpacked(message, iter(arrays))

    def _send(self, data: Any, until: float | None) -> None:
        view = memoryview(data)
        try:
            while view:
                self._end.settimeout(_left(until))
                view = view[self._end.send(view[:_PART]) :]
        except TimeoutError:
            raise NoAnswer from None
        except OSError:
            raise ChannelClosed from None

    def _bytes(self, size: int, until: float | None) -> bytearray:
        data = bytearray(size)
        self._fill(memoryview(data), until)
        return data

    def _fill(self, room: memoryview, until: float | None) -> None:
        try:
            while room:
                self._end.settimeout(_left(until))
                count = self._end.recv_into(room)
                if not count:
                    raise ChannelClosed
                room = room[count:]
        except TimeoutError:
            raise NoAnswer from None
        except OSError:
            raise ChannelClosed from None


def _left(until: float | None) -> float | None:
    # zero would mean not to wait at all, and fails although something is there
    return None if until is None else max(0.001, until - time.monotonic())


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """``value`` as JSON; arrays are put aside, in order."""
    if isinstance(value, np.ndarray):
        array = np.asarray(value, order="C")
        ordered = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if ordered.dtype.str not in _DTYPES:
            raise ModelError(f"an array of {array.dtype} cannot be sent to a sandbox")
        arrays.append(ordered)
        return {"array": [ordered.dtype.str, list(array.shape)]}
    if isinstance(value, Mapping):
        return {"dict": [[key, _packed(x, arrays)] for key, x in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_packed(x, arrays) for x in value]}
    return {"value": value.item() if isinstance(value, np.generic) else value}


def _find_arrays(packed: Any, found: list[tuple[np.dtype, tuple[int, ...]]]) -> None:
    """The arrays of a packed value, in order; refuses whatever `_packed` does not make."""
    ((kind, content),) = packed.items()
    if kind == "array":
        found.append(_described(*content))
    elif kind == "dict":
        for key, value in content:
            hash(key)
            _find_arrays(value, found)
    elif kind == "list":
        for value in content:
            _find_arrays(value, found)
    elif kind != "value" or isinstance(content, (dict, list)):
        raise ValueError(kind)


def _described(name: str, shape: list) -> tuple[np.dtype, tuple[int, ...]]:
    if name not in _DTYPES:
        raise ValueError(name)
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(shape)
    return np.dtype(name), tuple(shape)


def _unpacked(packed: Any, arrays: Any) -> Any:
    ((kind, content),) = packed.items()
    if kind == "array":
        return next(arrays)
    if kind == "dict":
        return {key: _unpacked(value, arrays) for key, value in content}
    if kind == "list":
        return [_unpacked(value, arrays) for value in content]
    return content
