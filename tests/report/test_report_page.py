"""The page: what it shows, and that nothing in a run can make it do anything else."""

import base64
import hashlib
import html
import html.parser
import json
import re

import pytest
from hostile_names import HOSTILE

from entangle_cli.errors import UsageError
from entangle_cli.report.page import render
from entangle_cli.report.provenance import differently_fed
from entangle_cli.report.runs import number, read_run, read_runs, text
from entangle_cli.report.sections import compared


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, body):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self.data = [], [], [], []
        self._inside = None
        self.feed(body)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag if tag in ("script", "style") else None
        self._json = ("type", "application/json") in attrs

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script" and self._json:
            self.data.append(json.loads(data))
        if self._inside is None:
            self.words.append(data)


@pytest.fixture
def page(write_run):
    return Page(render([read_run(write_run())], "A title"))


def test_every_kind_of_result_has_its_section(page):
    ids = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert ids == ["layers", "classes", "map", "credibility", "ood", "provenance"]
    figures = [v for t, n, v in page.attributes if (t, n) == ("figure", "id")]
    assert figures == [
        f"figure-{key}"
        for key in (
            "entanglement", "temperature", "knn-accuracy", "class-pairs", "map", "reliability",
            "credibility", "roc", "scores",
        )
    ]  # fmt: skip


def test_every_picture_is_said_in_words(page):
    drawn = page.tags.count("svg")
    said = [v for t, n, v in page.attributes if (t, n) == ("svg", "aria-label")]
    assert drawn == len(said) >= 9
    assert all(len(words) > 10 for words in said)
    images = [v for t, n, v in page.attributes if (t, n) == ("img", "alt")]
    assert page.tags.count("img") == len(images) == 3


def test_the_points_are_those_of_the_numbers(write_run):
    run = read_run(write_run())
    shown = [
        said for panel in Page(render([run], "x")).data for series in panel for _, _, said in series
    ]
    for row in run.rows("measure"):
        assert f"{row['layer']}, {row['model']}: {row['entanglement']:.4g}" in shown


def test_only_the_page_s_own_style_and_script_are_allowed(write_run):
    body = render([read_run(write_run())], "x")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', body)[1]
    assert html.unescape(policy).startswith("default-src 'none'")
    for tag in ("style", "script"):
        own = re.search(rf"<{tag}>(.*?)</{tag}>", body, re.S)[1]
        checksum = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"sha256-{checksum}" in policy


def test_no_address_leads_outside(page):
    for tag, name, value in page.attributes:
        if name in ("href", "src", "action", "data", "poster", "srcset"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(page.tags)


@pytest.mark.parametrize("label", HOSTILE)
def test_names_stay_text(write_run, label):
    plain, hostile = (
        Page(render([read_run(write_run(name, given))], f"Title{given}"))
        for name, given in (("one", "x"), ("two", label))
    )
    assert hostile.tags == plain.tags
    assert [n for _, n, _ in hostile.attributes] == [n for _, n, _ in plain.attributes]
    assert not [n for _, n, _ in hostile.attributes if n.startswith("on")]
    everything = "".join([*hostile.words, *(v for _, _, v in hostile.attributes)])
    assert not set("\x1b\u202e\u2028") & set(everything)
    if label.isprintable():
        assert f"conv{label}" in everything


def test_two_runs_stand_side_by_side(write_run):
    mixed = write_run("entangled")
    result = json.loads((mixed / "measure.json").read_text())
    for place, row in enumerate(result["rows"]):
        row["entanglement"] += place / 16
    # a layer that the first run has not
    result["rows"].append(result["rows"][0] | {"layer": "new"})
    (mixed / "measure.json").write_text(json.dumps(result))
    runs = read_runs([write_run("baseline"), mixed])
    page = Page(render(runs, "x"))
    words = "".join(page.words)
    assert "Entanglement of entangled against baseline" in words
    (table,) = compared(runs)
    differences = [row["difference"] for row in table.rows]
    assert differences == pytest.approx([place / 16 for place in range(6)])
    assert [row["entangled"] - row["baseline"] for row in table.rows] == differences


def test_it_says_which_command_made_the_numbers_and_of_what(write_run):
    folder = write_run()
    (folder / "ood.command.txt").write_text("entangle ood --out '<odd>'\n")
    result = json.loads((folder / "ood.json").read_text())
    result["provenance"]["outside"] = [{"name": "a", "samples": 3}, {"name": "b", "samples": None}]
    (folder / "ood.json").write_text(json.dumps(result))
    words = "".join(Page(render([read_run(folder)], "x")).words)
    assert "entangle ood --out '<odd>'" in words
    assert "name a, samples 3; name b" in words


def test_images_that_commands_prepared_differently_are_told(write_run):
    folder = write_run()
    assert differently_fed([read_run(folder)]) == []
    for command, how in (("dknn", "pixels 0-255 (probed: raw)"), ("ood", "pixels/255 (probed)")):
        result = json.loads((folder / f"{command}.json").read_text())
        result["models"] = [{"model": "net<b>", "preprocessing": how}]
        (folder / f"{command}.json").write_text(json.dumps(result))
    run = read_run(folder)
    (told,) = differently_fed([run])
    assert "for net<b>: pixels 0-255 by dknn; pixels/255 by ood." in told
    assert told in "".join(Page(render([run], "x")).words)


def test_a_page_of_ten_thousand_points_is_small(write_run, tmp_path):
    folder = write_run()
    lines = [f"test,{i},test/{i},{i % 10},{i % 101},{i % 97}" for i in range(10_000)]
    (folder / "map.csv").write_text("\n".join(["set,index,id,label,x,y", *lines]))
    body = render([read_run(folder)], "x")
    assert len(body) < 2_000_000
    points = [series for panel in Page(body).data for series in panel if len(series) == 1000]
    assert len(points) == 10


def test_a_single_checkpoint_is_a_profile_over_its_layers(write_run):
    folder = write_run()
    result = json.loads((folder / "measure.json").read_text())
    result["rows"] = [row | {"step": None} for row in result["rows"] if row["step"] == 300]
    (folder / "measure.json").write_text(json.dumps(result))
    page = Page(render([read_run(folder)], "x"))
    assert [said for _, _, said in page.data[0][0]] == ["conv: 0.3", "fc: 0.2"]


@pytest.mark.parametrize("damage", ["", "[1]", "{", '{"rows": 3, "notes": 4, "models": [5]}'])
def test_damaged_results_are_left_out(write_run, damage):
    folder = write_run()
    for command in ("measure", "dknn"):
        (folder / f"{command}.json").write_text(damage)
    (folder / "dknn-strips.json").write_text(damage)
    assert "figure-roc" in render([read_run(folder)], "x")


def test_numbers_that_are_none_are_missing():
    assert [number(v) for v in ("1.5", "nan", "inf", "", None, "x", True)] == [1.5] + [None] * 6
    assert [text(v) for v in ("'=1+1", "'quoted'", None, 3)] == ["=1+1", "'quoted'", "", "3"]


def test_what_is_no_run_is_refused(tmp_path, write_run):
    with pytest.raises(UsageError, match="no such folder"):
        read_run(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no results"):
        read_run(tmp_path)
    folder = write_run()
    with pytest.raises(UsageError, match="given twice"):
        read_runs([folder, folder])


def test_runs_of_one_name_are_told_apart(write_run):
    runs = read_runs([write_run("a/out"), write_run("b/out")])
    assert [run.name for run in runs] == ["a/out", "b/out"]
    runs = read_runs([write_run("a/entangle-out"), write_run("b/entangle-out")])
    assert [run.name for run in runs] == ["a", "b"]
