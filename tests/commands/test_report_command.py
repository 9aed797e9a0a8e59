"""``entangle report`` on what the other commands wrote."""

import csv
import json
import shutil

import pytest


@pytest.fixture(scope="module")
def measured(tmp_path_factory, project_folder):
    """An output folder of measure and dknn in the demo's project."""
    from entangle_cli.commands import options
    from entangle_cli.commands.dknn import dknn_and_show
    from entangle_cli.commands.measure import measure_and_show
    from entangle_cli.project import read_project
    from entangle_cli.runs.dknn.run import DkNNOptions
    from entangle_cli.runs.shared.console import Terminal

    project = read_project(project_folder / "entangle.toml")
    folder = tmp_path_factory.mktemp("report") / "entangle-out"
    run, terminal = options.RunOptions(output=folder), Terminal(quiet=True)
    measure_and_show([], project=project, run=run, terminal=terminal)
    sets = ("train", "holdout", ["test"])
    dknn_and_show(None, sets, project=project, run=run, asked=DkNNOptions(), terminal=terminal)
    return folder


def test_a_page_is_written_from_the_default_folder(entangle, tmp_path, monkeypatch, measured):
    shutil.copytree(measured, tmp_path / "entangle-out")
    monkeypatch.chdir(tmp_path)
    found = entangle("report")
    assert (found.code, found.stdout) == (0, "")
    assert "wrote report.html" in found.stderr
    page = (tmp_path / "report.html").read_text()
    rows = json.loads((measured / "measure.json").read_text())["rows"]
    for row in rows:
        assert f"{row['layer'].replace('>', '&gt;')}" in page
        assert f'data-value="{row["entanglement"]!r}"' in page
    assert page.count("data:image/png;base64,") > 100


def test_the_figures_are_files_with_their_numbers(entangle, tmp_path, measured):
    pytest.importorskip("matplotlib")
    out = tmp_path / "figures"
    found = entangle("report", str(measured), "-o", str(tmp_path / "r.html"), "--figures", str(out))
    assert found.code == 0
    stems = {path.stem for path in out.iterdir()}
    assert stems == {"entanglement", "temperature", "knn-accuracy", "reliability", "credibility"}
    assert {path.suffix for path in out.iterdir()} == {".svg", ".png", ".csv"}
    with open(out / "entanglement.csv") as file:
        written = [float(row["entanglement"]) for row in csv.DictReader(file)]
    rows = json.loads((measured / "measure.json").read_text())["rows"]
    assert written == [row["entanglement"] for row in rows]


def test_the_same_run_gives_the_same_bytes(entangle, tmp_path, measured):
    pages = [tmp_path / name for name in ("a.html", "b.html")]
    for page in pages:
        assert entangle("report", str(measured), "-o", str(page), "-q").code == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        ([], "entangle-out: no such folder"),
        (["."], "holds no results"),
    ],
)
def test_what_is_no_run_is_one_line(entangle, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    found = entangle("report", *arguments)
    assert found.code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_as_output_is_refused(entangle, tmp_path, measured):
    found = entangle("report", str(measured), "-o", str(tmp_path))
    assert found.code == 2
    assert "is a folder" in found.stderr


def test_figures_without_matplotlib_are_refused_before_anything_is_written(
    entangle, tmp_path, measured, monkeypatch
):
    from entangle_cli.runs import report

    monkeypatch.setattr(report, "find_spec", lambda name: None)
    page = tmp_path / "r.html"
    found = entangle("report", str(measured), "-o", str(page), "--figures", str(tmp_path / "f"))
    assert found.code == 2
    assert "--figures needs matplotlib: pip install 'entangle-cli[report]'" in found.stderr
    assert not page.exists()
