"""Mutants of sound files are read, or refused in one line: no other exception, crash or hang."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.fuzz_mutators import mutated
from tests.fuzz.fuzz_pool import Reader, Sample, run

CHECKOUT = Path(__file__).resolve().parents[2]


def fuzz(keep: Path, *words: str) -> subprocess.CompletedProcess:
    """In a process of its own: forks want one thread."""
    single = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--keep", str(keep), *words],
        cwd=CHECKOUT,
        env=os.environ | single,
        capture_output=True,
        text=True,
    )


def all_accepted_or_refused(done: subprocess.CompletedProcess, least: int) -> None:
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    total = next(line for line in done.stdout.splitlines() if line.startswith("all"))
    mutants, accepted, refused, findings, _ = (
        int(word.replace(",", "")) for word in total.split()[1:]
    )
    assert mutants >= least
    assert findings == 0
    # neither everything goes through nor nothing
    assert min(accepted, refused) > mutants / 10


def test_a_few_mutants_of_every_reader(tmp_path):
    all_accepted_or_refused(fuzz(tmp_path, "--mutants", "2500", "--seed", "1"), 2500)


@pytest.mark.slow
def test_many_mutants_of_every_reader(tmp_path):
    words = ("--mutants", "50000", "--seed", "2", "--workers", "2")
    all_accepted_or_refused(fuzz(tmp_path, *words), 50000)


def reading(answer) -> Reader:
    sample = Sample({"a.txt": b"one two three"}, "a.txt")
    return Reader("planted", lambda: [sample], answer, per_fork=3)


def sound(folder: Path) -> bool:
    return (folder / "a.txt").read_bytes() == b"one two three"


def crash(folder: Path, sample: Sample) -> None:
    if not sound(folder):
        os.kill(os.getpid(), 9)


def fail(folder: Path, sample: Sample) -> None:
    if not sound(folder):
        raise KeyError("x")


def stop(folder: Path, sample: Sample) -> None:
    if not sound(folder):
        os.kill(os.getpid(), 19)


@pytest.mark.parametrize(
    ("answer", "says"), [(crash, "-9"), (fail, "KeyError"), (stop, "no answer within 0.2 s")]
)
def test_what_is_planted_is_found_and_kept(tmp_path, monkeypatch, answer, says):
    monkeypatch.setattr("tests.fuzz.fuzz_pool.SECONDS", 0.2)
    tally = run(reading(answer), 0, range(5), tmp_path)
    # a mutation may give back the same bytes
    assert len(tally.findings) >= 3
    assert tally.mutants == 5
    for found in tally.findings:
        assert says in found["what"]
        folder = tmp_path / f"planted-0-{found['number']}"
        assert not sound(folder)
        assert json.loads((folder / "finding.json").read_text())["number"] == found["number"]


def test_a_sound_sample_that_is_refused_is_an_error(tmp_path):
    def refuse(folder: Path, sample: Sample) -> None:
        raise KeyError("x")

    with pytest.raises(AssertionError, match="sound sample"):
        run(reading(refuse), 0, range(5), tmp_path)


def test_the_same_seed_makes_the_same_mutants():
    data = bytes(range(256)) * 4
    once, again = (mutated(random.Random("7/x/1"), data) for _ in range(2))
    assert once == again
    assert len({mutated(random.Random(f"7/x/{n}"), data) for n in range(200)}) > 190
