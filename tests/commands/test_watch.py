"""``entangle measure --watch``: what comes into a folder is measured as it comes."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from entangle_cli.datasets.preprocessing import Preprocessing
from entangle_cli.datasets.probing import Resolved
from entangle_cli.errors import UsageError
from entangle_cli.runs.measure import measuring
from entangle_cli.runs.watch import watching
from entangle_cli.runs.watch.folder import WatchedFolder, is_temporary, watched_folder

STEPS = [0, 30, 100, 300, 1000]


def name(step):
    return f"digits-step{step:04d}.onnx"


@pytest.fixture
def run_folder(project):
    """An empty folder for a training run; the checkpoints lie elsewhere, ready to be copied."""
    (project / "run").mkdir()
    return project / "run"


@pytest.fixture
def put(project, run_folder):
    """Writes checkpoints of these steps into the run's folder, as one action of a script."""

    def action(*steps):
        for step in steps:
            shutil.copy(project / "checkpoints" / name(step), run_folder / name(step))

    return lambda *steps: lambda: action(*steps)


@pytest.fixture
def seconds(monkeypatch):
    """Makes a second of waiting pass at once; ``script[n]`` happens before second n + 1."""

    def set_script(script):
        clock = SimpleNamespace(now=1000.0)
        rest = iter(script)

        def sleep(length):
            clock.now += length
            next(rest, lambda: None)()

        fake = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
        monkeypatch.setattr(watching, "time", fake)

    return set_script


def nothing():
    pass


def watch(entangle, *words):
    return entangle("measure", "test", "--watch", "run", *words)


def test_in_the_end_all_is_as_if_the_folder_had_been_measured(entangle, put, seconds):
    seconds([put(30), put(100), put(0), nothing, nothing, put(1000)])
    found = watch(entangle, "--json", "--watch-idle", "5")
    assert found.code == 0, found.stderr
    plain = entangle("measure", *(f"run/{name(s)}" for s in (0, 30, 100, 1000)), "test", "--json")
    for key in ("rows", "models", "notes"):
        assert found.json[key] == plain.json[key], key
    assert [model["step"] for model in found.json["models"]] == [0, 30, 100, 1000]


def test_the_files_are_written_after_every_checkpoint(entangle, project, put, seconds):
    written = []

    def look():
        try:
            body = json.loads((project / "entangle-out" / "results.json").read_text())
            csv = (project / "entangle-out" / "measure.csv").read_text()
        except FileNotFoundError:
            written.append(None)
            return
        assert all(f",{model['step']}," in csv for model in body["models"])
        written.append([model["step"] for model in body["models"]])

    seconds([put(30), look, look, look, put(0), look, look, look])
    assert watch(entangle, "-q", "--watch-idle", "5").code == 0
    # copied in the second before the first look that shows it, measured two seconds later
    assert written == [None, None, [30], [30], [30], [0, 30]]


def test_each_checkpoint_is_a_line_and_the_table_comes_at_the_end(entangle, put, seconds):
    seconds([put(30), put(1000)])
    found = watch(entangle, "-q", "--watch-until", "2")
    assert found.code == 0
    lines = found.stdout.splitlines()
    assert re.match(rf"{name(30)} \(step 30\): accuracy .* %, entanglement .* to ", lines[0])
    assert lines[1].startswith(name(1000))
    assert "trend" in found.stdout
    assert "error" not in found.stderr


def test_a_program_gets_one_object_on_stdout(entangle, put, seconds):
    seconds([put(30), put(1000)])
    found = watch(entangle, "--json", "--watch-until", "2")
    assert found.stdout.count("\n") == 1
    assert f"{name(30)} (step 30): accuracy" in found.stderr


def test_a_half_written_file_is_left_alone_until_it_is_whole(
    entangle, project, run_folder, seconds
):
    whole = (project / "checkpoints" / name(30)).read_bytes()
    half = len(whole) // 2
    writing = [lambda: (run_folder / name(30)).write_bytes(whole[:half])]
    writing += [nothing] * 20 + [lambda: (run_folder / name(30)).write_bytes(whole)]
    seconds(writing)
    found = watch(entangle, "--watch-until", "1")
    assert found.code == 0
    assert "error" not in found.stderr
    assert "step 30" in found.stdout


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_what_never_becomes_readable_is_reported_once(
    entangle, project, run_folder, put, seconds, content
):
    if content is None:
        content = (project / "checkpoints" / name(100)).read_bytes()[:-2000]
    (run_folder / name(100)).write_bytes(content)
    seconds([put(30)])
    found = watch(entangle, "--watch-idle", "200", "--json")
    assert found.code == 3
    assert [model["step"] for model in found.json["models"]] == [30]
    assert found.stderr.count("error: ") == 2
    assert found.stderr.count(f"1 could not be measured: {name(100)}") == 1


def test_a_short_watch_says_what_was_not_complete(entangle, run_folder, put, seconds):
    (run_folder / name(100)).write_bytes(b"half")
    seconds([put(30)])
    found = watch(entangle, "--watch-idle", "10", "--json")
    assert found.code == 0
    (note,) = found.json["notes"]
    assert note.startswith("not measured, could not be opened by the end: ")
    assert name(100) in note


def test_a_watch_that_could_open_nothing_says_why(entangle, run_folder, seconds):
    (run_folder / name(100)).write_bytes(b"half")
    seconds([])
    found = watch(entangle, "--watch-idle", "10")
    assert found.code == 2
    assert f"run/{name(100)}" in found.error
    assert "none came" not in found.error


def test_a_damaged_file_that_is_mended_is_measured_after_all(entangle, run_folder, put, seconds):
    (run_folder / name(30)).write_bytes(b"not a model")
    seconds([nothing] * 100 + [put(30)])
    found = watch(entangle, "--json", "--watch-until", "1")
    assert found.code == 0
    assert found.stderr.count("error: ") == 1


def test_a_deleted_checkpoint_stays_in_the_results(entangle, run_folder, put, seconds):
    seconds([put(30), *[nothing] * 4, (run_folder / name(30)).unlink, put(1000)])
    found = watch(entangle, "--json", "--watch-until", "2")
    assert [model["step"] for model in found.json["models"]] == [30, 1000]


def test_a_replaced_checkpoint_is_measured_again(entangle, project, run_folder, seconds):
    best = run_folder / "best.onnx"

    def replace(step):
        return lambda: shutil.copy(project / "checkpoints" / name(step), best)

    seconds([replace(0), *[nothing] * 5, replace(1000)])
    found = watch(entangle, "--json", "--watch-idle", "6")
    (model,) = found.json["models"]
    assert model["accuracy"] > 0.9
    assert len(re.findall(r"best\.onnx: accuracy .*, entanglement", found.stderr)) == 2
    assert len(found.json["rows"]) == len({row["layer"] for row in found.json["rows"]})


def test_a_restart_goes_on_with_what_is_kept(entangle, run_folder, put, seconds, monkeypatch):
    seconds([put(30, 100)])
    first = watch(entangle, "--json", "--watch-idle", "5")
    (run_folder / name(30)).unlink()
    refuse = pytest.fail
    monkeypatch.setattr(measuring, "measure", lambda *a, **o: refuse("was measured again"))
    seconds([])
    again = watch(entangle, "--json", "--watch-idle", "5")
    assert again.code == 0
    assert again.json["rows"] == first.json["rows"]
    assert again.json["models"] == first.json["models"]


def test_results_of_another_kind_are_not_taken_over(entangle, run_folder, put, seconds):
    seconds([put(30, 100)])
    watch(entangle, "-q", "--watch-until", "2")
    (run_folder / name(30)).unlink()
    for other in (["--layers", "fc2"], ["--metric", "cosine"], ["--overwrite"]):
        seconds([])
        found = watch(entangle, "--json", "--watch-idle", "5", *other)
        assert [model["step"] for model in found.json["models"]] == [100], other


def test_a_series_whose_last_step_shows_another_preprocessing_is_measured_again(
    entangle, run_folder, put, seconds, monkeypatch
):
    fed = {name(30): 1.0, name(100): 2.0, name(1000): 2.0}

    def resolve(model, *rest):
        scale = fed[model.path.name]
        return Resolved(Preprocessing(scale=255.0 * scale), f"found on {model.path.name}")

    monkeypatch.setattr(watching, "resolve", resolve)
    gone = (run_folder / name(0)).unlink
    fed[name(0)] = 1.0
    seconds([put(0), *[nothing] * 3, gone, put(30), *[nothing] * 4, put(100), *[nothing] * 4])
    found = watch(entangle, "--json", "--watch-idle", "6")
    used = {model["step"]: model["preprocessing"] for model in found.json["models"]}
    assert name(0) in used[0]
    assert name(100) in used[30]
    assert name(100) in used[100]
    assert found.stderr.count(f"{name(30)} (step 30): ") == 2
    (note,) = [note for note in found.json["notes"] if "another preprocessing" in note]
    assert note.endswith(f"for {name(0)}, which cannot be measured again")


def test_class_pairs_are_watched_as_well(entangle, project, put, seconds):
    seconds([put(30), put(1000)])
    assert watch(entangle, "-q", "--watch-until", "2", "--class-pairs", "--layers", "fc2").code == 0
    table = (project / "entangle-out" / "measure-pairs.csv").read_text().splitlines()
    assert len(table) == 1 + 2 * 45


def test_a_restart_keeps_the_pairs_of_what_is_gone(entangle, project, run_folder, put, seconds):
    asked = ("--json", "--watch-idle", "5", "--class-pairs", "--layers", "fc2")
    table = project / "entangle-out" / "measure-pairs.csv"
    seconds([put(30, 1000)])
    first = watch(entangle, *asked)
    written = table.read_text()
    assert written.count("\n") == 1 + 2 * 45
    (run_folder / name(30)).unlink()
    seconds([])
    again = watch(entangle, *asked)
    assert again.json["rows"] == first.json["rows"]
    assert again.json["notes"] == first.json["notes"]
    assert table.read_text() == written
    # without its pairs, that is said
    table.write_text(written.partition("\n")[0])
    (note,) = set(watch(entangle, *asked).json["notes"]) - set(first.json["notes"])
    assert note == f"pairs of classes: none of {name(30)}, which is gone"


def test_a_watch_in_which_nothing_came_leaves_nothing(entangle, project, run_folder, seconds):
    seconds([])
    found = watch(entangle, "--watch-idle", "0")
    assert found.code == 2
    assert "none came" in found.error
    assert not (project / "entangle-out").exists()


def test_the_folder_may_come_later(entangle, project, seconds):
    checkpoints = project / "checkpoints"
    seconds([nothing, nothing, lambda: shutil.copytree(checkpoints, project / "later")])
    found = entangle(
        "measure", "test", "--watch", "later/*1000.onnx", "--watch-until", "1", "--json"
    )
    assert [model["model"] for model in found.json["models"]] == [name(1000)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test", "--watch-until", "3"], "give --watch DIR"),
        (["test", "--watch-idle", "3"], "give --watch DIR"),
        (["checkpoints/digits-step1000.onnx", "test", "--watch", "run"], "one data set only"),
        (["test", "train", "--watch", "run"], "one data set only"),
        (["test", "--watch", "missing/run"], "missing/run"),
        (["test", "--watch", "entangle.toml"], "not a folder"),
        (["test", "--watch", "run", "--layers", "fc9"], "fc9"),
        (["tset", "--watch", "run"], "did you mean 'test'"),
    ],
)
def test_a_wrong_watch_is_answered_in_one_line(entangle, put, seconds, words, message):
    put(30)()
    seconds([])
    found = entangle("measure", *words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


def test_a_look_shows_checkpoints_and_nothing_else(tmp_path):
    for file in ("a.onnx", "b.pt", ".c.onnx", "d.onnx.tmp", "e.tmp.onnx", "f.part", "notes.txt"):
        (tmp_path / file).write_bytes(b"x")
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "latest.onnx").symlink_to(tmp_path / "a.onnx")
    (tmp_path / "dangling.onnx").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert list(WatchedFolder(tmp_path).look()) == ["a.onnx", "b.pt"]
    assert list(WatchedFolder(tmp_path, "*.pt").look()) == ["b.pt"]
    assert WatchedFolder(tmp_path / "missing").look() == {}


def test_external_data_belongs_to_its_checkpoint(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"x")
    (tmp_path / "b.onnx").write_bytes(b"x")
    before = WatchedFolder(tmp_path).look()
    (tmp_path / "a.onnx.data").write_bytes(b"weights")
    after = WatchedFolder(tmp_path).look()
    assert list(after) == ["a.onnx", "b.onnx"]
    assert (after["a.onnx"] == before["a.onnx"], after["b.onnx"] == before["b.onnx"]) == (0, 1)


def test_temporary_names():
    assert [n for n in ("a.pt", ".a.pt", "~a.pt", "a.pt.part", "a.TMP.pt") if is_temporary(n)] == [
        ".a.pt", "~a.pt", "a.pt.part", "a.TMP.pt",
    ]  # fmt: skip


def test_a_place_is_a_folder_and_perhaps_a_pattern(tmp_path):
    assert watched_folder(str(tmp_path)) == WatchedFolder(tmp_path, "*")
    assert watched_folder(f"{tmp_path}/step*.pt") == WatchedFolder(tmp_path, "step*.pt")
    (tmp_path / "run[1]").mkdir()
    assert watched_folder(f"{tmp_path}/run[1]").path == tmp_path / "run[1]"
    with pytest.raises(UsageError, match="neither it nor"):
        watched_folder(f"{tmp_path}/no/run")


def read_terminal(words: list[str], folder: Path, seen: bytes, then) -> tuple[int, str]:
    """Run a command on a terminal of its own; call ``then(process)`` once ``seen`` was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "entangle_cli", *words],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", "PYTHONUTF8": "1"},
    )
    os.close(theirs)
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    shown, done = b"", False
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            piece = b""
        if not piece:
            break
        shown += piece
        if seen in shown and not done:
            done = True
            then(process)
    watchdog.cancel()
    os.close(ours)
    return process.wait(), shown.decode(errors="replace")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_watch_with_everything_written(project, put, number, code):
    put(30, 1000)()
    words = ["measure", "test", "--watch", "run", "--layers", "fc2"]
    # the heading of the second column is drawn when both are there
    ended, shown = read_terminal(words, project, b"trend", lambda p: p.send_signal(number))
    assert ended == code, shown
    body = json.loads((project / "entangle-out" / "results.json").read_text())
    assert [model["step"] for model in body["models"]] == [30, 1000]
    assert "Entanglement of" in shown
    # block characters, where the terminal has them
    assert "█" in shown
    assert "Traceback" not in shown
    assert not list((project / "entangle-out").glob("*.tmp"))
