"""Two processes that ask for the same network: one trains it, and a death lets the other in."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

TRAINED = """
import sys
from pathlib import Path
from entangle_cli.papers.claim import Settings
from entangle_cli.papers.networks import trained
from entangle_cli.papers.shelf import Shelf
from entangle_cli.training.loop import Training
from entangle_cli.training.settings import TrainingSettings

data, networks, log = map(Path, sys.argv[1:])
settings = Settings("quick", None, 0, Shelf(data), networks)
train, test = (settings.shelf.load("mnist", part) for part in ("train", "test"))
advance = Training.advance

def noted(self):
    with open(log, "ab") as file:
        file.write(b".")
    advance(self)

Training.advance = noted
print("ready", flush=True)
input()
plan = TrainingSettings(steps=40, batch_size=16)
trained(settings, "mlp", train, (test.images, test.labels), plan)
"""

HOLD = """
import signal, sys
from pathlib import Path
from entangle_cli.papers.alone import alone

with alone(Path(sys.argv[1])):
    print("in", flush=True)
    signal.pause()
"""


def started(script: str, *words) -> subprocess.Popen:
    command = [sys.executable, "-c", script, *map(str, words)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=CHECKOUT, **pipes)


def test_one_of_two_trains_a_network(data_folder, tmp_path):
    log = tmp_path / "steps"
    both = [started(TRAINED, data_folder, tmp_path / "networks", log) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=120)
    assert [process.returncode for process in both] == [0, 0]
    assert len(log.read_bytes()) == 40


def test_a_death_lets_the_next_in(tmp_path):
    first = started(HOLD, tmp_path / "net")
    assert first.stdout.readline() == "in\n"
    second = started(HOLD, tmp_path / "net")
    first.kill()
    assert second.stdout.readline() == "in\n"
    second.kill()
    for process in (first, second):
        process.communicate()
