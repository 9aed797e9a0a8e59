"""``entangle measure --class-pairs``."""

import csv

import numpy as np
import pytest

from entangle_cli.measures.class_pairs import class_pairs
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.temperature import entanglement
from entangle_cli.runs.measure import measuring
from entangle_cli.runs.measure.pairs import pair_notes

MODEL = "checkpoints/digits-step1000.onnx"
KEYS = ("model step layer class_a class_b name_a name_b n_a n_b snnl entanglement boundary").split()


def pair_file(project):
    with open(project / "entangle-out" / "measure-pairs.csv") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def letters(project):
    """A few points of three named classes, one of them with a single sample."""
    generator = np.random.default_rng(0)
    points = generator.random((21, 4))
    labels = np.array(["beta", "alpha"] * 10 + ["gamma"])
    np.savez("points.npz", x=points, y=labels)
    return points, labels


def test_every_layer_has_a_row_per_pair(entangle, project):
    plain = entangle("measure", MODEL, "test", "--json", "-q").json
    found = entangle("measure", MODEL, "test", "--class-pairs", "--json", "-q")
    assert found.code == 0
    assert found.json == plain
    rows = pair_file(project)
    assert list(rows[0]) == KEYS
    assert [row["layer"] for row in rows] == [
        row["layer"] for row in plain["rows"] for _ in range(45)
    ]
    assert [(row["class_a"], row["class_b"]) for row in rows[:2]] == [("0", "1"), ("0", "2")]


def test_named_classes_and_one_that_is_alone(entangle, letters, project):
    found = entangle("measure", "points.npz", "--class-pairs")
    points, labels = letters
    first, *alone = pair_file(project)
    chosen = np.isin(labels, ["alpha", "beta"])
    expected = entanglement(points[chosen], (labels[chosen] == "beta").astype(int))
    assert (first["name_a"], first["name_b"], first["n_a"]) == ("alpha", "beta", "10")
    assert float(first["snnl"]) == expected.snnl
    assert first["boundary"] == expected.boundary
    assert [(row["name_b"], row["snnl"], row["boundary"]) for row in alone] == [
        ("gamma", "", ""),
        ("gamma", "", ""),
    ]
    assert "alpha / gamma, beta / gamma: a class with one sample" in found.stderr


def test_the_table_shows_the_ends_of_the_last_layer(entangle, project):
    shown = entangle("measure", MODEL, "test", "--class-pairs", "-q").stdout
    table = shown.partition("Pairs of classes in ")[2]
    rows = [row for row in pair_file(project) if row["layer"] == "fc2"]
    ordered = sorted(rows, key=lambda row: -float(row["entanglement"]))
    assert table.startswith("fc2 of digits-step1000.onnx")
    lines = [line.split() for line in table.splitlines() if line.strip()[:1].isdigit()]
    picked = [*ordered[:3], *ordered[-3:]]
    assert [line[:2] for line in lines] == [[row["class_a"], row["class_b"]] for row in picked]
    assert "39 more" in table


def test_a_rerun_reads_the_pairs(entangle, project, monkeypatch):
    entangle("measure", MODEL, "test", "--class-pairs", "-q")
    first = (project / "entangle-out" / "measure-pairs.csv").read_bytes()
    monkeypatch.setattr(measuring, "class_pairs", lambda *a, **o: pytest.fail("measured again"))
    assert entangle("measure", MODEL, "test", "--class-pairs", "-q").code == 0
    assert (project / "entangle-out" / "measure-pairs.csv").read_bytes() == first


def test_overwrite_measures_the_pairs_again(entangle, project, monkeypatch):
    entangle("measure", MODEL, "test", "--class-pairs", "-q")
    calls = []
    real = measuring.class_pairs
    monkeypatch.setattr(measuring, "class_pairs", lambda *a, **o: calls.append(1) or real(*a, **o))
    entangle("measure", MODEL, "test", "--class-pairs", "-q", "--overwrite")
    assert calls


def test_batches_are_refused_before_anything_is_written(entangle, project):
    found = entangle("measure", "test", "--class-pairs", "--protocol", "batches:64x2")
    assert found.code == 2
    assert "--class-pairs with --protocol batches" in found.error
    assert not (project / "entangle-out").exists()


def test_classes_that_are_not_paired_are_counted():
    labels = np.repeat(np.arange(33), 2)
    points = np.random.default_rng(0).random((len(labels), 2))
    (note,) = pair_notes(class_pairs(points, labels, Protocol(temperature=1.0)), labels, None)
    assert note == "pairs of classes: the 30 largest of 33 classes are paired, 3 are not"
    (note,) = pair_notes((), np.zeros(4, dtype=int), None)
    assert note == "pairs of classes: there is one class only"
