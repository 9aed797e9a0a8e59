"""Mutations of files: of plain bytes, of text, and of what lies inside archives and images.

Every function takes a source of chance and the bytes, and returns other bytes. What is packed
(zip, gzip) or sealed (PNG) is often opened, changed and closed again, so that the change arrives
behind the checksums.
"""

import gzip
import io
import random
import re
import struct
import warnings
import zipfile
import zlib

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536)
_LARGE = (2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)
_WORDS = (
    "0", "-1", "1", "255", "4294967296", "9" * 30, "1e999", "1e-999", "NaN", "Infinity", "true",
    "null", "[]", "{}", '""', "''", '"\\u0000"', '"\\ud800"', "[[[[", "]", "{", "}", ",", ":", "=",
    "\n", "\t", "\0", "\x1b[31m", "\u202e", "\ufeff", "é", "../", "/", "*", "[0-9]", "~", "%",
    "@test", "::x", "[1:2]", "(", ")", "#", "\\", "'", '"', "__class__", "nan", "2000-01-01", "0x7",
)  # fmt: skip
_TOKEN = re.compile(r"\w+|[^\w\s]")
_DIGITS = re.compile(rb"\d+")
_PNG = b"\x89PNG\r\n\x1a\n"
# beyond it a mutant costs more than it finds
LONGEST = 1 << 20


def mutated(chance: random.Random, data: bytes) -> bytes:
    """``data`` after one mutation, or a few."""
    for _ in range(1 if chance.random() < 0.6 else chance.randint(2, 4)):
        data = _once(chance, data)
    return data[:LONGEST]


def _once(chance: random.Random, data: bytes) -> bytes:
    opened = chance.random() < 0.65
    if opened and data.startswith(b"PK\x03\x04"):
        return _inside_zip(chance, data)
    if opened and data.startswith(b"\x1f\x8b"):
        return _inside_gzip(chance, data)
    if opened and data.startswith(_PNG):
        return _inside_png(chance, data)
    if chance.random() < 0.8 and _is_text(data):
        return chance.choice(_TEXT)(chance, data.decode()).encode("utf-8", "replace")
    return chance.choice(_BYTES)(chance, data)


def _is_text(data: bytes) -> bool:
    try:
        return bool(data) and b"\0" not in data and bool(data.decode())
    except UnicodeDecodeError:
        return False


def _place(chance: random.Random, data: bytes) -> int:
    """Somewhere in the data, often in its first bytes, where headers are, or in its last."""
    kind = chance.random()
    if kind < 0.4:
        return min(len(data), chance.randrange(200))
    if kind < 0.5:
        return max(0, len(data) - chance.randrange(200))
    return chance.randint(0, len(data))


def _piece(chance: random.Random, data: bytes) -> tuple[int, int]:
    start = _place(chance, data)
    return start, min(len(data), start + 2 ** chance.randint(0, 9))


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    """One to eight bits are turned over."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8)) if data else 0):
        changed[min(_place(chance, data), len(data) - 1)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def set_bytes(chance: random.Random, data: bytes) -> bytes:
    """A few bytes in a row become 0, 255, or random."""
    start = _place(chance, data)
    count = chance.choice((1, 1, 2, 4, 16))
    kind = chance.randrange(3)
    new = (bytes(count), b"\xff" * count, chance.randbytes(count))[kind]
    return data[:start] + new[: len(data) - start] + data[start + count :]


def set_number(chance: random.Random, data: bytes) -> bytes:
    """A number at the edge of something stands where another one stood."""
    size = chance.choice((1, 2, 4, 8))
    value = chance.choice(_NUMBERS + _LARGE) + chance.choice((0, 0, 0, -1, 1))
    number = (value % 2 ** (8 * size)).to_bytes(size, chance.choice(("little", "big")))
    start = _place(chance, data)
    if chance.random() < 0.5:
        start -= start % size
    return data[:start] + number + data[start + size :]


def set_digits(chance: random.Random, data: bytes) -> bytes:
    """Another number in digits, as in the header of a .npy file."""
    found = list(_DIGITS.finditer(data[:4096]))
    if not found:
        return set_number(chance, data)
    one = chance.choice(found)
    new = chance.choice(("0", "1", "-1", "7", "9" * 9, "9" * 25, str(int(one[0]) + 1))).encode()
    if chance.random() < 0.5:
        new = new[: len(one[0])].rjust(len(one[0]))
    return data[: one.start()] + new + data[one.end() :]


def cut(chance: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: _place(chance, data)]


def remove(chance: random.Random, data: bytes) -> bytes:
    """A piece is missing."""
    start, stop = _piece(chance, data)
    return data[:start] + data[stop:]


def repeat(chance: random.Random, data: bytes) -> bytes:
    """A piece is there more than once."""
    start, stop = _piece(chance, data)
    return data[:stop] + data[start:stop] * chance.choice((1, 1, 2, 20)) + data[stop:]


def insert(chance: random.Random, data: bytes) -> bytes:
    """Bytes that do not belong there."""
    start = _place(chance, data)
    new = chance.randbytes(2 ** chance.randint(0, 8))
    return data[:start] + chance.choice((new, bytes(len(new)))) + data[start:]


def swap(chance: random.Random, data: bytes) -> bytes:
    """Two pieces have changed places."""
    a, b = sorted((_piece(chance, data), _piece(chance, data)))
    if a[1] > b[0]:
        return flip_bits(chance, data)
    return data[: a[0]] + data[slice(*b)] + data[a[1] : b[0]] + data[slice(*a)] + data[b[1] :]


def copy(chance: random.Random, data: bytes) -> bytes:
    """A piece stands also in another's place."""
    start, stop = _piece(chance, data)
    at = _place(chance, data)
    return data[:at] + data[start:stop] + data[at + stop - start :]


def _replace_token(chance: random.Random, text: str) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return chance.choice(_WORDS)
    one = chance.choice(found)
    new = chance.choice(_WORDS) if chance.random() < 0.6 else chance.choice(found)[0]
    return text[: one.start()] + new + text[one.end() :]


def _drop_token(chance: random.Random, text: str) -> str:
    found = list(_TOKEN.finditer(text))
    if not found:
        return ""
    one = chance.choice(found)
    return text[: one.start()] + text[one.end() :]


def _insert_word(chance: random.Random, text: str) -> str:
    at = chance.randint(0, len(text))
    return text[:at] + chance.choice(_WORDS) * chance.choice((1, 1, 1, 3, 400)) + text[at:]


def _shuffle_lines(chance: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    kind = chance.randrange(3)
    if kind == 0:
        chance.shuffle(lines)
    elif kind == 1 and lines:
        lines.insert(chance.randint(0, len(lines)), chance.choice(lines))
    elif lines:
        lines.pop(chance.randrange(len(lines)))
    return "".join(lines)


def _inside_zip(chance: random.Random, data: bytes) -> bytes:
    """One member is changed, left out, doubled or renamed, and the archive made again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [[m.filename, archive.read(m), m.compress_type] for m in archive.infolist()]
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ArithmeticError,
            ValueError,
            RuntimeError, struct.error):  # fmt: skip
        return flip_bits(chance, data)
    if not members:
        return flip_bits(chance, data)
    kind, at = chance.random(), chance.randrange(len(members))
    if kind < 0.75:
        members[at][1] = _once(chance, members[at][1])[:LONGEST]
    elif kind < 0.8:
        members.pop(at)
    elif kind < 0.85:
        members.append(list(members[at]))
    elif kind < 0.95:
        members[at][0] = _insert_word(chance, members[at][0])[:1000]
    else:
        members[at][0], members[0][0] = members[0][0], members[at][0]
    return _zipped(members)


def _zipped(members: list[list]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as archive:
        warnings.simplefilter("ignore")
        for name, content, kind in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            archive.writestr(info, content, kind if kind in (0, 8) else 0)
    return out.getvalue()


def _inside_gzip(chance: random.Random, data: bytes) -> bytes:
    try:
        return gzip.compress(_once(chance, gzip.decompress(data))[:LONGEST], 1, mtime=0)
    except (OSError, EOFError, zlib.error, struct.error):
        return flip_bits(chance, data)


def _inside_png(chance: random.Random, data: bytes) -> bytes:
    """One chunk is changed, left out or doubled; every checksum is right again."""
    chunks, at = [], len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    if not chunks:
        return flip_bits(chance, data)
    kind, one = chance.random(), chance.randrange(len(chunks))
    if kind < 0.7:
        chunks[one][1] = chance.choice(_BYTES)(chance, chunks[one][1])
    elif kind < 0.8:
        chunks.pop(one)
    elif kind < 0.9:
        chunks.insert(chance.randint(0, len(chunks)), list(chunks[one]))
    else:
        kinds = (b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iCCP")
        chunks[one][0] = chance.choice((*kinds, b"eXIf", b"iTXt", b"IEND", b"gAMA", b"pHYs"))
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


_BYTES = (flip_bits, set_bytes, set_number, set_digits, cut, remove, repeat, insert, swap, copy)
_TEXT = (_replace_token, _replace_token, _drop_token, _insert_word, _shuffle_lines)
