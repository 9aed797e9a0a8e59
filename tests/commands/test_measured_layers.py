"""Measured layers are kept: found again by what determines them, and by nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.temperature import entanglement
from entangle_cli.runs.measure import measuring
from entangle_cli.runs.measure.measured import MeasuredLayers

MODEL = "checkpoints/digits-step1000.onnx"
LABELS = np.array([0, 1, 0, 1, 1])
POINTS = {"data_fingerprint": "abc"}


@pytest.fixture(scope="module")
def found():
    return entanglement(np.random.default_rng(0).random((5, 3)), LABELS)


PROTOCOL = Protocol()


def kept(folder, protocol=PROTOCOL, labels=LABELS, *, device="cpu", fresh=False):
    return MeasuredLayers(folder, protocol, labels, device=device, fresh=fresh)


def test_what_was_kept_is_read_back_exactly(tmp_path, found):
    kept(tmp_path).write(POINTS, "fc1", found)
    assert kept(tmp_path).read(POINTS, "fc1") == found
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_temperature_without_a_number_survives(tmp_path):
    alternating = entanglement([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert alternating.temperature is None
    kept(tmp_path).write(POINTS, "fc1", alternating)
    assert kept(tmp_path).read(POINTS, "fc1") == alternating


def test_anything_that_changes_the_numbers_asks_again(tmp_path, found):
    kept(tmp_path).write(POINTS, "fc1", found)
    swapped = LABELS[::-1].copy()
    others = [
        kept(tmp_path, Protocol(metric="cosine")),
        kept(tmp_path, Protocol(temperature=1.0)),
        kept(tmp_path, labels=swapped),
        kept(tmp_path, device="cuda:0"),
        kept(tmp_path, fresh=True),
    ]
    assert [other.read(POINTS, "fc1") for other in others] == [None] * len(others)
    assert kept(tmp_path).read(POINTS, "fc2") is None
    assert kept(tmp_path).read({"data_fingerprint": "abd"}, "fc1") is None


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"{}", b"[1]", b"\xff\xfe", b'{"snnl": 1}'])
def test_a_damaged_file_counts_as_absent(tmp_path, found, damage):
    kept(tmp_path).write(POINTS, "fc1", found)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert kept(tmp_path).read(POINTS, "fc1") is None


def test_a_rerun_measures_nothing_and_prints_the_same(entangle, project, monkeypatch):
    first = entangle("measure", MODEL, "test", "--json", "-q")
    refuse = pytest.fail
    monkeypatch.setattr(measuring, "measure", lambda *a, **o: refuse("was measured again"))
    again = entangle("measure", MODEL, "test", "--json", "-q")
    assert again.code == first.code == 0
    assert again.json == first.json


def test_overwrite_measures_again(entangle, project, monkeypatch):
    real = measuring.measure
    # what is kept is wrong, to see whether it is believed
    wrong = lambda *a, **o: replace(real(*a, **o), snnl=123.0)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(measuring, "measure", wrong)
        entangle("measure", MODEL, "test", "-q")
    believed = entangle("measure", MODEL, "test", "--json", "-q").json
    assert {row["snnl"] for row in believed["rows"]} == {123.0}
    fresh = entangle("measure", MODEL, "test", "--json", "-q", "--overwrite").json
    assert all(row["snnl"] < 3.0 for row in fresh["rows"])
