"""However a dump is interrupted, the resumed store ends with the bytes of an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import contents, fill, make_spec

from entangle_cli.activations import writer as writing
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.schema import StoredLayer
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoreError

ROWS, BATCH = 1000, 64


@pytest.fixture
def path(tmp_path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "a.h5"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    run(folder / "a.h5", make_spec(ROWS, BATCH))
    return contents(folder)


def run(path, spec, until=None) -> None:
    with ActivationWriter.open(path, spec) as writer:
        fill(writer, spec, until)
        if until is None:
            writer.finish()


@pytest.mark.parametrize("stop", range(BATCH, ROWS, BATCH))
def test_stopping_after_any_batch_changes_nothing(path, whole, stop):
    spec = make_spec(ROWS, BATCH)
    run(path, spec, until=stop)
    assert ActivationFile.open(path).rows == stop // 256 * 256
    run(path, spec)
    assert contents(path.parent) == whole


@pytest.mark.parametrize("batch", [1, 7, 256, 300, 5000])
def test_the_journal_grid_suits_every_batch_size(path, batch):
    spec = make_spec(600, batch)
    run(path, spec, until=min(599, batch * (400 // batch)))
    run(path, spec)
    file = ActivationFile.open(path)
    assert file.complete
    assert all(entry.start % batch == 0 for entry in file.journal.entries)


def test_how_often_is_committed_does_not_show(path, whole, monkeypatch):
    monkeypatch.setattr(writing, "COMMIT_BYTES", 1)
    run(path, make_spec(ROWS, BATCH))
    assert contents(path.parent) == whole


def test_only_committed_rows_are_visible(path):
    spec = make_spec(ROWS, BATCH)
    with ActivationWriter.open(path, spec) as writer:
        fill(writer, spec, until=320)
        seen = ActivationFile.open(path)
        assert (seen.rows, seen.points("fc").shape, seen.labels.shape) == (0, (0, 5), (0,))
        writer.commit()
        seen = ActivationFile.open(path)
        assert (seen.rows, seen.total_rows, seen.complete) == (256, ROWS, False)
        assert seen.points("fc").shape == (256, 5)
        assert len(seen.ids) == 256
        assert seen.notes == ("unfinished: 256 of 1000 rows are there",)


def test_a_finished_store_is_opened_as_complete(path):
    run(path, make_spec())
    before = path.stat().st_mtime_ns
    with ActivationWriter.open(path, make_spec()) as writer:
        assert writer.complete
        assert writer.rows == 40
        assert writer.finish().complete
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_cut_journal_line_is_written_again(path, whole, cut):
    run(path, make_spec(ROWS, BATCH), until=800)
    journal = path.with_suffix(".journal")
    os.truncate(journal, journal.stat().st_size - cut)
    assert ActivationFile.open(path).rows == 512
    run(path, make_spec(ROWS, BATCH))
    assert contents(path.parent) == whole


@pytest.mark.parametrize("rubbish", [b"\0" * 100, b"x" * 30 + b"\n", b"{} 00000000\n"])
def test_rubbish_behind_the_journal_is_cut(path, whole, rubbish):
    run(path, make_spec(ROWS, BATCH), until=800)
    with path.with_suffix(".journal").open("ab") as journal:
        journal.write(rubbish)
    run(path, make_spec(ROWS, BATCH))
    assert contents(path.parent) == whole


def test_a_missing_manifest_is_written_again(path, whole):
    run(path, make_spec(ROWS, BATCH))
    path.with_name("a.manifest.json").unlink()
    assert not ActivationFile.open(path).complete
    run(path, make_spec(ROWS, BATCH))
    assert contents(path.parent) == whole


def test_leftovers_of_a_killed_start_are_removed(path, whole):
    for name in ("a.h5.tmp", "a.journal.tmp", "a.manifest.json.tmp", "a.journal"):
        (path.parent / name).write_text("half")
    run(path, make_spec(ROWS, BATCH))
    assert contents(path.parent) == whole


def test_another_identity_is_refused_key_by_key(path):
    run(path, make_spec())
    before = contents(path.parent)
    other = {"model_sha256": "ab" * 31 + "cc", "batch_size": 8, "dtype": "float16"}
    with pytest.raises(StoreError) as caught:
        ActivationWriter.open(path, make_spec(identity=other))
    message = str(caught.value)
    assert 'dtype null -> "float16"' in message
    assert "batch_size" not in message
    assert "model_sha256 …ababababab" in message
    assert 'cc"' in message
    assert "--overwrite or another output" in message
    assert "\n" not in message
    assert contents(path.parent) == before


def test_overwrite_starts_afresh(path, whole):
    run(path, make_spec(rows=7))
    with ActivationWriter.open(path, make_spec(ROWS, BATCH), overwrite=True) as writer:
        assert writer.rows == 0
        fill(writer, make_spec(ROWS, BATCH))
        writer.finish()
    assert contents(path.parent) == whole


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_foreign_file_is_never_overwritten(path, overwrite):
    path.write_text("my thesis")
    with pytest.raises(StoreError, match="is not an activation file"):
        ActivationWriter.open(path, make_spec(), overwrite=overwrite)
    assert contents(path.parent) == {"a.h5": b"my thesis"}


def test_other_shapes_under_the_same_identity_are_refused(path):
    run(path, make_spec())
    layers = (
        StoredLayer("conv1>relu", (2, 3), (2, 3), "float32", "none"),
        StoredLayer("fc", (6,), (6,), "float32", "flatten"),
    )
    with pytest.raises(StoreError, match="other shapes"):
        ActivationWriter.open(path, make_spec(layers=layers))


def test_the_output_is_checked(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        ActivationWriter.open(tmp_path, make_spec())
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written: (Not a directory|File exists)"):
        ActivationWriter.open(tmp_path / "file" / "a.h5", make_spec())


KILLED = """
import sys, time
from fakes import fill, make_spec
from entangle_cli.activations import writer as writing
writing.COMMIT_BYTES = 20_000
spec = make_spec(6000, 32)
print("ready", flush=True)
with writing.ActivationWriter.open(sys.argv[1], spec) as writer:
    for stop in range(writer.rows + 320, 6320, 320):
        fill(writer, spec, min(stop, 6000))
        print(stop, flush=True)
        time.sleep(0.004)
    writer.finish()
"""


def test_twenty_random_kills_end_with_the_same_bytes(path, tmp_path):
    spec = make_spec(6000, 32)
    reference = tmp_path / "reference" / "a.h5"
    run(reference, spec)
    chance = random.Random(7)
    folders = [str(Path(__file__).parent), str(Path(writing.__file__).parents[2])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(folders))
    command = [sys.executable, "-c", KILLED, str(path)]
    kills, resumed = 0, set()
    while kills < 20:
        if path.with_name("a.manifest.json").exists():
            # finished too soon: the remaining kills need a new one
            path.unlink()
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            # by progress, not by the clock: a busy machine is late
            for _ in range(chance.randrange(1, 10)):
                process.stdout.readline()
            time.sleep(chance.uniform(0, 0.01))
            process.send_signal(signal.SIGKILL)
        kills += process.returncode == -signal.SIGKILL
        if path.exists():
            rows = ActivationFile.open(path).rows
            assert rows % 256 == 0 or rows == 6000
            resumed.add(rows)
    assert len(resumed) > 2, "the kills came too early to test anything"
    run(path, spec)
    assert contents(path.parent) == contents(reference.parent)
