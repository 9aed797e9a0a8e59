"""A share of a run: which one, where it is kept, and what tells that it is done.

Shards count from 1: ``1/3``, ``2/3`` and ``3/3`` make up a run. A shard keeps what it made in a
folder of its own, ``DIR/shards/1-of-3``, and says so in ``shard.json`` there once it is done.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from entangle_cli import __version__
from entangle_cli.errors import StoreError, UsageError
from entangle_cli.results import write_text

Item = TypeVar("Item")
SHARDS = "shards"
MANIFEST = "shard.json"
_FORMAT = "entangle-shard"
_TEXT = re.compile(r"(\d{1,6})/(\d{1,6})")
_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX")
# a manifest names files and options; larger ones were not written here
_LARGEST = 2**24


@dataclass(frozen=True)
class Shard:
    """Number ``number`` of ``of``, counted from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, output: Path) -> Path:
        """Where the shard of a run into ``output`` is kept."""
        return output / SHARDS / f"{self.number}-of-{self.of}"

    def output(self, folder: Path) -> Path:
        """The run's folder, of which ``folder`` is the shard's."""
        return folder.parents[1]

    def of_items(self, items: Sequence[Item], place: int = 0, places: int = 1) -> list[Item]:
        """Those of the items of a place that are this shard's."""
        return [
            item
            for number, item in enumerate(items)
            if self.owns(place, places, number, len(items))
        ]

    def owns(self, place: int, places: int, item: int, items: int) -> bool:
        """Whether an item of a place is this shard's.

        Places divide the run evenly, items their place, and shards the run: each item belongs to
        one shard, and a shard needs to know only the places that it shares in.
        """
        middle = 2 * (place * items + item) + 1
        return middle * self.of // (2 * places * items) == self.number - 1

    def touches(self, place: int, places: int) -> bool:
        """Whether an item of a place can be this shard's."""
        first, last = (self.number - 1) * places, self.number * places
        return first < (place + 1) * self.of and place * self.of < last


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard behind ``i/n``, or ``slurm``: this task's place in its job array.

    Raises:
        UsageError: neither, or there is no job array.
    """
    if text == "slurm":
        return _of_slurm(environment)
    match = _TEXT.fullmatch(text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: give i/n with i from 1 to n, such as 1/16, or 'slurm'")
    return Shard(int(match[1]), int(match[2]))


def _of_slurm(environment: Mapping[str, str]) -> Shard:
    try:
        task, first, last = (int(environment[name]) for name in _SLURM)
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
    except (KeyError, ValueError):
        raise UsageError(
            "--shard slurm: this is no task of a Slurm job array (SLURM_ARRAY_TASK_ID, _MIN and "
            "_MAX); submit with --array, or give i/n"
        ) from None
    count = int(environment.get("SLURM_ARRAY_TASK_COUNT", str(last - first + 1)))
    if step != 1 or count != last - first + 1:
        raise UsageError(
            f"--shard slurm: the array's tasks {first} to {last} are {count}, with gaps between "
            "them; give --shard i/n with the numbers of the whole run"
        )
    return Shard(task - first + 1, count)


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard says of itself.

    Attributes:
        command: the command that it is a share of.
        number: which share, from 1.
        of: how many make up the run.
        run: what all shards of the run have in common.
        files: what it made, below its folder.
        folder: where it was found; not written.
    """

    command: str
    number: int
    of: int
    run: Mapping[str, Any]
    files: tuple[str, ...]
    folder: Path = field(default=Path(), compare=False)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"shard {self.number}/{self.of} ({self.folder})"

    def counts(self) -> dict[str, int]:
        """How many files there are below each of its folders."""
        return dict(Counter(name.partition("/")[0] for name in self.files))

    def write(self, folder: Path) -> Path:
        """Declare the shard in ``folder`` done."""
        content = asdict(self) | {"format": _FORMAT, "version": __version__}
        del content["folder"]
        folder.mkdir(parents=True, exist_ok=True)
        return write_text(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def read_record(folder: Path) -> ShardRecord:
    """What the shard in ``folder`` says of itself.

    Raises:
        StoreError: it is not finished, damaged, or of another release.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ValueError("another format")
        version = content.pop("version")
        record = ShardRecord(**content | {"folder": folder})
        whole = isinstance(record.run, dict) and 1 <= record.number <= record.of
        files = tuple(str(name) for name in record.files)
    except FileNotFoundError:
        raise StoreError(
            f"{folder}: holds no finished shard; run its command again, it goes on"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise StoreError(f"{path}: damaged; run the shard's command again")
    if version != __version__:
        raise StoreError(f"{path}: written by release {version}, this is {__version__}")
    return ShardRecord(record.command, record.number, record.of, record.run, files, folder)
