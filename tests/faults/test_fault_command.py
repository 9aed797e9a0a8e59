"""The installed command, killed and stopped as a user's machine would do it."""

import filecmp
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from fault_disk import read_calls
from fault_harness import (
    COUNT,
    INPUTS,
    KILL_AFTER,
    KILL_BEFORE,
    KILL_INSIDE,
    Ended,
    Scenario,
    check_kept,
    check_rows,
    check_tree,
    entangle,
    environment,
    spread,
)

from entangle_cli.activations.file import ActivationFile

pytestmark = pytest.mark.skipif(not entangle().exists(), reason="entangle is not installed")

WIDE = ("dump", f"{INPUTS}/wide.onnx", f"{INPUTS}/points-2048.npz", "--layers", "all", "-q")
CALL = re.compile(r"^\d+ +(\w+)\((.*)")


def begin(words, folder: Path, extra: dict[str, str] | None = None, before=()) -> subprocess.Popen:
    """The command in a process of its own, or behind another program."""
    return subprocess.Popen(
        [*before, str(entangle()), *words],
        cwd=folder,
        env=environment() | (extra or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen, log: Path | None = None) -> Ended:
    out, err = process.communicate(timeout=300)
    return Ended(process.returncode, out, err, read_calls(log) if log else [])


def faulty(shim: Path, folder: Path, log: Path, mode: int, at: int) -> dict[str, str]:
    """The environment in which the installed command meets a fault."""
    log.unlink(missing_ok=True)
    arming = {"FOLDER": folder, "MODE": mode, "AT": at, "LOG": log}
    return {"LD_PRELOAD": str(shim)} | {f"FAULT_{k}": str(v) for k, v in arming.items()}


def crash_installed(scenario: Scenario, shim: Path, mode: int, at: int) -> bool:
    """One crash point; False where the run needed fewer calls this time."""
    log = scenario.root / "logs" / "installed"
    with scenario.folder() as folder:
        ended = finish(begin(scenario.argv, folder, faulty(shim, folder, log, mode, at)), log)
        if ended.status == 0:
            return False
        assert ended.status == -9, ended
        check_kept(scenario, folder, ended.calls)
        again = finish(begin(scenario.resume, folder))
        assert (again.status, again.err) == (0, "")
        check_tree(scenario, folder)
    return True


def crash_sample(scenario: Scenario, shim: Path, count: int) -> int:
    modes = (KILL_BEFORE, KILL_INSIDE, KILL_AFTER)
    # the installed command commits seldom, which takes fewer calls
    places = spread(scenario.changes - 12, count)
    return sum(crash_installed(scenario, shim, modes[i % 3], at) for i, at in enumerate(places))


def test_a_few_crash_points(dump, shim):
    assert crash_sample(dump, shim, 2) >= 1


@pytest.mark.slow
def test_fifty_crash_points(dump, measure, shim, report):
    done = crash_sample(dump, shim, 36), crash_sample(measure, shim, 24)
    report("points", done)
    assert sum(done) >= 50


@pytest.fixture(scope="module")
def wide(root):
    """An uninterrupted dump of 268 MB, in four commits: its folder and how long it wrote."""
    folder = root / "runs" / "wide"
    folder.mkdir()
    process = begin(WIDE, folder)
    while not (folder / "entangle-out").exists():
        time.sleep(0.002)
    begun = time.monotonic()
    ended = finish(process)
    assert (ended.status, ended.err) == (0, "")
    yield folder, time.monotonic() - begun
    shutil.rmtree(folder)


def kill_until(wide: tuple[Path, float], kills: int, seed: int) -> Counter:
    """SIGKILL at random moments until there were so many; each run is resumed to its end."""
    whole, longest = wide
    chance, done, seen = random.Random(seed), Counter(), set()
    folder = whole.with_name("killed")
    while done["killed"] < kills:
        folder.mkdir()
        rows = 0
        while not list(folder.rglob("*.manifest.json")):
            rows = kill_once(folder, chance, longest, done, rows)
            seen.add(rows)
        finish(begin(WIDE, folder))
        names = [str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()]
        _, different, missing = filecmp.cmpfiles(whole, folder, names, shallow=False)
        assert (different, missing) == ([], [])
        done["compared"] += 1
        shutil.rmtree(folder)
    done["numbers of rows"] = len(seen)
    return done


def kill_once(folder: Path, chance: random.Random, longest: float, done: Counter, rows: int) -> int:
    """Start, kill at a random moment, look; returns the rows that are committed now."""
    process = begin(WIDE, folder)
    if chance.random() < 0.15:
        time.sleep(chance.uniform(0, 1))
    else:
        lock = "entangle-out/activations/*.lock"
        before = {path.stat().st_mtime_ns for path in folder.glob(lock)}
        while process.poll() is None and before >= {
            path.stat().st_mtime_ns for path in folder.glob(lock)
        }:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, longest / 2))
    process.kill()
    ended = finish(process)
    assert ended.status in (0, -9), ended
    assert ended.err == ""
    done["killed" if ended.status else "finished"] += 1
    for path in folder.rglob("*.h5"):
        assert ActivationFile.open(path).rows >= rows, "committed rows are gone"
        # reading 268 MB back each time would be most of the work
        rows = check_rows(path, rows) if done["killed"] % 5 == 0 else ActivationFile.open(path).rows
    return rows


def test_a_few_random_kills(wide):
    done = kill_until(wide, 2, seed=8)
    assert done["killed"] >= 2


@pytest.mark.slow
def test_three_hundred_random_kills(wide, report):
    done = kill_until(wide, 300, seed=9)
    report("kills", dict(done))
    assert done["killed"] >= 300
    assert done["numbers of rows"] >= 4, "the kills came too early or too late to test anything"


@pytest.mark.slow
def test_signals_at_random_moments_of_the_installed_command(dump, report):
    chance, done = random.Random(10), Counter()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for turn in range(60):
        number = numbers[turn % 3]
        with dump.folder() as folder:
            process = begin(dump.argv, folder)
            time.sleep(chance.uniform(0.3, 1.3))
            process.send_signal(number)
            ended = finish(process)
            done[f"{number.name} -> {ended.status}"] += 1
            # before Python runs our first line the system ends the process: the same to a shell
            assert ended.status in (0, 128 + number, -number), ended
            if ended.status > 0:
                assert ended.err.startswith("stopped; "), ended
            again = finish(begin(dump.argv, folder))
            assert (again.status, again.err) == (0, "")
            check_tree(dump, folder)
    report("signals", dict(done))
    assert sum(done[f"{n.name} -> {128 + n}"] for n in numbers) >= 15


KINDS = {
    "write": "w", "pwrite64": "w", "writev": "w", "pwritev": "w", "ftruncate": "t",
    "fallocate": "a", "fsync": "s", "fdatasync": "d", "rename": "r", "renameat2": "r",
    "unlink": "u", "unlinkat": "u", "mkdir": "m", "mkdirat": "m", "sendfile": "?",
    "copy_file_range": "?",
}  # fmt: skip


def test_the_kernel_saw_no_other_changes(dump, shim, root):
    """What strace counts below the folder is what the shim counts: nothing goes past it."""
    if shutil.which("strace") is None:
        pytest.skip("no strace")
    log, trace = root / "logs" / "counted", root / "logs" / "trace"
    with dump.folder() as folder:
        names = ",".join(KINDS)
        strace = ("strace", "-f", "-y", "-qq", "-s", "0", "-o", str(trace), "-e", f"trace={names}")
        # the shim may not serve strace itself
        arming = faulty(shim, folder, log, COUNT, 0)
        preload = ("-E", f"LD_PRELOAD={arming.pop('LD_PRELOAD')}")
        ended = finish(begin(dump.argv, folder, arming, (*strace, *preload)), log)
        if "ptrace" in ended.err.lower():
            pytest.skip("strace may not trace here")
        assert (ended.status, ended.err) == (0, "")
        seen = Counter(_kinds(trace.read_text(), str(folder)))
    recorded = Counter(call.op for call in ended.calls)
    assert recorded["w"] > 50
    assert {op: n for op, n in recorded.items() if op not in "cz"} == dict(seen)


def _kinds(trace: str, folder: str):
    for line in trace.splitlines():
        found = CALL.match(line)
        inside = found and (folder in found[2] or '"entangle-out' in found[2])
        if inside and " = -1 " not in line:
            yield KINDS[found[1]]
