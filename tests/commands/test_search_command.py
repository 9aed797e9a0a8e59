"""``entangle search`` on the built-in digits."""

import csv
import shlex

import pytest

SHORT = ("search", "digits@train", "--network", "mlp", "--steps", 15, "--limit", 300)


@pytest.fixture(autouse=True)
def _optuna():
    pytest.importorskip("optuna")


def test_a_row_per_trial_and_the_command_for_the_best(entangle, tmp_path):
    folder = tmp_path / "out"
    found = entangle(*SHORT, "--trials", 3, "-o", folder, "--json")
    assert found.code == 0, found.stderr
    rows = found.json["rows"]
    assert [row["trial"] for row in rows] == [0, 1, 2]
    assert set(rows[0]) >= {"alpha", "learning_rate", "validation_accuracy", "failed"}
    assert "initial_temperature" not in rows[0]
    assert found.json["notes"][0] == "60 samples that are not trained on judge the trials"
    with open(folder / "search.csv") as file:
        assert len(list(csv.DictReader(file))) == 3
    top = max(rows, key=lambda row: row["validation_accuracy"])
    note = found.json["notes"][-1]
    assert note.startswith(f"trial {top['trial']} is best: entangle train digits@train")
    # and that command runs
    words = shlex.split(note.partition(": ")[2])[1:]
    words[words.index("--steps") + 1] = "2"
    trained = entangle(*words, "--checkpoints", 1, "-o", tmp_path / "t", "--json", "-q")
    assert trained.code == 0, trained.stderr


def test_the_same_command_resumes_and_more_trials_go_on(entangle, tmp_path):
    first = entangle(*SHORT, "--trials", 2, "-o", tmp_path, "--json", "-q")
    again = entangle(*SHORT, "--trials", 2, "-o", tmp_path, "--json")
    assert again.stdout == first.stdout
    assert "going on from" in again.stderr
    more = entangle(*SHORT, "--trials", 3, "-o", tmp_path, "--json", "-q")
    assert more.json["rows"][:2] == first.json["rows"]
    other = entangle(*SHORT, "--trials", 2, "--largest-alpha", 2, "-o", tmp_path)
    assert other.code == 2
    assert "alpha range [0.001, 1.0] then, [0.002, 2.0] now" in other.error
    fresh = entangle(*SHORT, "--trials", 1, "--largest-alpha", 2, "-o", tmp_path, "--overwrite")
    assert fresh.code == 0, fresh.stderr


def test_learned_temperatures_are_searched_as_well(entangle, tmp_path):
    options = ("--temperature", "learned", "--validation", "digits@test", "--trials", 1)
    found = entangle(*SHORT, *options, "-o", tmp_path, "--json", "-q")
    assert found.code == 0, found.stderr
    assert 1 <= found.json["rows"][0]["initial_temperature"] <= 1000
    assert found.json["notes"][0].startswith("300 samples")
    assert "--initial-temperature" in found.json["notes"][-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--largest-alpha", 0), "--largest-alpha 0: give a positive number"),
        (("--temperature", "hot"), "--temperature hot: give minimum"),
        (("--network", "mlp", "--layers", "fc9"), "no layer matches fc9"),
    ],
)
def test_what_cannot_be_is_one_line(entangle, tmp_path, options, said):
    found = entangle(*SHORT, "--trials", 1, *options, "-o", tmp_path)
    assert found.code == 2
    assert said in found.error


def test_a_first_temperature_needs_learned_ones(entangle, tmp_path):
    found = entangle("train", "digits@train", "--initial-temperature", 5, "-o", tmp_path)
    assert found.code == 2
    assert "--initial-temperature with --temperature minimum; give learned" in found.error


def test_without_optuna_one_line_names_the_extra(entangle, tmp_path, monkeypatch):
    from entangle_cli.training import proposals

    monkeypatch.setattr(proposals, "find_spec", lambda name: None)
    found = entangle(*SHORT, "-o", tmp_path)
    assert found.code == 2
    assert "needs Optuna: pip install" in found.error
