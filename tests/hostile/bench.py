"""Where bad inputs are built, given to the command line, and judged.

A case is a function that spoils something in a folder of sound files; its decorator says which
command then runs and how it must end::

    @refused("measure net.onnx spoiled.npz", "no samples")
    def no_rows(at: Bench) -> None:
        at.npz("spoiled.npz", x=at.points[:0], y=at.labels[:0])

Sound files in every folder: ``net.onnx`` and ``net.pt`` take 8x8 grey images, ``vec.onnx`` and
``vec.pt`` four numbers; ``images.npz``, ``images/`` and ``vec.npz`` are data for them,
``train.npz`` and ``calib.npz`` have the same classes as ``vec.npz``; ``acts.h5`` is a dump.
"""

import io
import shlex
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from entangle_cli.app import app

SIDE, CLASSES, ROWS = 8, 3, 24
SECONDS, BYTES = 60, 4 * 2**30
LONGEST_LINE = 600


@dataclass(frozen=True)
class Bench:
    """A folder with sound files, and the random numbers of one case."""

    folder: Path
    random: np.random.Generator
    points: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    def path(self, name: str) -> Path:
        """A file in the folder, with the folders above it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, content: bytes | str) -> Path:
        """A file with this content."""
        data = content.encode() if isinstance(content, str) else content
        self.path(name).write_bytes(data)
        return self.folder / name

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.folder / name).read_bytes()

    def cut(self, source: str, target: str, low: float = 0.1, high: float = 0.9) -> Path:
        """A file that ends too early, at a random place."""
        data = self.read(source)
        return self.write(target, data[: int(len(data) * self.random.uniform(low, high))])

    def npz(self, name: str, **arrays: object) -> Path:
        """An archive of arrays."""
        np.savez(self.path(name), **arrays)
        return self.folder / name

    def npy(self, name: str, array: np.ndarray) -> Path:
        """One array."""
        np.save(self.path(name), array)
        return self.folder / name

    def zip(self, name: str, members: "Mapping[str, bytes]", **options: object) -> Path:
        """An archive of these members."""
        with zipfile.ZipFile(self.path(name), "w", **options) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        return self.folder / name

    def png(self, row: int = 0) -> bytes:
        """One of the images as a PNG file."""
        return encoded(Image.fromarray(self.images[row]))

    def class_folders(self, name: str, count: int = 4) -> Path:
        """Images in one folder per class, ``count`` of each."""
        for label in range(CLASSES):
            rows = np.flatnonzero(self.labels == label)[:count]
            for row in rows:
                self.write(f"{name}/{label}/{row}.png", self.png(int(row)))
        return self.folder / name


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """An image as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@dataclass(frozen=True)
class Case:
    """One bad input: how it is made, the words of the command line, and how it must end."""

    name: str
    build: Callable[[Bench], object]
    words: tuple[str, ...]
    outcome: str
    says: tuple[str, ...] = ()
    keeps: str = "."
    pending: str = ""


CATALOGUE: dict[str, Case] = {}


def _registering(outcome: str, words: str, says: tuple[str, ...]) -> Callable:
    def register(build: Callable[[Bench], object]) -> Callable:
        add(build.__name__, build, words, outcome, *says)
        return build

    return register


def add(name: str, build: Callable, words: str, outcome: str, *says: str) -> None:
    """Add a case to the catalogue."""
    assert name not in CATALOGUE, name
    CATALOGUE[name] = Case(name, build, tuple(shlex.split(words)), outcome, says)


def refused(words: str, *says: str) -> Callable:
    """A case that ends with exit code 2 and one line that holds ``says``."""
    return _registering("refused", words, says)


def warned(words: str, *says: str) -> Callable:
    """A case that is answered, with a message that holds ``says``."""
    return _registering("warned", words, says)


def fine(words: str, *says: str) -> Callable:
    """A case that is odd but legal."""
    return _registering("fine", words, says)


def keeps(name: str, folder: str) -> None:
    """Files below this folder may be left by a refused case: they are whole and of use."""
    CATALOGUE[name] = replace(CATALOGUE[name], keeps=folder)


def pending(name: str, reason: str) -> None:
    """A case that is not answered yet as it should be."""
    CATALOGUE[name] = replace(CATALOGUE[name], pending=reason)


def nothing(at: Bench) -> None:
    """Build nothing: the command line itself is what is bad."""


def generator(name: str, seed: int) -> np.random.Generator:
    """The random numbers of a case: others for each case and seed, the same in each run."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


@dataclass(frozen=True)
class Answer:
    """What the command line made of it."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """Lines that say what went wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


def run_here(words: tuple[str, ...]) -> Answer:
    """Run a command line in this process; an exception that nobody caught is raised."""
    result = CliRunner().invoke(app, list(words), prog_name="entangle")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def judge(case: Case, answer: Answer) -> None:
    """Hold an answer against what the case must come to."""
    assert "Traceback" not in answer.stdout + answer.stderr, answer.stderr
    if case.outcome == "refused":
        assert answer.code == 2, (answer.code, answer.stderr)
        assert len(answer.errors) == 1, answer.stderr
        assert len(answer.errors[0]) <= LONGEST_LINE, answer.errors[0]
        assert answer.stdout == ""
        said = answer.errors[0]
    elif case.outcome == "partly":
        assert answer.code == 3, (answer.code, answer.stderr)
        said = answer.stderr
    else:
        assert answer.code == 0, (answer.code, answer.stderr)
        assert not answer.errors, answer.stderr
        said = answer.stderr
    missing = [words for words in case.says if words not in said]
    assert not missing, f"{missing} not said in: {said}"


def left_over(case: Case, before: set[str], folder: Path) -> set[str]:
    """What a refused case has left behind, beside what it may keep."""
    if case.outcome != "refused":
        return set()
    new = everything_in(folder) - before
    return {n for n in new if not f"{n}/".startswith(case.keeps) and n != case.keeps.split("/")[0]}


def everything_in(folder: Path) -> set[str]:
    """The names of all files and folders below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Measures the most memory that this process held at once, in bytes, from here on."""
    status = Path("/proc/self/status")
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        status = None

    def peak() -> int:
        if status is None:
            return 0
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024

    yield peak


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Building bad files makes libraries complain; that is no part of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
