"""Mutants in forked processes: what they do to a reader, and how a crash or a hang is told.

A server imports the readers once and forks a child for a number of mutants (one, where the reader
is native code that could go on damaged). The child says what it begins and how it ended; silence
for ten seconds is a hang, an end without a word a crash, and the next child goes on behind it.
"""

import gc
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entangle_cli.errors import EntangleError
from entangle_cli.text import plain, shortened
from tests.fuzz.fuzz_mutators import mutated

SECONDS = 10.0
MEMORY = 2 * 2**30
ACCEPTED, REFUSED, FINDING = "accepted", "refused", "finding"


@dataclass(frozen=True)
class Sample:
    """A small sound input: ``files`` by name, and what of them is mutated (all, if empty).

    ``argument`` is what the reader is given of the folder, ``truth`` what it must read.
    """

    files: dict[str, bytes]
    argument: str
    mutable: tuple[str, ...] = ()
    truth: Any = None


@dataclass(frozen=True)
class Reader:
    """Something that reads files: raises an error of the package's own, or accepts.

    ``per_fork`` mutants share a process; ``share`` is smaller for slow readers; ``sealed`` makes
    checksums right again after a mutation.
    """

    name: str
    samples: Callable[[], Sequence[Sample]]
    read: Callable[[Path, Sample], object]
    per_fork: int = 100
    share: float = 1.0
    sealed: Callable[[dict[str, bytes]], dict[str, bytes]] | None = None
    prepare: Callable[[], object] = lambda: None


@dataclass
class Tally:
    """What came of the mutants of one reader."""

    reader: str
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    findings: list[dict] = field(default_factory=list)

    @property
    def mutants(self) -> int:
        """All of them."""
        return self.accepted + self.refused + len(self.findings)


def mutant(
    reader: Reader, samples: Sequence[Sample], seed: int, number: int
) -> tuple[Sample, dict[str, bytes]]:
    """The files of one mutant: the same for the same seed and number, whatever came before."""
    chance = random.Random(f"{seed}/{reader.name}/{number}")
    sample = chance.choice(samples)
    name = chance.choice(sample.mutable or tuple(sample.files))
    files = {**sample.files, name: mutated(chance, sample.files[name])}
    return sample, reader.sealed(files) if reader.sealed else files


def outcome(reader: Reader, sample: Sample, folder: Path) -> tuple[str, str]:
    """How the reader answers to the files in a folder."""
    try:
        reader.read(folder, sample)
    except EntangleError as error:
        # as the command line shows it
        line = shortened(plain(str(error)))
        return (REFUSED, line) if line else (FINDING, "a refusal without words")
    except Exception:
        return FINDING, traceback.format_exc()[-1500:]
    return ACCEPTED, ""


def fill(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder that holds these files and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def run(reader: Reader, seed: int, numbers: Sequence[int], keep: Path | None = None) -> Tally:
    """All these mutants of one reader; ``keep`` is where the files of findings go."""
    reader.prepare()
    samples = list(reader.samples())
    tally, begun = Tally(reader.name), time.monotonic()
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="entangle-fuzz-", dir=_memory()) as scratch:
        _check_sound(reader, samples, Path(scratch, "sound"))
        place = Path(scratch, "mutant")
        waiting = list(numbers)
        while waiting:
            part = waiting[: reader.per_fork]
            done = 0
            for number, how, text in _forked(reader, samples, seed, part, place):
                done += 1
                _count(tally, seed, number, how, text)
                if how == FINDING and keep is not None:
                    _save(keep, reader, seed, number, text, samples)
            waiting = waiting[done:]
    tally.seconds = time.monotonic() - begun
    return tally


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _check_sound(reader: Reader, samples: Sequence[Sample], folder: Path) -> None:
    """Every sample must be accepted as it is; in a fork, as some libraries start threads."""
    pid = os.fork()
    if pid == 0:
        status = 0
        for sample in samples:
            fill(folder, sample.files)
            how, text = outcome(reader, sample, folder)
            if how != ACCEPTED:
                sys.stderr.write(f"{reader.name}: a sound {sample.argument} is {how}: {text}\n")
                status = 1
        os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"{reader.name}: a sound sample is not accepted"


def _count(tally: Tally, seed: int, number: int, how: str, text: str) -> None:
    if how == ACCEPTED:
        tally.accepted += 1
    elif how == REFUSED:
        tally.refused += 1
    else:
        tally.findings.append({"seed": seed, "number": number, "what": text})


def _save(
    keep: Path, reader: Reader, seed: int, number: int, text: str, samples: Sequence[Sample]
) -> None:
    folder = keep / f"{reader.name.replace(' ', '-')}-{seed}-{number}"
    sample, files = mutant(reader, samples, seed, number)
    fill(folder, files)
    told = {"reader": reader.name, "seed": seed, "number": number, "argument": sample.argument}
    (folder / "finding.json").write_text(json.dumps(told | {"what": text}, indent=1))


def _forked(
    reader: Reader, samples: Sequence[Sample], seed: int, numbers: Sequence[int], place: Path
) -> Iterator[tuple[int, str, str]]:
    """What a child says of these mutants, up to one that it did not survive."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        _child(reader, samples, seed, numbers, place, sink)
    os.close(sink)
    told = 0
    try:
        with os.fdopen(source, "rb", buffering=0) as stream:
            for line in _lines(stream.fileno()):
                how, text = json.loads(line)
                yield numbers[told], how, text
                told += 1
        hung = None
    except TimeoutError as error:
        hung = str(error)
    finally:
        # waited for below, so the number is still its own
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if told < len(numbers):
        code = os.waitstatus_to_exitcode(status)
        yield numbers[told], FINDING, hung or f"the process ended with {code}"


def _lines(source: int) -> Iterator[bytes]:
    """One line after another.

    Raises:
        TimeoutError: nothing came for `SECONDS`.
    """
    held = b""
    while True:
        ready, _, _ = select.select([source], [], [], SECONDS)
        if not ready:
            raise TimeoutError(f"no answer within {SECONDS:g} s")
        part = os.read(source, 1 << 16)
        if not part:
            return
        *lines, held = (held + part).split(b"\n")
        yield from lines


def _child(
    reader: Reader,
    samples: Sequence[Sample],
    seed: int,
    numbers: Sequence[int],
    place: Path,
    sink: int,
) -> None:
    """Read the mutants and say how; never returns."""
    resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silent, stream)
    # whatever a person would see; Python shows no deprecations of libraries
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", DeprecationWarning)
    for number in numbers:
        sample, files = mutant(reader, samples, seed, number)
        fill(place, files)
        os.write(sink, json.dumps(outcome(reader, sample, place)).encode() + b"\n")
    os._exit(0)


def _data_bytes() -> int:
    """Private memory that this process has already."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[5]) * resource.getpagesize()
