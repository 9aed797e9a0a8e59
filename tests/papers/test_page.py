"""The page shows names as they are: nothing of them becomes markup."""

import csv
from html.parser import HTMLParser

from entangle_cli.papers.page import write_page

EVIL = "<script>alert('x')</script> | `a` \x1b[31m"


def finished(name="figure-1", **change):
    comparison = {
        "quantity": EVIL,
        "printed": EVIL,
        "measured": 0.12345,
        "low": 0.1,
        "high": None,
        "runs": 3,
        "verdict": "direction",
        "rule": EVIL,
    }
    one = {
        "name": name,
        "also": ["figure-2"],
        "title": EVIL,
        "caption": EVIL,
        "quick_cannot": EVIL,
        "identity": {"scale": "quick", "seed": 0},
        "seconds": 90.0,
        "comparisons": [comparison | {"high": 0.2}],
        "notes": [EVIL],
        "figures": [],
    }
    return one | change


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_names_are_text_in_html(tmp_path):
    write_page(tmp_path, [finished()])
    page = Tags()
    page.feed((tmp_path / "comparison.html").read_text())
    assert "script" not in page.tags
    assert "".join(page.text).count("<script>alert") >= 5
    assert "\x1b" not in (tmp_path / "comparison.html").read_text()


def test_a_markdown_table_keeps_its_columns(tmp_path):
    write_page(tmp_path, [finished()])
    lines = (tmp_path / "comparison.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == 2
    assert {line.replace("\\|", "").count("|") for line in rows} == {7}
    assert "<script" not in "\n".join(lines)


def test_the_page_needs_no_network_and_holds_the_figure(tmp_path):
    (tmp_path / "figure-1").mkdir()
    (tmp_path / "figure-1" / "figure.png").write_bytes(b"\x89PNG")
    write_page(tmp_path, [finished(figures=["figure.svg", "figure.png"])])
    page = Tags()
    page.feed((tmp_path / "comparison.html").read_text())
    assert page.sources == ["data:image/png;base64,iVBORw=="]
    assert "link" not in page.tags


def test_a_figure_that_is_gone_is_left_out(tmp_path):
    write_page(tmp_path, [finished(figures=["figure.png"])])
    assert "<img" not in (tmp_path / "comparison.html").read_text()


def test_the_csv_has_a_row_per_comparison(tmp_path):
    write_page(tmp_path, [finished(), finished("table-2")])
    rows = list(csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines()))
    assert [row["claim"] for row in rows] == ["figure-1", "table-2"]
    assert rows[0]["measured"] == "0.12345"


def test_what_quick_cannot_show_is_said_of_quick_alone(tmp_path):
    write_page(tmp_path, [finished()])
    assert "Cannot be shown" in (tmp_path / "comparison.md").read_text()
    write_page(tmp_path, [finished(identity={"scale": "paper", "seed": 0})])
    assert "Cannot be shown" not in (tmp_path / "comparison.md").read_text()
