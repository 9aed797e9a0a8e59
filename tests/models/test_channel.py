"""Messages to and from a confined process: exact for honest ones, an error for all others."""

import json
import socket
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entangle_cli.errors import ModelError
from entangle_cli.models.sandbox.channel import Channel, ChannelClosed, NoAnswer, Nonsense

LARGEST = 1 << 20


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def sent(message):
    """A message that went through a channel."""
    one, other = socket.socketpair()
    with one, other:
        there, here = Channel(one, largest=0), Channel(other, largest=1 << 28)
        thread = threading.Thread(target=there.send, args=[message])
        thread.start()
        try:
            return here.receive(until=time.monotonic() + 20)
        finally:
            thread.join()


def same(found, expected) -> bool:
    if isinstance(expected, np.ndarray):
        return (
            found.dtype == expected.dtype
            and found.shape == expected.shape
            and found.tobytes() == expected.tobytes()
        )
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(
            same(found[key], value) for key, value in expected.items()
        )
    if isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == expected and type(found) is type(expected)


ARRAYS = hnp.arrays(
    st.sampled_from(["<f2", "<f4", "<f8", "<i8", "|u1", "|b1"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5) | ARRAYS
MESSAGES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES)
def test_a_message_arrives_as_it_was_sent(message):
    assert same(sent(message), message)


def test_arrays_of_any_layout_and_size_arrive():
    large = np.random.default_rng(0).normal(size=(300, 2000))
    for array in (large, large.T, large[::3, ::-2], large.astype(">f4"), np.float32(2.5)):
        found = sent([array])[0]
        assert np.array_equal(found, array)


def test_what_is_no_number_is_not_sent(ends):
    with pytest.raises(ModelError, match="cannot be sent"):
        Channel(ends[0], largest=0).send(np.array(["text"]))


def frame(packed, payload=b"", *, text=None, size=None) -> bytes:
    body = json.dumps(packed).encode() if text is None else text
    return struct.pack("!QQ", len(body), len(payload) if size is None else size) + body + payload


NONSENSE = {
    "no json": frame(None, text=b"hello"),
    "not packed": frame([1, 2]),
    "two kinds": frame({"value": 1, "list": []}),
    "unknown kind": frame({"object": "os.system"}),
    "nested value": frame({"value": {"a": 1}}),
    "objects": frame({"array": ["|O", [1]]}, bytes(8)),
    "text": frame({"array": ["<U4", [1]]}, bytes(16)),
    "records": frame({"array": ["f4,f4", [1]]}, bytes(8)),
    "void": frame({"array": ["|V8", [1]]}, bytes(8)),
    "no dtype": frame({"array": ["nonsense", [1]]}, bytes(8)),
    "negative length": frame({"array": ["<f4", [-1]]}),
    "fraction": frame({"array": ["<f4", [1.0]]}, bytes(4)),
    "truth for a length": frame({"array": ["<f4", [True]]}, bytes(4)),
    "more than was sent": frame({"array": ["<f4", [2**40]]}, bytes(4)),
    "fewer than was sent": frame({"array": ["<f4", [1]]}, bytes(8)),
    "more than is taken": frame({"array": ["<f4", [1]]}, size=LARGEST + 1),
    "endless text": frame(None, text=b"") + bytes(8),
    "text of absurd length": struct.pack("!QQ", 2**62, 0),
    "deep": frame(None, text=b'{"list":[' * 20000),
    "unhashable key": frame({"dict": [[[1], {"value": 1}]]}),
    "pair of one": frame({"dict": [["a"]]}),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused(ends, name):
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 19)
    ends[0].sendall(NONSENSE[name])
    with pytest.raises(Nonsense):
        Channel(ends[1], largest=LARGEST).receive(until=time.monotonic() + 20)


def test_noise_is_refused_or_waits_for_more(ends):
    random = np.random.default_rng(0)
    for _ in range(200):
        one, other = socket.socketpair()
        with one, other:
            one.sendall(random.bytes(int(random.integers(0, 200))))
            one.shutdown(socket.SHUT_WR)
            with pytest.raises((Nonsense, ChannelClosed)):
                Channel(other, largest=LARGEST).receive(until=time.monotonic() + 20)


def test_a_mutated_message_is_an_error_or_a_message(ends):
    random = np.random.default_rng(1)
    good = frame({"list": [{"array": ["<f4", [2, 3]]}, {"value": "text"}]}, bytes(24))
    for _ in range(500):
        data = bytearray(good)
        for _ in range(int(random.integers(1, 4))):
            data[int(random.integers(16, len(data)))] = int(random.integers(256))
        one, other = socket.socketpair()
        with one, other:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            try:
                Channel(other, largest=LARGEST).receive(until=time.monotonic() + 20)
            except (Nonsense, ChannelClosed):
                pass


def test_an_answer_that_does_not_come_in_time(ends):
    ends[0].sendall(frame({"value": "all but the last byte"})[:-1])
    with pytest.raises(NoAnswer):
        Channel(ends[1], largest=0).receive(until=time.monotonic() + 0.05)


def test_a_reader_that_does_not_read(ends):
    with pytest.raises(NoAnswer):
        Channel(ends[0], largest=0).send(np.zeros(1 << 22), until=time.monotonic() + 0.05)


def test_a_reader_that_is_gone(ends):
    ends[1].close()
    with pytest.raises(ChannelClosed):
        Channel(ends[0], largest=0).send(np.zeros(1 << 22))
    with pytest.raises(ChannelClosed):
        Channel(ends[0], largest=0).receive()
