"""Every bad input of the catalogue is answered as it should be: one line, the right exit code."""

import os
import subprocess
import sys
import time

import bad_arrays
import bad_calibration
import bad_files
import bad_images
import bad_lines
import bad_models
import bad_scripts
import bad_settings
import bad_stores
import pytest
from bench import (
    BYTES,
    CATALOGUE,
    SECONDS,
    Answer,
    everything_in,
    judge,
    left_over,
    peak_memory,
    quiet_libraries,
    run_here,
)

MODULES = (
    bad_arrays,
    bad_calibration,
    bad_files,
    bad_images,
    bad_lines,
    bad_models,
    bad_scripts,
    bad_settings,
    bad_stores,
)
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
NAMES = [
    pytest.param(name, marks=pytest.mark.xfail(reason=case.pending)) if case.pending else name
    for name, case in CATALOGUE.items()
]
# some of them: a process of its own for each takes a second or two
SAMPLE = sorted(name for name, case in CATALOGUE.items() if not case.pending)[::40]


def test_the_catalogue_is_large_enough():
    assert len(CATALOGUE) >= 120
    assert {case.outcome for case in CATALOGUE.values()} == {"refused", "warned", "fine", "partly"}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_bad_input_is_answered(name, seed, make_bench, capfd):
    case = CATALOGUE[name]
    at = make_bench(name, seed)
    with quiet_libraries():
        case.build(at)
    before = everything_in(at.folder)
    capfd.readouterr()
    started = time.monotonic()
    with peak_memory() as peak:
        answer = run_here(case.words)
    judge(case, answer)
    assert time.monotonic() - started < SECONDS
    assert peak() < BYTES
    assert tuple(capfd.readouterr()) == ("", ""), "a library wrote past the command line"
    assert left_over(case, before, at.folder) == set()


@pytest.mark.parametrize("name", SAMPLE)
def test_the_installed_command_answers_likewise(name, make_bench):
    case = CATALOGUE[name]
    at = make_bench(name)
    with quiet_libraries():
        case.build(at)
    before = everything_in(at.folder)
    done = subprocess.run(
        [sys.executable, "-m", "entangle_cli", *case.words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    judge(case, Answer(done.returncode, done.stdout, done.stderr))
    assert left_over(case, before, at.folder) == set()
