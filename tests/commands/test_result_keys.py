"""Every key that a command prints or writes is explained in ``docs/results.md``, in its section."""

import csv
import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"
MODEL = "checkpoints/digits-step1000.onnx"
DATASET = {"name", "reference", "samples", "fingerprint"}


def sections() -> dict[str, tuple[set[str], set[str]]]:
    """Of every heading the keys of its tables: of results, and of provenance."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for heading, body in re.findall(r"^##+ (.*)\n((?:(?!##).*\n?)*)", PAGE.read_text(), re.M):
        keys: tuple[set[str], set[str]] = (set(), set())
        place = 0
        for cell in re.findall(r"^\| (.*?) \|", body, re.M):
            if not cell.startswith("`"):
                place = int(cell == "provenance")
            keys[place].update(re.findall(r"`([^`]+)`", cell))
        found[heading] = keys
    return found


SECTIONS = sections()
EVERYWHERE = SECTIONS["Provenance"][0]


def pattern(key: str) -> str:
    """A documented key as an expression: names in capitals stand for any name."""
    parts = re.split(r"(LAYER|SET|DETECTOR)", key)
    return "".join(".+" if part.isupper() else re.escape(part) for part in parts)


def unknown(keys, documented) -> set[str]:
    patterns = [pattern(key) for key in documented]
    return {key for key in keys if not any(re.fullmatch(p, key) for p in patterns)}


def flat(value, prefix="") -> set[str]:
    """Keys of nested objects with dots; what describes a data set, or libraries, is one key."""
    if isinstance(value, list):
        return set().union(*(flat(one, prefix) for one in value)) or {prefix}
    if not isinstance(value, dict) or set(value) == DATASET or prefix == "versions":
        return {prefix}
    if prefix.startswith("reliability."):
        return {prefix}
    return set().union(
        *(flat(one, f"{prefix}.{key}" if prefix else key) for key, one in value.items())
    ) - {prefix}


def check(body: dict, heading: str) -> None:
    """No key of this result is missing from the page."""
    documented, of_provenance = SECTIONS[heading]
    assert not unknown(body, SECTIONS["Every result"][0])
    for model in body["models"]:
        assert not unknown(model, SECTIONS["Models"][0])
    assert body["rows"] or body["provenance"]
    for row in body["rows"]:
        assert not unknown(row, documented), heading
    assert not unknown(flat(body["provenance"]), EVERYWHERE | of_provenance), heading


def header(path: Path) -> list[str]:
    with open(path, newline="") as file:
        return next(csv.reader(file))


def check_table(path: Path, heading: str) -> None:
    found = header(path)
    assert found
    assert not unknown(found, SECTIONS[heading][0]), path.name


LIMIT = ("--limit", "40")
DETECTORS = ("--detectors", "msp,knn,dknn_credibility,fisher_knn", "--resamples", "40")
CASES = {
    "measure": ("measure", MODEL, "test", "--class-pairs", "--layers", "fc2"),
    "measure --watch": (
        "measure", "test", "--watch", "checkpoints", "--watch-until", "1", "--layers", "fc2"
    ),
    "dknn": ("dknn", "--test", "test", "--test", "letters", "--layers", "fc2", *LIMIT),
    "ood": ("ood", "--out", "letters", "--out", "data/letters/A", "--layers", "fc2", *DETECTORS),
    "between": ("between", "test", "letters", "--permutations", "3", *LIMIT),
    "attack": ("attack", "checkpoints/digits-step1000.pt", "test", *LIMIT),
    "train": ("train", "digits@train", "--test", "digits@test", "--steps", "10"),
    "dump": ("dump", MODEL, "test", "--file", "acts.h5"),
    "layers": ("layers", MODEL),
    "doctor": ("doctor",),
}  # fmt: skip
HEADINGS = {
    "measure --watch": "entangle measure",
    "dump": "entangle dump, entangle merge, entangle inspect",
}
TABLES = {
    "measure": {"measure-pairs.csv": "measure-pairs.csv"},
    "dknn": {
        "dknn-test.csv": "dknn-SET.csv",
        "dknn-test-exemplars.csv": "dknn-SET-exemplars.csv",
        "dknn-reliability.csv": "dknn-reliability.csv",
    },
    "ood": {"ood-scores.csv": "ood-scores.csv"},
    "train": {"train-history.csv": "train-history.csv"},
}


@pytest.mark.parametrize("name", CASES)
def test_keys_of(entangle, project, name):
    found = entangle(*CASES[name], "--json")
    assert found.code == 0, found.stderr
    heading = HEADINGS.get(name, f"entangle {name}")
    check(found.json, heading)
    (folder,) = {path.parent for path in project.rglob("results.json")} or {None}
    if folder is not None:
        assert json.loads((folder / "results.json").read_text()) == found.json
        if name.partition(" ")[0] in found.json["command"]:
            check_table(folder / f"{found.json['command']}.csv", heading)
    for file, of in TABLES.get(name, {}).items():
        check_table(folder / file, of)
    if name == "measure":
        metrics = json.loads((folder / "metrics.json").read_text())
        assert not unknown(flat(metrics), SECTIONS["metrics.json"][0])
    if name == "dknn":
        strips = json.loads((folder / "dknn-strips.json").read_text())
        assert not unknown(flat(strips), SECTIONS["dknn-strips.json"][0])


def test_keys_of_score_verify_and_inspect(entangle, project):
    """What reads the folder that other commands have left."""
    assert entangle(*CASES["ood"], "-q").code == 0
    for form, prefix in (("jsonl", "scores."), ("csv", "")):
        lines = entangle("score", MODEL, "data/letters/G", "--format", form, "-q").stdout
        first = lines.splitlines()[0]
        keys = flat(json.loads(first)) if form == "jsonl" else next(csv.reader([first]))
        documented = {key.replace("scores.", prefix) for key in SECTIONS["entangle score"][0]}
        assert not unknown(keys, documented)
    check(entangle("verify", "entangle-out", "--json").json, "entangle verify")
    (stored, *_) = sorted(Path("entangle-out/activations").glob("*.h5"))
    for what in ("entangle-out", stored, MODEL, "letters"):
        check(entangle("inspect", what, "--json").json, HEADINGS["dump"])


@pytest.mark.parametrize(
    "words", [("measure",), ("ood", "--out", "letters"), ("dump", MODEL, "test")]
)
def test_keys_of_a_dry_run(entangle, project, words):
    check(entangle(*words, "--dry-run", "--json", "-q").json, "With --dry-run")


def test_keys_of_a_map(entangle, project):
    pytest.importorskip("openTSNE")
    found = entangle("map", "--with", "letters", "--sample", "100", "--json", "-q")
    assert found.code == 0, found.stderr
    check(found.json, "entangle map")
    check_table(Path("entangle-out/map.csv"), "map.csv")


def test_keys_of_a_search(entangle, project):
    pytest.importorskip("optuna")
    words = ("search", "digits@train", "--steps", "5", "--trials", "1", "-o", "searched")
    found = entangle(*words, "--json", "-q")
    assert found.code == 0, found.stderr
    check(found.json, "entangle search")


def test_keys_of_a_claim():
    from entangle_cli.papers.page import comparison_rows
    from entangle_cli.papers.verdicts import above

    compared = above("accuracy", [1.0, 2.0], 0.0, printed=1.0).to_row()
    (row,) = comparison_rows(
        {"name": "figure-1", "identity": {"scale": "quick"}, "comparisons": [compared]}
    )
    assert not unknown(row, SECTIONS["entangle reproduce"][0])
    assert set(row) <= SECTIONS["entangle reproduce"][0]


def test_every_command_has_its_section(entangle):
    from entangle_cli.app import app

    headings = " ".join(SECTIONS)
    # what prints no rows of its own
    without = {"demo", "report"}
    names = {command.name for command in app.registered_commands} - without
    assert [name for name in sorted(names) if f"entangle {name}" not in headings] == []


def test_a_key_that_is_not_documented_is_found():
    documented = {"layer", "credibility LAYER", "DETECTOR@LAYER"}
    assert unknown(["layer", "credibility fc1>relu", "knn@fc1"], documented) == set()
    assert unknown(["layers", "credibility", "credibility "], documented) == {
        "layers", "credibility", "credibility "
    }  # fmt: skip
