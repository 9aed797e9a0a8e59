"""No hostile file reads, writes or runs anything: the gates of the command line alone."""

import csv
import io
import os
import shlex
import signal
import subprocess
import sys
import time

import hostile_data
import hostile_models
import pytest
from bench import BYTES, SECONDS, Answer, peak_memory, quiet_libraries, run_here
from traps import HOSTILE, SECRET, Trap

MODULES = (hostile_data, hostile_models)


@pytest.fixture
def make_trap(make_bench, tmp_path):
    """Makes a trap, and ends whatever waits for ever."""

    def too_long(number, frame):
        raise TimeoutError(f"no answer within {SECONDS} s")

    def make(name: str) -> Trap:
        outside = tmp_path / "outside"
        outside.mkdir()
        canary = outside / "canary.bin"
        canary.write_text(SECRET * 8)
        return Trap(**vars(make_bench(name)), canary=canary, mark=outside / "mark")

    previous = signal.signal(signal.SIGALRM, too_long)
    yield make
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def test_there_are_enough_of_them():
    assert len(HOSTILE) >= 35


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_nothing(name, make_trap, capfd):
    case = HOSTILE[name]
    at = make_trap(name)
    with quiet_libraries():
        case.build(at)
    at.mark.unlink(missing_ok=True)
    capfd.readouterr()
    signal.alarm(SECONDS)
    started = time.monotonic()
    with peak_memory() as peak:
        answer = run_here(tuple(shlex.split(case.words)))
    assert at.sprung(answer) == []
    assert time.monotonic() - started < SECONDS
    assert peak() < BYTES
    assert tuple(capfd.readouterr()) == ("", ""), "a library wrote past the command line"
    if case.says is None:
        assert answer.code == 0, answer.stderr
        assert answer.errors == []
    else:
        assert answer.code == 2, answer.stderr
        assert len(answer.errors) == 1, answer.stderr
        assert case.says in answer.errors[0]


def test_no_cell_of_a_spreadsheet_is_a_formula(make_trap):
    at = make_trap("spreadsheet")
    hostile_data.class_folders_for_a_spreadsheet(at)
    answer = run_here(("inspect", "evil", "--format", "csv"))
    rows = list(csv.reader(io.StringIO(answer.stdout)))
    assert any("cmd" in cell for row in rows for cell in row)
    assert not any(cell[:1] in tuple("=+-@") for row in rows for cell in row if cell)


def test_no_plugin_is_loaded_for_a_data_set(make_trap):
    at = make_trap("plugin")
    plugins = hostile_data.marker_plugin(at)
    if plugins is None:
        pytest.skip("no compiler here")
    hostile_data._filtered(at)
    # the plug-in works where nothing closes the door
    read = "import h5py; f = h5py.File('evil.h5', 'r')\ntry: f['x'][()]\nexcept OSError: pass"
    opened = {**os.environ, **plugins}
    opened.pop("HDF5_PLUGIN_PRELOAD", None)
    subprocess.run([sys.executable, "-c", read], env=opened, timeout=SECONDS, check=True)
    assert at.mark.exists()
    at.mark.unlink()
    # a reader that asks for the block all the same
    for command in (
        ["-m", "entangle_cli", "measure", "evil.h5"],
        ["-c", "import entangle_cli.datasets.formats.hdf5; " + read],
    ):
        done = subprocess.run(
            [sys.executable, *command], env=opened, capture_output=True, text=True, timeout=SECONDS
        )
        assert not at.mark.exists(), command
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["script_that_writes_while_loaded", "weights_behind_a_hard_link"])
def test_the_installed_command_is_no_weaker(name, make_trap):
    case = HOSTILE[name]
    at = make_trap(name)
    with quiet_libraries():
        case.build(at)
    at.mark.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "entangle_cli", *shlex.split(case.words)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert at.sprung(Answer(done.returncode, done.stdout, done.stderr)) == []
    assert done.returncode == 2
