"""`entangle dknn` and `entangle ood`: killed, out of space, and two at once."""

import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from fault_disk import read_tree
from fault_harness import (
    FULL,
    INPUTS,
    KILL_AFTER,
    KILL_BEFORE,
    KILL_INSIDE,
    Scenario,
    check_kept,
    check_one_line,
    check_resumes,
    entangle,
    environment,
    spread,
)

NET = f"{INPUTS}/net-step1.onnx"
SETS = {name: f"{INPUTS}/points-{rows}.npz" for name, rows in (("train", 1200), ("test", 320))}
FURTHER = f"{INPUTS}/points-2048.npz"
DKNN = ("dknn", NET, "--train", SETS["train"], "--calib", FURTHER, "--test", SETS["test"])
OOD = ("ood", NET, "--in", SETS["test"], "--out", FURTHER, "--calib", "none")
NEAR = ("--knn", "exact", "-k", "5", "-q")
DETECTORS = ("--train", SETS["train"], "--detectors", "msp,energy,knn", "--resamples", "40")


@pytest.fixture(scope="session")
def dknn(server, root):
    """A search among training points, and p-values."""
    return Scenario("dknn", (*DKNN, *NEAR), server, root)


@pytest.fixture(scope="session")
def ood(server, root):
    """Detectors with and without neighbors, kept for later."""
    return Scenario("ood", (*OOD, *DETECTORS, *NEAR), server, root)


def kill_at(scenario: Scenario, mode: int, at: int) -> bool:
    """One crash point; False where the run needed fewer calls this time."""
    with scenario.folder() as folder:
        ended = scenario.run(folder, mode, at)
        if ended.status == 0:
            return False
        assert ended.status == -9, ended
        check_kept(scenario, folder, ended.calls)
        check_resumes(scenario, folder)
    return True


def kill_along(scenario: Scenario, count: int | None) -> int:
    """Kills before, in and after the calls of a run."""
    modes, cuttable = (KILL_BEFORE, KILL_INSIDE, KILL_AFTER), scenario.divisible()
    places = spread(scenario.changes, count)
    chosen = [(modes[i % 3], at) for i, at in enumerate(places)]
    return sum(
        kill_at(scenario, KILL_AFTER if mode == KILL_INSIDE and at not in cuttable else mode, at)
        for mode, at in chosen
    )


def fill_at(scenario: Scenario, at: int) -> bool:
    """A disk that is full from one call on, then has room again."""
    with scenario.folder() as folder:
        ended = scenario.run(folder, FULL, at)
        if not ended.saw("!"):
            return False
        assert ended.status in (0, 3), ended
        if ended.status:
            check_one_line(ended, "error: ")
        left = [name for name in read_tree(folder) if name.endswith(".tmp")]
        assert left == []
        check_kept(scenario, folder, ended.calls)
        check_resumes(scenario, folder)
    return True


@pytest.mark.parametrize("name", ["dknn", "ood"])
def test_a_few_kills_and_full_disks_of_a_search(name, request):
    scenario = request.getfixturevalue(name)
    assert kill_along(scenario, 3) >= 2
    assert sum(fill_at(scenario, at) for at in spread(scenario.changes - 4, 3)) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dknn", "ood"])
def test_kills_and_full_disks_at_every_call_of_a_search(name, request, report):
    scenario = request.getfixturevalue(name)
    killed = kill_along(scenario, None)
    full = sum(fill_at(scenario, at) for at in spread(scenario.changes, None))
    report(name, f"{killed} kills, {full} full disks")
    assert killed >= 0.9 * scenario.changes
    assert full >= 0.8 * scenario.changes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dknn", "ood"])
def test_random_kills_of_the_installed_search(name, request, report):
    if not entangle().exists():
        pytest.skip("entangle is not installed")
    scenario, chance, done = request.getfixturevalue(name), random.Random(12), Counter()
    longest = 1.0
    for turn in range(40):
        with scenario.folder() as folder:
            begun = time.monotonic()
            process = begin(scenario, folder)
            if turn:
                time.sleep(chance.uniform(0.2, longest))
                process.send_signal(signal.SIGKILL)
            _, err = process.communicate(timeout=120)
            longest = max(longest, time.monotonic() - begun)
            assert process.returncode in (0, -9), err
            done["killed" if process.returncode else "finished"] += 1
            check_resumes(scenario, folder)
    report(name, str(dict(done)))
    assert done["killed"] >= 20


def begin(scenario: Scenario, folder: Path) -> subprocess.Popen:
    """The installed command."""
    return subprocess.Popen(
        [str(entangle()), *scenario.argv],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dknn", "ood"])
def test_two_searches_on_one_output(name, request, report):
    scenario, chance, done = request.getfixturevalue(name), random.Random(13), Counter()
    for _ in range(30):
        with scenario.folder() as folder:
            first = scenario.server.start(scenario.argv, folder)
            time.sleep(chance.random() * 0.3)
            second = scenario.server.start(scenario.argv, folder)
            both = [first.wait(), second.wait()]
            assert all(ended.status in (0, 2) for ended in both), both
            for ended in both:
                if ended.status:
                    check_one_line(ended, "error: ")
                    assert "being written" in ended.err
            assert any(ended.status == 0 for ended in both)
            done[sum(ended.status == 0 for ended in both)] += 1
            check_resumes(scenario, folder)
    report(name, str(dict(done)))
