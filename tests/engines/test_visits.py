"""One layer by all workers: visits in groups of rows, merged in order, have one process's bytes."""

import pytest

from entangle_cli.measures import visits
from entangle_cli.runs.spread.latest import Latest
from entangle_cli.runs.spread.visiting import visits_folder
from tests.engines.workload import contents

MODEL = "checkpoints/digits-step1000.onnx"
SERIES = "checkpoints/digits-step0[01]*0.onnx"
SPREAD = ("--engine", "ray", "--num-workers", "2")
ONE = ("measure", MODEL, "train", "-b", 64, "--layers", "fc1")


@pytest.fixture
def grouped(monkeypatch):
    """Large are the sets of the demo, and a tile is a small part of them."""
    monkeypatch.setattr("entangle_cli.measures.snnl.MOST_POINTS", 100)
    monkeypatch.setattr("entangle_cli.measures.pairs.HEIGHT", 32)
    monkeypatch.setattr("entangle_cli.measures.pairs.WIDTH", 64)
    monkeypatch.setattr("entangle_cli.measures.sums.HEIGHT", 32)
    monkeypatch.setattr("entangle_cli.measures.sums.WIDTH", 64)
    monkeypatch.setattr(visits, "GROUPED", 200)
    monkeypatch.setattr(visits, "GROUPS", 9)
    # distances that are kept would be those of this process
    monkeypatch.setattr("entangle_cli.measures.streamed.KEEP_BYTES", 0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "words",
    [
        ONE,
        (*ONE, "--metric", "cosine"),
        (*ONE, "--temperature", "0.1xmedian"),
        ("measure", SERIES, "train", "-b", 64, "--layers", "fc2"),
    ],
    ids=["euclidean", "cosine", "temperature", "three checkpoints"],
)
def test_bytes_are_those_of_one_process(
    entangle, project, disordered, grouped, given, monkeypatch, words, order
):
    monkeypatch.setattr(disordered, "seed", order)
    here = entangle(*words, "-o", "here", "--json", "-q")
    there = entangle(*words, "-o", "there", "--json", "-q", *SPREAD)
    assert (here.code, there.code) == (0, 0), there.stderr
    assert sum("layer fc" in name and "groups 0 to 1" in name for name in given) > 0
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert contents(project / "there") == contents(project / "here")


def test_only_layers_that_leave_workers_idle_are_cut(entangle, project, disordered, grouped, given):
    entangle("measure", SERIES, "train", "-b", 64, "--layers", "fc2", "-o", "there", "-q", *SPREAD)
    whole = [name for name in given if name.endswith("layer fc2")]
    cut = {name.partition(",")[0] for name in given if "groups" in name}
    assert len(whole) == 2
    assert len(cut) == 1


def test_a_deadly_group_is_named_and_nothing_is_left(
    entangle, project, disordered, grouped, monkeypatch
):
    monkeypatch.setattr(disordered, "deadly", "groups 3 to 4")
    found = entangle(*ONE, "-o", "there", "-q", *SPREAD)
    assert found.code == 3
    assert "layer fc1, groups 3 to 4: 4 workers died" in found.stderr
    monkeypatch.setattr(disordered, "deadly", "nothing")
    assert entangle(*ONE, "-o", "there", "-q", *SPREAD).code == 0
    entangle(*ONE, "-o", "here", "-q")
    assert contents(project / "there") == contents(project / "here")


def test_small_layers_and_pairs_and_batches_stay_whole(entangle, project, disordered, given):
    entangle(*ONE, "-o", "there", "-q", *SPREAD)
    assert any(name.endswith("layer fc1") for name in given)
    assert not any("groups" in name for name in given)


def test_what_killed_commands_have_left_is_removed(tmp_path):
    left = tmp_path / ".visits-abc"
    left.mkdir()
    (left / "0-1.npy").write_bytes(b"x")
    with visits_folder(tmp_path) as folder:
        assert not left.exists()
        with visits_folder(tmp_path) as other:
            assert folder.exists(), "a living command keeps its own"
            assert other != folder
    assert list(tmp_path.iterdir()) == []


def test_a_worker_keeps_the_last_thing_alone():
    alive: set[int] = set()

    class Thing:
        def __init__(self, number):
            assert not alive, "the one before is gone when the next is made"
            self.number = number
            alive.add(number)

        def __del__(self):
            alive.discard(self.number)

    kept = Latest(Thing)
    assert kept(1) is kept(1)
    assert kept(2).number == 2
    assert alive == {2}


def test_what_could_not_be_made_is_tried_again():
    answers = iter([ValueError("no"), "yes"])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = Latest(make)
    with pytest.raises(ValueError, match="no"):
        kept()
    assert kept() == "yes"
