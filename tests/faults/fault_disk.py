"""What a disk may hold after the power went: the recorded calls replayed with losses.

The model is stricter than any file system that people use. After the last ``fsync`` of a file its
bytes are what was written before it, and every later write is there, missing, or torn into sectors.
After the last ``fsync`` of a folder its names are what they were then, and of the later creations,
renames and removals a random beginning has happened. A folder itself is a name in its parent.
"""

import json
import os
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("<qqqHHc3x")

# every name below a folder: bytes of a file, None for a folder
Tree = dict[str, bytes | None]


@dataclass(frozen=True)
class Call:
    """One record of the shim's log; ``op`` as there: '!' was refused, '/' was about to be cut."""

    number: int
    op: str
    path: str
    second: str
    at: int
    data: bytes


def read_calls(log: Path) -> list[Call]:
    """The log of one run; a record that a kill cut off ends it."""
    raw, place, calls = log.read_bytes(), 0, []
    while place + _HEAD.size <= len(raw):
        number, at, size, first, second, op = _HEAD.unpack_from(raw, place)
        place += _HEAD.size
        parts = []
        for length in (first, second, size):
            parts.append(raw[place : place + length])
            place += length
        if place > len(raw):
            break
        calls.append(
            Call(number, op.decode(), os.fsdecode(parts[0]), os.fsdecode(parts[1]), at, parts[2])
        )
    return calls


def read_tree(folder: Path) -> Tree:
    """Everything below a folder."""
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = None if path.is_dir() else path.read_bytes()
    return found


def write_tree(tree: Tree, folder: Path) -> None:
    """Make a folder hold exactly this."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sorted(tree.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


@dataclass
class _File:
    """``saved`` is safe; ``later`` are changes since the last sync, as (op, at, data)."""

    saved: bytearray = field(default_factory=bytearray)
    later: list[tuple[str, int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.later:
            _apply(self.saved, *change)
        self.later.clear()

    def copy(self) -> "_File":
        return _File(bytearray(self.saved), list(self.later))


@dataclass
class _Folder:
    """``saved`` names are safe; ``later`` are changes since, each a function of the names."""

    saved: dict[str, "_File | _Folder"] = field(default_factory=dict)
    later: list[Callable[[dict], None]] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.later:
            change(self.saved)
        self.later.clear()

    @property
    def names(self) -> dict:
        return self.after(len(self.later))

    def after(self, changes: int) -> dict:
        names = dict(self.saved)
        for change in self.later[:changes]:
            change(names)
        return names


def _apply(content: bytearray, op: str, at: int, data: bytes) -> None:
    if op == "t":
        del content[at:]
    end = at + len(data)
    content.extend(bytes(max(0, end - len(content))))
    content[at:end] = data


class Disk:
    """The disk under one run's folder, fed with its calls one after another.

    Attributes:
        committed: rows promised so far by path of their journal: those of the lines that were in
            it when it was last synced.
    """

    def __init__(self, folder: Path, before: Tree) -> None:
        self._root = str(folder)
        self._top = _Folder()
        self.committed: dict[str, int] = {}
        for name, content in sorted(before.items()):
            parent, last = self._parent(f"{self._root}/{name}")
            parent.saved[last] = _Folder() if content is None else _File(bytearray(content))
            self._count(f"{self._root}/{name}")

    def happen(self, call: Call) -> None:
        """One more call."""
        if call.op == "?":
            raise AssertionError(f"{call.path}: changed by {call.second}, which is not followed")
        if call.op in "!/" or call.path.endswith(" (deleted)"):
            return
        if call.op in "sd":
            found = self._find(call.path)
            found.sync()
            self._count(call.path)
        elif call.op in "wtaz":
            at, op = (0, "t") if call.op == "z" else (call.at, call.op)
            self._find(call.path).later.append((op, at, call.data))
        elif call.op != "o":
            self._rename(call)

    def _rename(self, call: Call) -> None:
        """Calls that change names."""
        parent, last = self._parent(call.path)
        if call.op in "cm":
            new = _File() if call.op == "c" else _Folder()
            parent.later.append(lambda names: names.__setitem__(last, new))
        elif call.op in "ux":
            parent.later.append(lambda names: names.pop(last, None))
            # whoever removes a store takes back what it promised
            self.committed.pop(call.path, None)
            self.committed.pop(call.path.removesuffix(".h5") + ".journal", None)
        elif call.op == "r":
            other, target = self._parent(call.second)
            assert other is parent, "renames between folders are not modelled"
            moved = parent.names[last]

            def rename(names: dict) -> None:
                names.pop(last, None)
                names[target] = moved

            parent.later.append(rename)
            self.committed.pop(call.second, None)
        else:
            raise AssertionError(f"{call.path}: {call.op!r} is not modelled")

    def _count(self, path: str) -> None:
        if path.endswith(".journal"):
            self.committed[path] = rows_in(bytes(self._find(path).saved))

    def _find(self, path: str) -> "_File | _Folder":
        found = self._top
        for name in filter(None, path.removeprefix(self._root).split("/")):
            found = found.names[name]
        return found

    def _parent(self, path: str) -> tuple[_Folder, str]:
        parent, _, last = path.rpartition("/")
        return self._find(parent), last

    def surviving(self, chance: random.Random | None, keep: str = "random") -> Tree:
        """What is left: ``keep`` is all, none, or random, by ``chance``."""
        return dict(self._survivors(self._top, "", chance, keep))

    def _survivors(
        self, folder: _Folder, place: str, chance: random.Random | None, keep: str
    ) -> Iterator[tuple[str, bytes | None]]:
        most = len(folder.later)
        count = {"all": most, "none": 0}.get(keep)
        names = folder.after(chance.randint(0, most) if count is None else count)
        for name, found in sorted(names.items()):
            if isinstance(found, _Folder):
                yield place + name, None
                yield from self._survivors(found, f"{place}{name}/", chance, keep)
            else:
                yield place + name, _content(found, chance, keep)


def _content(file: _File, chance: random.Random | None, keep: str) -> bytes:
    content = bytearray(file.saved)
    for op, at, data in file.later if keep != "none" else ():
        fate = "kept" if keep == "all" else chance.choice(("kept", "kept", "torn", "lost"))
        if fate == "kept" or (fate == "torn" and op != "w"):
            _apply(content, op, at, data)
        elif fate == "torn":
            for start in range(0, len(data), SECTOR):
                if chance.random() < 0.5:
                    _apply(content, op, at + start, data[start : start + SECTOR])
    return bytes(content)


def rows_in(journal: bytes) -> int:
    """The rows that the whole lines of a journal commit."""
    lines = journal.split(b"\n")[1:-1]
    return json.loads(lines[-1].rpartition(b" ")[0])["stop"] if lines else 0


def promised(calls: Iterable[Call], folder: Path, before: Tree) -> dict[str, int]:
    """Rows that a run had committed after these calls, by path of the journal below ``folder``."""
    disk = Disk(folder, before)
    for call in calls:
        disk.happen(call)
    return {os.path.relpath(path, folder): rows for path, rows in disk.committed.items()}
