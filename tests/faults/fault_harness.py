"""Starts the command with faults, and judges what it leaves."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from fault_disk import Call, Tree, promised, read_calls, read_tree, write_tree
from onnx import TensorProto, helper, numpy_helper

from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.verify import verify

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]

# where the inputs are, seen from a run's folder
INPUTS = "../../inputs"
# modes of the shim
COUNT, KILL_BEFORE, KILL_INSIDE, KILL_AFTER, FULL, FAILING, SIGNAL = range(7)
# calls that can be cut in their middle
DIVISIBLE = "wta"
# A run removes its lock at its very end, when the store is complete. One that died in between
# leaves it beside a store that nobody has to write any more; it keeps nobody out.
STALE = ".lock"


def no_tools() -> str | None:
    """Why the shim cannot be used here, None if it can."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return "the shim is for 64-bit Linux"
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        return "no C compiler (cc or gcc)"
    return None


def build_shim(folder: Path) -> Path:
    """Compile the shim."""
    target = folder / "fault_shim.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    options = ["-O2", "-shared", "-fPIC", "-pthread", "-o", str(target)]
    subprocess.run([compiler, *options, str(HERE / "fault_shim.c")], check=True)
    return target


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one: syncs cost nothing there."""
    memory = "/dev/shm"
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="entangle-faults-", dir=place) as folder:
        yield Path(folder).resolve()


def save_network(path: Path, seed: int, *, width: int = 3) -> None:
    """``x (n, 4) -> relu (n, width) -> y (n, 2)`` as ONNX."""
    chance = np.random.default_rng(seed)
    weights = {"first": (4, width), "second": (width, 2)}
    tensors = [
        numpy_helper.from_array(chance.normal(size=shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "first"], ["g"], "a"),
        helper.make_node("Relu", ["g"], ["h"], "b"),
        helper.make_node("Gemm", ["h", "second"], ["y"], "c"),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", length])]
        for name, length in (("x", 4), ("y", 2))
    ]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def save_points(path: Path, rows: int) -> None:
    """Two classes that are not quite apart, as ``.npz``."""
    chance = np.random.default_rng(rows)
    labels = np.arange(rows) % 2
    points = chance.normal(size=(rows, 4)) + labels[:, None]
    np.savez(path, x=points.astype(np.float32), labels=labels)


def make_inputs(folder: Path) -> None:
    """The networks and data that every scenario names."""
    folder.mkdir()
    for step in (1, 2):
        save_network(folder / f"net-step{step}.onnx", step)
    for rows in (320, 1200):
        save_points(folder / f"points-{rows}.npz", rows)
    save_network(folder / "middle.onnx", 3, width=1024)
    save_network(folder / "wide.onnx", 3, width=16384)
    save_points(folder / "points-2048.npz", 2048)


@dataclass(frozen=True)
class Ended:
    """A run that is over; ``status`` is its exit code, or minus the signal that ended it."""

    status: int
    out: str = field(repr=False)
    err: str
    calls: list[Call] = field(repr=False)

    @property
    def changes(self) -> int:
        """How many changing calls there were."""
        return max((call.number for call in self.calls), default=0)

    def saw(self, op: str) -> bool:
        """Whether this is in the log: '!' a call was refused, '/' one was cut."""
        return any(call.op == op for call in self.calls)


class Server:
    """The forking server, as long as the ``with`` block lasts."""

    def __init__(self, shim: Path, scratch: Path) -> None:
        self._scratch, self._count = scratch, 0
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fault_server.py"), str(shim)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment() | {"LD_PRELOAD": str(shim)},
            cwd=CHECKOUT,
        )
        assert self._answer() == {"ready": True}

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(
        self,
        argv: Sequence[str],
        cwd: Path,
        *,
        fault: tuple[int, int, int] | None = None,
        commit_bytes: int | None = 1,
    ) -> "Running":
        """Begin a run; ``fault`` is (mode, at which call, argument)."""
        self._count += 1
        place = self._scratch / f"run-{self._count}"
        files = {name: str(place) + "." + name for name in ("log", "out", "err")}
        request = {"do": "start", "argv": list(argv), "cwd": str(cwd), "fault": fault}
        pid = self._ask(request | files | {"commit_bytes": commit_bytes})["pid"]
        return Running(self, pid, {name: Path(file) for name, file in files.items()})

    def run(self, argv: Sequence[str], cwd: Path, **options) -> Ended:
        """One run from its beginning to its end."""
        return self.start(argv, cwd, **options).wait()

    def _ask(self, request: dict) -> dict:
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        return json.loads(self._process.stdout.readline())


@dataclass(frozen=True)
class Running:
    """A run that has begun."""

    server: Server
    pid: int
    files: dict[str, Path]

    def wait(self) -> Ended:
        """Its end; it may not have been waited for before."""
        status = self.server._ask({"do": "wait", "pid": self.pid})["status"]
        calls = read_calls(self.files["log"])
        out, err = (self.files[name].read_text() for name in ("out", "err"))
        for file in self.files.values():
            file.unlink()
        return Ended(status, out, err, calls)


def environment() -> dict[str, str]:
    """One thread, so that forks are safe and the order of calls is the same every time."""
    single = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **single, "PYTHONPATH": str(CHECKOUT)}


@dataclass(repr=False)
class Scenario:
    """One command with what its uninterrupted run does and leaves.

    ``resume`` is the command that goes on after a fault; ``before`` what is there at the start;
    ``calls`` are those of the uninterrupted run in the folder ``home``, ``after`` what it left.
    """

    name: str
    argv: tuple[str, ...]
    server: Server
    root: Path
    before: Tree = field(default_factory=dict)
    resume: tuple[str, ...] = ()
    calls: list[Call] = field(default_factory=list)
    after: Tree = field(default_factory=dict)
    home: Path = Path()
    _folders: int = 0

    def __post_init__(self) -> None:
        self.resume = self.resume or self.argv
        with self.folder() as folder:
            ended = self.server.run(self.argv, folder)
            assert (ended.status, ended.err) == (0, "")
            self.after = read_tree(folder)
            self.calls, self.home = ended.calls, folder
        assert not [name for name in self.after if name.endswith((STALE, ".tmp"))]

    @contextlib.contextmanager
    def folder(self, holding: Tree | None = None) -> Iterator[Path]:
        """A folder to run in, two levels below the inputs' parent."""
        self._folders += 1
        place = self.root / "runs" / f"{self.name}-{self._folders}"
        write_tree(self.before if holding is None else holding, place)
        yield place
        # what went wrong stays to be looked at
        shutil.rmtree(place)

    @property
    def changes(self) -> int:
        """How many changing calls an uninterrupted run makes.

        Threads may join or reorder a few of them in another run.
        """
        return max(call.number for call in self.calls)

    def divisible(self) -> set[int]:
        """Which calls can be stopped in their middle."""
        return {call.number for call in self.calls if call.op in DIVISIBLE}

    def run(self, folder: Path, mode: int, at: int, argument: int = 0, **options) -> Ended:
        """This command with a fault."""
        return self.server.run(self.argv, folder, fault=(mode, at, argument), **options)


def check_kept(scenario: Scenario, folder: Path, calls: Sequence[Call]) -> int:
    """No promised row may be gone, wrong or unreadable; returns the rows there."""
    kept = 0
    for journal, rows in promised(calls, folder, scenario.before).items():
        path = (folder / journal).with_suffix(".h5")
        if not path.exists():
            assert rows == 0, f"{path}: {rows} rows were promised, the file is not there"
            continue
        kept += check_rows(path, rows)
    return kept


def check_rows(path: Path, promised_rows: int) -> int:
    """An activation file opens and holds at least these rows, all of them right."""
    stored = ActivationFile.open(path)
    assert stored.rows >= promised_rows, f"{path}: {stored.rows} of {promised_rows} rows"
    wrong = [line for line in verify(path) if "of its journal are cut" not in line]
    assert wrong == []
    return stored.rows


def check_resumes(scenario: Scenario, folder: Path) -> None:
    """The command that goes on ends with the bytes of an uninterrupted run."""
    ended = scenario.server.run(scenario.resume, folder)
    assert (ended.status, ended.err) == (0, "")
    check_tree(scenario, folder)


def check_tree(scenario: Scenario, folder: Path) -> None:
    """The folder holds what an uninterrupted run leaves, byte for byte."""
    left = {name: held for name, held in read_tree(folder).items() if not name.endswith(STALE)}
    assert sorted(left) == sorted(scenario.after)
    different = [name for name in left if left[name] != scenario.after[name]]
    assert different == []


def check_one_line(ended: Ended, *beginnings: str) -> None:
    """Standard error is one line, and begins in one of these ways."""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith(beginnings), ended.err


def spread(last: int, count: int | None) -> list[int]:
    """The numbers 1 to ``last``, or about ``count`` of them with both ends."""
    if count is None or count >= last:
        return list(range(1, last + 1))
    return sorted({1 + round(i * (last - 1) / (count - 1)) for i in range(count)})


def entangle() -> Path:
    """The installed command of this interpreter."""
    return Path(sys.executable).with_name("entangle")
