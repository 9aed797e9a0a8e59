"""Ranges of the queries of a layer, put together, are the lists of one process."""

from pathlib import Path

import pytest
import torch
from torch import nn

from entangle_cli.runs.spread import ranges
from tests.engines.workload import contents, write_images

SPREAD = ("--engine", "ray", "--num-workers", "2")
DKNN = ("dknn", "-b", 64, "--metric", "cosine", "--layers", "fc*")
OOD = ("ood", "--in", "test", "--out", "letters", "--train", "train", "--calib", "holdout")


@pytest.fixture
def short(monkeypatch):
    """Ranges where nobody would cut, of lengths that fit no batch."""
    monkeypatch.setattr(ranges, "FEWEST_QUERIES", 150)
    monkeypatch.setattr(ranges, "FEWEST_PRODUCTS", 1)
    monkeypatch.setattr("entangle_cli.neighbors.exact.BATCH_ROWS", {"cpu": 64})


@pytest.mark.parametrize("words", [DKNN, OOD], ids=["dknn", "ood"])
def test_lists_have_the_bytes_of_one_process(
    entangle, project, disordered, short, given, monkeypatch, words
):
    monkeypatch.setattr(disordered, "seed", 1)
    here = entangle(*words, "-o", "here", "--json", "-q")
    there = entangle(*words, "-o", "there", "--json", "-q", *SPREAD)
    assert (here.code, there.code) == (0, 0), there.stderr
    assert any("range 2 of" in name for name in given)
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert contents(project / "there") == contents(project / "here")
    assert not (project / "there" / "neighbors" / ".ranges").exists()


def test_a_deadly_range_is_named_and_the_others_are_found_again(
    entangle, project, disordered, short, given, monkeypatch
):
    words = (*DKNN, "-o", "there", "-q", *SPREAD)
    monkeypatch.setattr(disordered, "deadly", "range 2 of")
    found = entangle(*words)
    assert found.code == 3
    assert "range 2 of" in found.error
    assert "4 workers died" in found.error
    kept = list((project / "there" / "neighbors" / ".ranges").glob("*.npz"))
    assert kept
    monkeypatch.setattr(disordered, "deadly", "nothing")
    before = {path: path.stat().st_mtime_ns for path in kept}
    searched = []
    search = ranges.ExactIndex.query

    def counting(self, points, **options):
        searched.append(len(points))
        return search(self, points, **options)

    monkeypatch.setattr(ranges.ExactIndex, "query", counting)
    assert entangle(*words).code == 0
    assert before
    assert len(searched) < len(given), "what was found is not searched again"
    entangle(*DKNN, "-o", "here", "-q")
    assert contents(project / "there") == contents(project / "here")


def test_an_approximate_search_is_one_piece(
    entangle, project, disordered, short, given, monkeypatch
):
    # it is not carried out: its graph is compiled first, which takes a minute
    monkeypatch.setattr(disordered, "deadly", "neighbors")
    words = (*DKNN, "--knn", "approximate")
    entangle(*words, "-o", "there", "-q", *SPREAD)
    assert [name for name in given if name.startswith("neighbors")] == [
        f"neighbors in layer {layer}" for layer in ("fc1", "fc1>relu", "fc2")
    ]


def test_a_question_without_an_answer_is_answered_as_by_one_process(
    entangle, project, disordered, short, given
):
    words = (*DKNN, "-k", "100000", "-q")
    here, there = entangle(*words, "-o", "here"), entangle(*words, "-o", "there", *SPREAD)
    assert there.code == here.code
    assert there.error == here.error


def test_zero_vectors_are_counted_over_all_ranges(
    entangle, tmp_path, monkeypatch, disordered, short, given
):
    monkeypatch.chdir(tmp_path)
    write_dead_network(tmp_path / "net.pt")
    for seed, name in enumerate(("train", "calib", "test")):
        write_images(tmp_path / f"{name}.npz", 400, seed)
    sets = [word for name in ("train", "calib", "test") for word in (f"--{name}", f"{name}.npz")]
    words = ("dknn", "net.pt", *sets, "--preprocess", "unit", "-k", 5, "--json", "-q")
    here = entangle(*words, "-o", "here")
    there = entangle(*words, "-o", "there", *SPREAD)
    assert (here.code, there.code) == (0, 0), there.stderr
    assert "of 400 queries are zero vectors" in here.stdout
    assert any("range 2 of" in name for name in given)
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def write_dead_network(path: Path) -> None:
    """Three rectified units: of many an image all are 0."""
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(784, 3), nn.ReLU(), nn.Linear(3, 10)
    torch.jit.trace(nn.Sequential(*layers).eval(), torch.zeros(2, 1, 28, 28)).save(path)
