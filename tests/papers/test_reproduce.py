"""``entangle reproduce``: which claims run, what is kept, and how it ends."""

import json
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from entangle_cli.app import app
from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.papers import catalogue
from entangle_cli.papers.claim import Claim, ClaimResult
from entangle_cli.papers.verdicts import above
from entangle_cli.report.panels import FigureDescription, Panel, Series
from tests.engines.disorder import Disordered


@dataclass(frozen=True)
class Sizes:
    steps: int


class Counted:
    """A claim that counts how often it runs."""

    def __init__(self, error=None):
        self.runs, self.error = 0, error

    def __call__(self, settings) -> ClaimResult:
        self.runs += 1
        if self.error is not None:
            raise self.error
        value = float(settings.seed + settings.sizes.steps)
        panel = Panel("p", (Series("s", [0.0], [value], "points"),))
        compared = [above("steps and seed", [value], 0.0, printed=1.0, single=True)]
        return ClaimResult([{"value": value}], compared, FigureDescription((panel,)))


def claim(name, run, needs=(), also=()):
    sizes = {"quick": Sizes(1), "paper": Sizes(100)}
    return Claim(name, f"title of {name}", run, sizes, {"quick": 1, "paper": 9}, "x", needs, also)


@pytest.fixture
def claims(monkeypatch):
    made = {
        "figure-1": claim("figure-1", Counted(), also=("figure-2",)),
        "figure-8": claim("figure-8", Counted(), needs=("nowhere@train",)),
        "figure-9": claim("figure-9", Counted(), needs=("mnist@train",)),
    }
    monkeypatch.setattr(catalogue, "catalogue", lambda: tuple(made.values()))
    return made


@pytest.fixture
def reproduce(tmp_path, data_folder):
    def run(*words, data=data_folder):
        given = ["reproduce", *words, "-o", tmp_path / "out"]
        given += ["--data", data] if data else []
        return CliRunner().invoke(app, [str(word) for word in given])

    return run


def test_the_list_names_data_and_state(claims, reproduce):
    reproduce("figure-1")
    for words in ((), ("list",)):
        found = reproduce(*words, "--json")
        assert found.exit_code == 0, found.stderr
        rows = {row["claim"]: row for row in json.loads(found.stdout)["rows"]}
        assert rows["figure-1, figure-2"]["state"] == "done"
        assert rows["figure-8"]["state"] == "missing data: nowhere"
        assert rows["figure-9"]["state"] == "to do"
        assert rows["figure-9"]["data"] == "mnist@train"
    assert claims["figure-9"].run.runs == 0


def test_a_claim_answers_to_every_figure_of_it(claims, reproduce):
    found = reproduce("figure-2", "--json")
    assert found.exit_code == 0, found.stderr
    (row,) = json.loads(found.stdout)["rows"]
    assert (row["claim"], row["measured"], row["verdict"]) == ("figure-1", 1.0, "reproduced")
    assert claims["figure-9"].run.runs == 0


def test_finished_claims_are_kept(claims, reproduce, tmp_path):
    for _ in range(2):
        found = reproduce("figure-1", "figure-9")
        assert found.exit_code == 0, found.stderr
    assert claims["figure-1"].run.runs == claims["figure-9"].run.runs == 1
    assert "2 claims were measured before" in found.stderr
    reproduce("figure-1", "--overwrite")
    assert claims["figure-1"].run.runs == 2
    assert "figure-9" in (tmp_path / "out" / "comparison.md").read_text()


def test_all_goes_on_without_missing_data_and_says_so(claims, reproduce):
    found = reproduce("all")
    assert found.exit_code == 0, found.stderr
    assert "figure-8 (no nowhere below" in found.stderr
    assert claims["figure-1"].run.runs == claims["figure-9"].run.runs == 1


def test_missing_data_of_a_named_claim_end_with_3(claims, reproduce):
    found = reproduce("figure-1", "figure-8")
    assert found.exit_code == 3
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "figure-8" in errors[0]
    assert claims["figure-1"].run.runs == 1


def test_without_data_folder_the_claims_that_need_none_run(claims, reproduce):
    found = reproduce("all", data=None)
    assert found.exit_code == 0, found.stderr
    assert (claims["figure-1"].run.runs, claims["figure-9"].run.runs) == (1, 0)


def test_a_claim_that_fails_keeps_none_from_running(claims, reproduce):
    claims["figure-1"].run.error = MeasureError("step 3: the loss is not finite")
    found = reproduce("all")
    assert found.exit_code == 3
    assert "error: figure-1: step 3: the loss is not finite" in found.stderr
    assert claims["figure-9"].run.runs == 1


def test_stopped_the_same_command_goes_on(claims, reproduce):
    claims["figure-9"].run.error = KeyboardInterrupt()
    assert reproduce("all").exit_code == 130
    claims["figure-9"].run.error = None
    assert reproduce("all").exit_code == 0
    assert (claims["figure-1"].run.runs, claims["figure-9"].run.runs) == (1, 2)


ON_WORKERS = ("--engine", "ray", "--num-workers", "2")


@pytest.fixture
def disordered(monkeypatch):
    monkeypatch.setattr("entangle_cli.engines.ray.RayEngine", Disordered)
    return Disordered


def test_an_engine_finds_what_one_process_finds(claims, reproduce, disordered, tmp_path):
    here = reproduce("all", "--json")
    folder = tmp_path / "out"
    folder.rename(tmp_path / "here")
    there = reproduce("all", "--json", *ON_WORKERS)
    assert there.exit_code == 0, there.stderr
    assert there.stdout == here.stdout
    for name in ("figure-1/rows.csv", "figure-9/compare.csv", "comparison.md"):
        assert (folder / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert "figure-1: 1 reproduced" in there.stderr
    reproduce("all", *ON_WORKERS)
    assert claims["figure-1"].run.runs == claims["figure-9"].run.runs == 2


def test_a_claim_that_fails_on_a_worker_keeps_none_from_running(claims, reproduce, disordered):
    reproduce("figure-1")
    claims["figure-1"].run.error = MeasureError("step 3: the loss is not finite")
    found = reproduce("all", "--overwrite", "--json", *ON_WORKERS)
    assert found.exit_code == 3
    assert "error: figure-1: step 3: the loss is not finite" in found.stderr
    assert [row["claim"] for row in json.loads(found.stdout)["rows"]] == ["figure-9"]
    claims["figure-9"].run.error = UsageError("no optuna")
    assert reproduce("figure-9", "--overwrite", *ON_WORKERS).exit_code == 2


def test_who_kills_its_workers_is_given_up(claims, reproduce, disordered, monkeypatch):
    monkeypatch.setattr(disordered, "deadly", "claim figure-9")
    found = reproduce("all", *ON_WORKERS)
    assert found.exit_code == 3
    assert "error: figure-9: claim figure-9: 4 workers died over it; given up" in found.stderr
    assert claims["figure-1"].run.runs == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("figure-11",), "claim figure-11: unknown (did you mean 'figure-1'?)"),
        (("all", "--data", "/nowhere/at/all"), "no such folder"),
        (("all", "--scale", "huge"), "huge"),
    ],
)
def test_mistakes_are_one_line(claims, reproduce, words, said):
    found = reproduce(*words, data=None)
    assert found.exit_code == 2
    errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    if "huge" not in words:
        assert len(errors) == 1
    assert said in found.stderr


def test_another_seed_in_the_same_folder_is_refused(claims, reproduce):
    reproduce("figure-1")
    found = reproduce("figure-1", "--seed", "1")
    assert found.exit_code == 2
    assert "seed 0 then, 1 now" in found.stderr


def test_the_whole_catalogue_is_well_formed():
    found = catalogue.catalogue()
    names = [one.name for one in found]
    assert len(set(names)) == len(names)
    for one in found:
        assert set(one.sizes) == set(one.minutes) == {"quick", "paper"}
        assert all(need.partition("@")[2] in ("train", "test") for need in one.needs), one.name
        assert one.title
        assert one.quick_cannot
        # identity needs sizes that JSON can hold
        json.dumps([vars(size) for size in one.sizes.values()], default=vars)


def test_figures_come_in_the_order_of_their_numbers():
    names = [one.name for one in catalogue.catalogue()]
    numbers = [int(n.removeprefix("figure-")) for n in names if n[7:].isdigit()]
    assert numbers == sorted(numbers)
