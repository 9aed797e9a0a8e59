"""Attacks whose parts are made elsewhere have the bytes of one process."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from entangle_cli.runs import attack
from entangle_cli.runs.spread import attacking
from tests.engines.workload import contents

ONNX = "checkpoints/digits-step1000.onnx"
SCRIPT = "checkpoints/digits-step1000.pt"
EARLIER = "checkpoints/digits-step0300.pt"
SPREAD = ("--engine", "ray", "--num-workers", "2")
PGD = ("attack", SCRIPT, "test", "-b", 64, "--method", "pgd", "--steps", 2, "--json", "-q")
# the 364 images in batches of 64
PARTS = [f"images {start} to {min(start + 64, 364)}" for start in range(0, 364, 64)]


def written(folder: Path) -> dict[str, bytes]:
    """Every file, with the same name of the folder in those that name it."""
    found = contents(folder)
    return {name: data.replace(folder.name.encode(), b"out") for name, data in found.items()}


def waiting(project: Path) -> list[Path]:
    return sorted((project / "there").glob(".attack-*/*"))


@pytest.mark.parametrize(
    "words",
    [
        (SCRIPT, "test", "-b", 64, "--epsilon", 0.02, "--epsilon", 0.2),
        (SCRIPT, "test", "-b", 64, "--method", "pgd", "--steps", 3, "--seed", 5),
        (SCRIPT, "test", "-b", 64, "--method", "bim", "--steps", 3, "--target", 3),
        (SCRIPT, "test", "-b", 64, "--method", "pgd", "--steps", 2, "--target", 0),
        (ONNX, "test", "-b", 64, "--source", EARLIER),
        (SCRIPT, "test", "--limit", 100, "--seed", 2, "-b", 30),
    ],
    ids=["fgsm", "pgd", "targeted", "targeted-pgd", "transfer", "limit"],
)
@pytest.mark.parametrize("order", [0, 1])
def test_bytes_are_those_of_one_process(
    entangle, project, disordered, given, monkeypatch, words, order
):
    monkeypatch.setattr(disordered, "seed", order)
    here = entangle("attack", *words, "-o", "here", "--json", "-q")
    there = entangle("attack", *words, "-o", "there", "--json", "-q", *SPREAD)
    assert (here.code, there.code) == (0, 0), there.stderr
    assert len(given) >= 4
    assert there.stdout.replace("there/", "here/") == here.stdout
    assert written(project / "there") == written(project / "here")
    assert waiting(project) == []


def test_attacks_of_the_toolbox_are_the_same_too(entangle, project, disordered):
    pytest.importorskip("art", reason="the adversarial-robustness-toolbox is not installed")
    words = ("attack", SCRIPT, "test", "--limit", 20, "-b", 10, "--method", "carlini-wagner")
    for name, more in (("here", ()), ("there", SPREAD)):
        assert entangle(*words, "--steps", 2, "-o", name, "-q", *more).code == 0
    assert written(project / "there") == written(project / "here")


def test_a_deadly_part_is_named_and_only_what_is_missing_is_made_again(
    entangle, project, disordered, given, monkeypatch
):
    monkeypatch.setattr(disordered, "deadly", PARTS[2])
    found = entangle(*PGD, "-o", "there", *SPREAD)
    assert found.code == 3
    assert f"digits-step1000.pt on test, pgd, epsilon 0.1, {PARTS[2]}: 4 workers" in found.error
    assert not list((project / "there").glob("*.npz"))
    first, second, third, *_ = kept = waiting(project)
    assert len(kept) == 5
    first.write_bytes(first.read_bytes()[:-1] + b"?")
    second.write_bytes(b"")
    third.unlink()
    lost = [path.name.split(".")[0].split("-") for path in (first, second, third)]
    monkeypatch.setattr(disordered, "deadly", "nothing")
    given.clear()
    assert entangle(*PGD, "-o", "there", *SPREAD).code == 0
    made = sorted(name.rpartition(", ")[2] for name in given)
    assert made == sorted([PARTS[2], *(f"images {start} to {stop}" for _, start, stop in lost)])
    assert entangle(*PGD, "-o", "here").code == 0
    assert written(project / "there") == written(project / "here")
    assert waiting(project) == []


@pytest.mark.parametrize(
    "other",
    [
        ("--seed", 1),
        ("-b", 65),
        ("--epsilon", 0.2),
        ("--steps", 3),
        ("--target", 1),
        ("--limit", 363),
        ("--source", EARLIER),
        ("--preprocess", "raw"),
    ],
    ids=lambda words: words[0],
)
def test_parts_of_another_attack_are_not_taken(
    entangle, project, disordered, given, monkeypatch, other
):
    monkeypatch.setattr(disordered, "deadly", PARTS[2])
    entangle(*PGD, "-o", "there", *SPREAD)
    kept = waiting(project)
    given.clear()
    monkeypatch.setattr(disordered, "deadly", "nothing")
    assert entangle(*PGD, "-o", "there", *SPREAD, *other).code == 0
    assert len(given) == 6
    assert waiting(project) == kept


def test_a_network_without_gradients_is_refused_as_by_one_process(entangle, project, disordered):
    class Rounded(nn.Module):
        def forward(self, images):
            return images.detach().flatten(1)[:, :10].round()

    torch.jit.script(Rounded()).save(project / "rounded.pt")
    words = ("attack", "rounded.pt", "test", "--preprocess", "unit", "-q")
    here, there = entangle(*words), entangle(*words, *SPREAD)
    assert (here.code, there.code) == (2, 2)
    assert "cannot be differentiated here" in here.error
    assert there.error == here.error


def test_workers_that_find_other_files_refuse(entangle, project, disordered, monkeypatch):
    sums = iter(["those of the command", *["others"] * 6])
    monkeypatch.setattr(attacking, "file_digest", lambda path: next(sums))
    found = entangle(*PGD, "-o", "there", *SPREAD)
    assert found.code == 2
    assert f"{SCRIPT}: not as where the attack was begun" in found.error


def test_what_no_worker_can_open_is_refused(entangle, project, disordered, monkeypatch):
    opened = attack.open_data
    monkeypatch.setattr(
        attack, "open_data", lambda *asked: dataclasses.replace(opened(*asked), origin=None)
    )
    assert entangle(*PGD, "-o", "here").code == 0
    found = entangle(*PGD, "-o", "there", *SPREAD)
    assert found.code == 2
    assert "test: cannot be opened by workers; leave out --engine" in found.error
