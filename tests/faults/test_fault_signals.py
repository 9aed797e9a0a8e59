"""Ctrl-C, SIGTERM and SIGHUP commit what is whole and end with 130, 143, 129; two runs at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from fault_disk import read_tree
from fault_harness import (
    SIGNAL,
    Ended,
    Scenario,
    check_kept,
    check_one_line,
    check_resumes,
    environment,
    spread,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = "stopped; what was committed is kept, the same command resumes\n"


def judge_stop(number: int, ended: Ended) -> str:
    """A run that a signal stopped says so, one that had nothing left to do is done."""
    if ended.status in (0, -number):
        # before and after the command's own handlers the system ends the process
        assert ended.err in ("", STOPPED)
        return "done"
    assert ended.status == 128 + number, ended
    assert ended.err == STOPPED
    return signal.Signals(number).name


def stop_at(scenario: Scenario, number: int, at: int) -> str:
    """A signal just before one call, with a commit left to the store's own judgement."""
    with scenario.folder() as folder:
        ended = scenario.run(folder, SIGNAL, at, number, commit_bytes=None)
        how = judge_stop(number, ended)
        check_kept(scenario, folder, ended.calls)
        check_resumes(scenario, folder)
    return how


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_a_signal_at_a_sample_of_calls(dump, number):
    done = Counter(stop_at(dump, number, at) for at in spread(dump.changes - 12, 3))
    assert done[number.name] >= 2, done


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dump", "measure"])
def test_a_signal_at_every_call(name, request, report):
    scenario, done = request.getfixturevalue(name), Counter()
    for at in spread(scenario.changes, None):
        done[stop_at(scenario, SIGNALS[at % 3], at)] += 1
    report(name, str(dict(done)))
    assert done.total() == scenario.changes
    assert done["done"] <= 0.2 * scenario.changes


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_a_signal_commits_every_full_line(dump, number):
    """The store would commit at the end only; the signal makes it commit what it has."""
    rows = [call.number for call in dump.calls if call.op == "w" and call.path.endswith(".h5")]
    at = rows[len(rows) // 2]
    with dump.folder() as folder:
        ended = dump.run(folder, SIGNAL, at, number, commit_bytes=None)
        assert ended.status == 128 + number
        kept = check_kept(dump, folder, ended.calls)
        # half of 1,200 rows in lines of 256: one line may not have been handed over yet, and
        # what waited for the writing threads already is written too
        assert 256 <= kept <= 1200
        check_resumes(dump, folder)


def stop_at_random(scenario: Scenario, runs: int, seed: int) -> Counter:
    """Signals at random moments of runs, of all three kinds."""
    chance, done = random.Random(seed), Counter()
    with scenario.folder() as folder:
        begun = time.monotonic()
        scenario.server.run(scenario.argv, folder)
        longest = time.monotonic() - begun
    for turn in range(runs):
        number = SIGNALS[turn % 3]
        with scenario.folder() as folder:
            running = scenario.server.start(scenario.argv, folder)
            wait_for(lambda started=folder: any(started.iterdir()), longest * chance.random())
            time.sleep(longest * chance.random() / 2)
            os.kill(running.pid, number)
            ended = running.wait()
            done[judge_stop(number, ended)] += 1
            check_kept(scenario, folder, ended.calls)
            check_resumes(scenario, folder)
    return done


def wait_for(condition, longest: float) -> None:
    """Until something holds, but not for ever."""
    end = time.monotonic() + longest
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)


def test_signals_at_a_few_random_moments(dump):
    done = stop_at_random(dump, 6, seed=3)
    assert done.total() - done["done"] >= 2


@pytest.mark.slow
def test_signals_at_many_random_moments(dump, measure, report):
    done = stop_at_random(dump, 200, seed=4) + stop_at_random(measure, 100, seed=5)
    report("signals", str(dict(done)))
    assert min(done[number.name] for number in SIGNALS) >= 30


# a command, or what comes before it, during which the process gets a signal
LATE = """
import os, signal, sys, time
from entangle_cli import app

class Late:
    def __del__(self):
        os.kill(os.getpid(), {number})

def destroying():
    Late()
    time.sleep(20)
    print("went on")

def converting():
    try:
        os.kill(os.getpid(), {number})
        time.sleep(20)
    finally:
        raise RuntimeError("what a library may make of it")

def reading():
    os.kill(os.getpid(), {number})
    time.sleep(20)
    print("went on")

if "{where}" == "reading":
    app.app = reading
else:
    app.app.command("{where}")(app._answering({where}))
    sys.argv = ["entangle", "{where}"]
app.main()
"""


@pytest.mark.parametrize("where", ["destroying", "converting", "reading"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_where_nothing_can_be_raised_is_heard(number, where):
    code = LATE.format(number=int(number), where=where)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", STOPPED)


def second_while_stopped(scenario: Scenario, at: int) -> str:
    """Hold one run at a call, start another on the same output, let the first go on.

    Returns ``refused``, or ``complete`` where the first had only its lock to remove.
    """
    with scenario.folder() as folder:
        first = scenario.server.start(
            scenario.argv, folder, fault=(SIGNAL, at, signal.SIGSTOP), commit_bytes=1
        )
        wait_for(lambda: is_stopped(first.pid), 60)
        # threads may still be on their way to the stop
        before = read_tree(folder)
        second = scenario.server.run(scenario.argv, folder)
        assert read_tree(folder) == before, "the second run changed something"
        os.kill(first.pid, signal.SIGCONT)
        ended = first.wait()
        assert (ended.status, ended.err) == (0, "")
        check_resumes(scenario, folder)
    if second.status == 0:
        return "complete"
    assert second.status == 2
    check_one_line(second, "error: ")
    assert f"is being written by process {first.pid} " in second.err
    return "refused"


def is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def while_locked(scenario: Scenario) -> list[int]:
    """The calls between those that make and remove the lock."""
    named = [call for call in scenario.calls if call.path.endswith(".lock")]
    first, last = named[0].number, named[-1].number
    return [call.number for call in scenario.calls if first + 3 < call.number <= last]


def test_a_second_run_is_refused_and_harms_nothing(dump):
    places = while_locked(dump)
    done = Counter(second_while_stopped(dump, places[i]) for i in (0, len(places) // 2, -8))
    assert done == {"refused": 3}


@pytest.mark.slow
def test_a_second_run_at_any_moment(dump, report):
    done = Counter(second_while_stopped(dump, at) for at in while_locked(dump))
    report("seconds", str(dict(done)))
    assert done["refused"] >= 50


def judge_racer(ended: Ended) -> None:
    """A run that met another one is done, refused, or (3) has left a checkpoint to the other."""
    assert ended.status in (0, 2, 3), ended
    if ended.status == 2:
        check_one_line(ended, "error: ")
    if ended.status == 3:
        first, last = ended.err.splitlines()
        assert first.startswith("error: ")
        assert last.startswith("error: 1 of 2 checkpoints could not be measured"), ended.err
    assert (ended.status == 0) == ("being written" not in ended.err)


def race(scenario: Scenario, chance: random.Random) -> str:
    """Two runs at once on one output; at least one of them does the work."""
    with scenario.folder() as folder:
        first = scenario.server.start(scenario.argv, folder)
        time.sleep(chance.random() * 0.1)
        second = scenario.server.start(scenario.argv, folder)
        both = [first.wait(), second.wait()]
        for ended in both:
            judge_racer(ended)
        assert any(ended.status != 2 for ended in both)
        check_resumes(scenario, folder)
    return "both" if all(ended.status == 0 for ended in both) else "one"


def test_a_few_races(dump):
    chance = random.Random(6)
    done = Counter(race(dump, chance) for _ in range(3))
    assert done.total() == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dump", "measure", "again"])
def test_many_races(name, request, report):
    chance = random.Random(7)
    done = Counter(race(request.getfixturevalue(name), chance) for _ in range(60))
    report(name, str(dict(done)))
    assert done["one"] >= 5, done
