"""Finished claims are kept, outdated ones measured anew, those of another run refused."""

import csv
import json
from dataclasses import dataclass, replace

import pytest

from entangle_cli.errors import UsageError
from entangle_cli.papers.claim import Claim, ClaimResult
from entangle_cli.papers.keeping import identity_of, read_finished, still_holds, write_finished
from entangle_cli.papers.verdicts import above
from entangle_cli.report.panels import FigureDescription, ImageGrid, Panel, Series


@dataclass(frozen=True)
class Sizes:
    steps: int = 3


def result(settings) -> ClaimResult:
    panel = Panel("t", (Series("s", [0.0, 1.0], [1.0, 2.0], low=[0, 1], high=[2, 3]),), "x", "y")
    return ClaimResult(
        [{"x": 1.0, "y": 2.0}, {"x": 3.0, "y": float("nan")}],
        [above("q", [1.0, 2.0], 0.0, printed=0.5)],
        FigureDescription((panel, ImageGrid("g", ())), 2, "what it shows"),
        tables={"more": [{"a": 1}]},
    )


CLAIM = Claim(
    name="figure-99",
    title="a test",
    run=result,
    sizes={"quick": Sizes(), "paper": Sizes(9)},
    minutes={"quick": 1, "paper": 9},
    quick_cannot="much",
    needs=("mnist@train",),
)


def finish(folder, settings):
    identity = identity_of(CLAIM, settings)
    write_finished(folder, CLAIM, identity, result(settings), seconds=1.0)
    return identity


def test_what_is_written(tmp_path, settings_for):
    finish(tmp_path / "c", settings_for(Sizes()))
    names = {path.name for path in (tmp_path / "c").iterdir()}
    numbers = {"rows.csv", "compare.csv", "more.csv", "claim.json"}
    assert numbers <= names
    rows = list(csv.DictReader((tmp_path / "c" / "rows.csv").read_text().splitlines()))
    assert rows[0] == {"x": "1.0", "y": "2.0"}
    compared = list(csv.DictReader((tmp_path / "c" / "compare.csv").read_text().splitlines()))
    assert (compared[0]["quantity"], compared[0]["printed"]) == ("q", "0.5")
    found = read_finished(tmp_path / "c")
    assert found["comparisons"][0]["verdict"] == compared[0]["verdict"] == "direction"
    assert found["identity"]["data"]["mnist@train"]


def test_the_figure_is_drawn_and_the_same_each_time(tmp_path, settings_for):
    pytest.importorskip("matplotlib")
    settings = settings_for(Sizes())
    for name in ("a", "b"):
        finish(tmp_path / name, settings)
    for figure in ("figure.svg", "figure.png"):
        first = (tmp_path / "a" / figure).read_bytes()
        assert first
        assert first == (tmp_path / "b" / figure).read_bytes()


def test_without_matplotlib_the_numbers_are_written(tmp_path, settings_for, monkeypatch):
    monkeypatch.setattr("entangle_cli.papers.keeping.find_spec", lambda name: None)
    finish(tmp_path, settings_for(Sizes()))
    assert not list(tmp_path.glob("figure.*"))
    assert read_finished(tmp_path)["figures"] == []


def test_kept_where_all_is_the_same(tmp_path, settings_for):
    settings = settings_for(Sizes())
    assert not still_holds(tmp_path, identity_of(CLAIM, settings))
    identity = finish(tmp_path, settings)
    assert still_holds(tmp_path, identity)


def test_measured_anew_where_the_claim_has_changed(tmp_path, settings_for):
    finish(tmp_path, settings_for(Sizes()))
    assert not still_holds(tmp_path, identity_of(CLAIM, settings_for(Sizes(4))))
    newer = identity_of(replace(CLAIM, version=2), settings_for(Sizes()))
    assert not still_holds(tmp_path, newer)


@pytest.mark.parametrize(("change", "word"), [({"seed": 1}, "seed"), ({"scale": "paper"}, "scale")])
def test_another_run_is_refused(tmp_path, settings_for, change, word):
    finish(tmp_path, settings_for(Sizes()))
    with pytest.raises(UsageError, match=f"measured otherwise.*{word}"):
        still_holds(tmp_path, identity_of(CLAIM, settings_for(Sizes(), **change)))


def test_other_data_are_refused(tmp_path, settings_for, data_folder):
    finish(tmp_path / "c", settings_for(Sizes()))
    other = tmp_path / "data" / "mnist"
    other.mkdir(parents=True)
    (other / "train.npz").write_bytes((data_folder / "mnist" / "test.npz").read_bytes())
    settings = settings_for(Sizes(), data=tmp_path / "data")
    with pytest.raises(UsageError, match=r"mnist@train '[0-9a-f]{12}' then"):
        still_holds(tmp_path / "c", identity_of(CLAIM, settings))


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"identity": 1'])
def test_a_damaged_file_is_said(tmp_path, text):
    (tmp_path / "claim.json").write_text(text)
    with pytest.raises(UsageError, match="cannot be read"):
        read_finished(tmp_path)


def test_claim_json_has_no_nan(tmp_path, settings_for):
    finish(tmp_path, settings_for(Sizes()))

    def refuse(name):
        raise AssertionError(name)

    json.loads((tmp_path / "claim.json").read_text(), parse_constant=refuse)
