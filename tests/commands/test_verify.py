"""``entangle verify``: any changed byte is found, and nothing else is touched."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from entangle_cli.activations.journal import read_journal
from entangle_cli.activations.verify import verify

MODEL = "checkpoints/digits-step1000.onnx"
PARTS = ("data", "journal", "manifest", "header")
FLIPS = 250


@pytest.fixture
def run(entangle, project) -> Path:
    """The folder of a run with one complete activation file of some layers."""
    words = ("--layers", "conv2>maxpool", "--layers", "fc2", "--batch-size", "50", "-q")
    assert entangle("dump", MODEL, "test", *words).code == 0
    return Path("entangle-out")


@pytest.fixture
def file(run) -> Path:
    (found,) = run.glob("activations/*.h5")
    return found


@contextmanager
def changed(path: Path, place: int, mask: int) -> Iterator[None]:
    """One byte of a file changed for a while."""
    with open(path, "r+b", buffering=0) as raw:
        before = os.pread(raw.fileno(), 1, place)[0]
        os.pwrite(raw.fileno(), bytes([before ^ mask]), place)
        try:
            yield
        finally:
            os.pwrite(raw.fileno(), bytes([before]), place)


def places(file: Path, part: str, chance: random.Random) -> list[tuple[Path, int]]:
    """Random bytes of one part of a store."""
    if part in ("journal", "manifest"):
        path = file.with_suffix({"journal": ".journal", "manifest": ".manifest.json"}[part])
        return [(path, chance.randrange(path.stat().st_size)) for _ in range(FLIPS)]
    header = read_journal(file.with_suffix(".journal")).header
    inside = np.zeros(header.size, bool)
    for offset, row_bytes in header.blocks:
        inside[offset : offset + row_bytes * header.rows] = True
    (wanted,) = np.nonzero(inside if part == "data" else ~inside)
    return [(file, int(wanted[chance.randrange(len(wanted))])) for _ in range(FLIPS)]


@pytest.mark.parametrize("part", PARTS)
def test_a_flipped_byte_is_found_every_time(entangle, run, file, part):
    chance = random.Random(part)
    assert verify(file) == []
    found = 0
    for turn, (path, place) in enumerate(places(file, part, chance)):
        with changed(path, place, chance.randrange(1, 256)):
            lines = verify(file)
            found += bool(lines)
            assert all("\n" not in line for line in lines)
            if turn % 50 == 0:
                ended = entangle("verify", run, "--json", "-q")
                assert ended.code == 2
                assert ended.json["rows"][0]["verdict"] == "damaged"
    assert found == FLIPS
    assert entangle("verify", run, "-q").code == 0


def test_an_intact_run_has_a_row_per_file(entangle, run, file):
    assert entangle("dump", MODEL, "test", "--layers", "fc2", "--file", "own.dat", "-q").code == 0
    body = entangle("verify", run, "--json").json
    assert body["rows"] == [
        {
            "file": f"activations/{file.name}",
            "rows": 364,
            "complete": True,
            "verdict": "intact",
            "what": None,
        }
    ]
    (row,) = entangle("verify", "own.dat", "--json").json["rows"]
    assert (row["file"], row["verdict"]) == ("own.dat", "intact")
    assert len(entangle("verify", ".", "--json").json["rows"]) == 2


def test_the_damaged_layer_and_rows_are_named(entangle, run, file):
    offset, row_bytes = read_journal(file.with_suffix(".journal")).header.blocks[1]
    with changed(file, offset + 260 * row_bytes, 1):
        ended = entangle("verify", run, "--json", "-q")
    assert ended.code == 2
    assert ended.json["rows"][0]["what"] == "layer fc2: rows 250 to 363 are damaged"
    assert ended.error == (
        f"error: entangle-out: 1 of 1 activation files damaged: activations/{file.name}; "
        "dump again with --overwrite"
    )


@pytest.mark.parametrize("suffix", [".h5", ".journal", ".manifest.json"])
@pytest.mark.parametrize("left", [0, 1, 0.5, -1])
def test_a_cut_file_is_found(entangle, run, file, suffix, left):
    path = file.with_suffix(suffix)
    size = path.stat().st_size
    os.truncate(path, int(size * left) if isinstance(left, float) else left % size)
    ended = entangle("verify", run, "--json", "-q")
    assert ended.code == 2
    (row,) = ended.json["rows"]
    assert row["verdict"] == "damaged"
    assert "\n" not in row["what"]


@pytest.mark.parametrize("suffix", [".h5", ".journal"])
def test_a_missing_part_is_found(entangle, run, file, suffix):
    file.with_suffix(suffix).unlink()
    ended = entangle("verify", run, "--json", "-q")
    assert ended.code == 2
    (row,) = ended.json["rows"]
    assert row["file"] == f"activations/{file.name}"
    assert {".h5": "no such file", ".journal": "journal is missing"}[suffix] in row["what"]
    assert (row["rows"], row["complete"]) == (None, None)


def test_an_unfinished_file_is_intact_and_said_to_be_unfinished(entangle, run, file):
    file.with_suffix(".manifest.json").unlink()
    journal = file.with_suffix(".journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]))
    (row,) = entangle("verify", run, "--json").json["rows"]
    assert (row["rows"], row["complete"], row["verdict"]) == (250, False, "intact")


def test_other_files_are_neither_judged_nor_touched(entangle, run, file):
    others = [run / "notes.h5", run / "data.hdf5", run / "activations" / "readme.txt"]
    others[0].write_bytes(b"not HDF5 at all")
    with h5py.File(others[1], "w") as foreign:
        foreign["x"] = np.zeros(3)
    others[2].write_text("mine")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*.*")}
    assert entangle("verify", run, "-q").code == 0
    assert len(entangle("verify", run, "--json").json["rows"]) == 1
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*.*")}
    assert after == before


def test_several_damaged_files_are_counted(entangle, run, file):
    assert entangle("dump", MODEL, "test", "--layers", "fc2", "-q").code == 0
    for path in run.glob("activations/*.manifest.json"):
        path.write_text("{}")
    ended = entangle("verify", run, "-q")
    assert ended.code == 2
    assert "2 of 2 activation files damaged" in ended.error
    assert "and 1 more" in ended.error


@pytest.mark.parametrize("what", ["nothing-here", "checkpoints", MODEL])
def test_what_holds_no_activations_is_answered_in_one_line(entangle, project, what):
    ended = entangle("verify", what, "-q")
    assert ended.code == 2
    assert what in ended.error


def test_a_fifo_does_not_hang(entangle, tmp_path):
    os.mkfifo(tmp_path / "acts.h5")
    ended = entangle("verify", tmp_path / "acts.h5", "-q")
    assert ended.code == 2
    assert "1 of 1" in ended.error
