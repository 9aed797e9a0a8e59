"""Which processes a command has started, and what they listen to, as ``ss`` lists it."""

import re
import subprocess
from pathlib import Path


def sockets(options: str, column: int, of: set[int]) -> list[str]:
    """Addresses in a column of what ``ss`` lists of these processes."""
    listed = subprocess.run(["ss", options], capture_output=True, text=True).stdout
    return [
        line.split()[column]
        for line in listed.splitlines()[1:]
        if of & set(map(int, re.findall(r"pid=(\d+)", line)))
    ]


def descendants(pid: int) -> set[int]:
    found, new = {pid}, {pid}
    while new:
        children = {
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and parent(entry) in new
        }
        new = children - found
        found |= new
    return found


def parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1
