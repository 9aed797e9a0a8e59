"""``--dry-run``: says what a command would do, and does nothing."""

import json
import os
from pathlib import Path

import pytest

from entangle_cli.activations.file import ActivationFile
from entangle_cli.measures.protocol import Protocol
from entangle_cli.runs.plan import plan, planning
from entangle_cli.runs.shared import console

MODEL = "checkpoints/digits-step1000.onnx"
STEPS = ["0000", "0030", "0100", "0300", "1000"]
COMMANDS = {
    "dump": ["dump", MODEL, "test"],
    "measure": ["measure"],
    "measure-data": ["measure", "test"],
    "dknn": ["dknn"],
    "ood": ["ood", "--out", "letters"],
}


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """Rates that take no time to find; `test_rates_are_measured` looks at the real ones."""
    monkeypatch.setattr(planning, "_pair_rates", lambda *given: (1e-6, 1e-8))
    monkeypatch.setattr(planning, "_rate", lambda dim, device: 1e9)


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """All that is below a folder, with sizes and times."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_written_not_even_a_folder(entangle, project, name):
    before = everything(project)
    for form in ([], ["--json"]):
        found = entangle(*COMMANDS[name], "--dry-run", *form)
        assert found.code == 0, found.stderr
        assert "nothing was written" in found.stderr
    assert everything(project) == before
    assert not (project / "entangle-out").exists()


@pytest.mark.parametrize("name", ["dump", "measure"])
def test_sizes_and_layers_are_those_of_the_real_run(entangle, project, name):
    planned = entangle(*COMMANDS[name], "--dry-run", "--json", "-q").json
    entangle(*COMMANDS[name], "-q")
    stores = [ActivationFile.open(p) for p in sorted(Path("entangle-out").rglob("*.h5"))]
    assert len(planned["rows"]) == len(stores)
    for row, store in zip(planned["rows"], stores, strict=True):
        assert row["samples"] == store.rows
        assert row["layers"] == len(store.layers)
        assert row["dims"] == sum(layer.dim for layer in store.layers)
        held = os.path.getsize(store.path)
        # labels, ids and the header are not rows
        assert row["bytes"] < held < row["bytes"] + 100_000
    layers = {row["layer"]: row["dim"] for row in planned["provenance"]["layers"]}
    assert layers == {layer.name: layer.dim for layer in stores[0].layers}
    assert planned["provenance"]["bytes"] == sum(row["bytes"] for row in planned["rows"])


def test_what_is_there_is_not_done_again(entangle, project):
    entangle("measure", MODEL, "test", "-q")
    planned = entangle("measure", "--dry-run", "--json", "-q").json
    states = {row["model"]: (row["activations"], row["measured"]) for row in planned["rows"]}
    assert states.pop("digits-step1000.onnx") == ("kept", "4 of 4")
    assert set(states.values()) == {("new", "0 of 4")}
    kept = planned["rows"][-1]
    assert (kept["bytes"], kept["network_seconds"], kept["pairs_seconds"]) == (0, 0.0, 0.0)
    fresh = entangle("measure", "--dry-run", "--json", "-q", "--overwrite").json
    assert {row["activations"] for row in fresh["rows"]} == {"new"}


def test_a_cut_dump_is_resumed(entangle, project, monkeypatch):
    from entangle_cli.activations import dump as dumping
    from entangle_cli.errors import StoppedEarly

    real = dumping.dump
    asked = iter([False, True])
    cut = lambda *a, **o: real(*a, **o, stop=lambda: next(asked))  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(dumping, "dump", cut)
        assert entangle("dump", MODEL, "test", "-q", "-b", "256").code == StoppedEarly.exit_code
    (row,) = entangle("dump", MODEL, "test", "--dry-run", "--json", "-q", "-b", "256").json["rows"]
    assert row["activations"] == "resumed at 256"
    assert row["bytes"] == (row["samples"] - 256) * 1872


def test_a_file_that_the_command_refuses_is_refused(entangle, project):
    entangle("dump", MODEL, "test", "-q", "--file", "acts.h5")
    words = ("dump", MODEL, "train", "--file", "acts.h5")
    planned, real = entangle(*words, "--dry-run"), entangle(*words)
    assert planned.code == real.code == 2
    assert planned.error == real.error


def test_a_checkpoint_that_would_fail_is_a_note(entangle, project):
    (project / "checkpoints" / "digits-step0500.onnx").write_bytes(b"not a model")
    found = entangle("measure", "--dry-run", "--json", "-q")
    assert found.code == 0
    assert len(found.json["rows"]) == len(STEPS)
    (note,) = found.json["notes"]
    assert note.startswith("would fail: ")
    assert "digits-step0500.onnx" in note


def test_where_every_checkpoint_would_fail_so_does_the_plan(entangle, project):
    (project / "broken.onnx").write_bytes(b"not a model")
    found = entangle("measure", "broken.onnx", "test", "--dry-run")
    assert found.code == 2
    assert "broken.onnx" in found.error


def test_the_raw_input_is_measured_and_not_stored(entangle, project):
    planned = entangle("measure", MODEL, "test", "--layers", "input", "--dry-run", "--json").json
    (row,) = planned["rows"]
    assert (row["dims"], row["bytes"], row["activations"]) == (64, 0, "not stored")


def test_neighbors_of_every_set_are_counted(entangle, project):
    planned = entangle("dknn", "--dry-run", "--json", "-q").json
    assert [row["data"] for row in planned["rows"]] == ["train", "holdout", "test"]
    train, holdout, test = (row["samples"] for row in planned["rows"])
    dims = [256, 128, 64, 10]
    seconds = sum((holdout + test) * train * (2 * dim / 1e9 + 4e-9) for dim in dims)
    assert planned["provenance"]["neighbors_seconds"] == pytest.approx(seconds)
    assert planned["provenance"]["seconds"] >= seconds


@pytest.mark.parametrize(
    ("words", "lists"),
    [(["dknn"], 2 * 4), (["ood", "--out", "letters", "--detectors", "knn,lid"], 2 * 3 * 4)],
    ids=["dknn", "ood"],
)
def test_neighbors_that_are_kept_cost_nothing(entangle, project, words, lists):
    before = entangle(*words, "--dry-run", "--json", "-q").json
    assert before["provenance"]["neighbor_lists"] == lists
    assert before["provenance"]["neighbor_lists_kept"] == 0
    assert entangle(*words, "-q").code == 0
    assert len(list(Path("entangle-out/neighbors").glob("*.npz"))) == lists
    after = entangle(*words, "--dry-run", "--json", "-q").json
    assert after["provenance"]["neighbor_lists_kept"] == lists
    assert after["provenance"]["neighbors_seconds"] == 0
    assert f"neighbors: {lists} of {lists} lists (one per layer and set) are kept" in after["notes"]
    fewer = entangle(*words, "-k", "10", "--dry-run", "--json", "-q").json["provenance"]
    assert fewer["neighbor_lists_kept"] == 0 < fewer["neighbors_seconds"]


def test_limit_cuts_what_is_judged_and_not_what_is_known(entangle, project):
    whole = entangle("ood", "--out", "letters", "--dry-run", "--json", "-q").json["rows"]
    cut = entangle("ood", "--out", "letters", "--limit", "50", "--dry-run", "--json", "-q").json
    known = [row["samples"] for row in whole[:2]]
    assert [row["samples"] for row in cut["rows"]] == [*known, 50, 50]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["measure", "test", "--watch", "checkpoints"], "--dry-run with --watch"),
        (["measure", "tset"], "did you mean 'test'"),
        (["dknn", "missing.onnx"], "missing.onnx"),
        (["ood", "--out", "nowhere"], "nowhere"),
        (["dump", MODEL, "test", "--layers", "fc9"], "fc9"),
    ],
)
def test_a_wrong_word_is_answered_as_without(entangle, project, words, message):
    found = entangle(*words, "--dry-run")
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


def test_pairs_grow_with_the_square_and_batches_with_their_number():
    every_pair = Protocol()

    def seconds(count, protocol=every_pair):
        return planning.measuring_seconds(count, [100], 10, protocol, "cpu")

    assert seconds(2000) == pytest.approx(2000**2 * (1e-6 + 100 * 1e-8))
    assert seconds(4000) == pytest.approx(4 * seconds(2000))
    batches = Protocol(batch_size=100, batches=30)
    assert seconds(10**6, batches) == pytest.approx(30 * seconds(100))


def test_rates_are_measured(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(planning, "SMALL", 200)
    base, per_entry = planning._pair_rates.__wrapped__(False, 10, "euclidean", "cpu")
    assert base > 0
    assert per_entry >= 0


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (681_408, "681 kB"), (2_500_000_000, "2.50 GB"),
     (7.2e13, "72.0 TB")],
)  # fmt: skip
def test_sizes_for_people(count, text):
    assert plan.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.2, "< 1 s"), (59.7, "60 s"), (600, "10 min"), (9000, "2.5 h")],
)
def test_durations_for_people(seconds, text):
    assert console.duration(seconds) == text


def test_the_table_names_sizes_and_times(entangle, project):
    table = entangle("measure", "--dry-run", "-q").stdout
    for step in STEPS:
        assert f"digits-step{step}.onnx" in table
    for word in ("conv1>maxpool", "disk: ", "memory: about", "time: ", "factor of about 3"):
        assert word in table
    assert json.loads(entangle("measure", "--dry-run", "--json", "-q").stdout)["rows"]
