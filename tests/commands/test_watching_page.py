"""docs/watching.md is true: its commands are known, its DVC file names what is written."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

from entangle_cli.runs.measure.trackers import _EXTRAS as TRACKERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "watching.md"
PYPROJECT = PAGE.parents[1] / "pyproject.toml"


@pytest.fixture
def dvc_file():
    """The snippet as what a YAML reader makes of it."""
    yaml = pytest.importorskip("yaml", reason="no YAML reader is installed")
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return yaml.safe_load(text)


def paths(entries):
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def test_the_dvc_file_names_what_the_command_reads_and_writes(entangle, project, dvc_file):
    stage = dvc_file["stages"]["entanglement"]
    words = [
        str(found)
        for word in shlex.split(stage["cmd"].removeprefix("entangle "))
        for found in (sorted(Path().glob(word)) if "*" in word else [word])
    ]
    assert entangle(*words, "-q").code == 0
    for path in paths([*stage["deps"], *stage["outs"], *stage["metrics"]]):
        assert Path(path).exists(), path
    ((plot, options),) = dvc_file["plots"][0].items()
    with open(plot) as file:
        rows = list(csv.DictReader(file))
    assert {options["x"], options["y"]} <= set(rows[0])
    assert all(float(row[options["y"]]) >= 0 and int(row[options["x"]]) >= 0 for row in rows)


def test_the_metrics_are_a_tree_of_numbers_of_the_last_checkpoint(entangle, project, dvc_file):
    (path,) = paths(dvc_file["stages"]["entanglement"]["metrics"])
    rows = entangle("measure", "--json", "-q").json["rows"]
    metrics = json.loads(Path(path).read_text())
    last = {row["layer"]: row for row in rows if row["step"] == 1000}
    assert set(metrics) == set(last)
    for layer, values in metrics.items():
        assert set(values) == {"entanglement", "snnl", "temperature", "knn_accuracy"}
        assert all(values[key] == last[layer][key] for key in values)
        assert all(isinstance(value, (int, float)) for value in values.values())


def test_a_number_that_is_missing_is_null_in_the_metrics(entangle, tmp_path):
    import numpy as np

    np.savez(tmp_path / "line.npz", x=np.arange(4.0)[:, None], y=np.arange(4) % 2)
    found = entangle("measure", tmp_path / "line.npz", "-q", "-o", tmp_path / "out")
    assert found.code == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["input"]["temperature"] is None


@pytest.mark.parametrize("extra", TRACKERS)
def test_every_tracker_is_on_the_page_and_an_extra(extra):
    import tomllib

    extras = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    assert any(requirement.startswith(extra) for requirement in extras[extra])
    assert re.search(rf"^\| `{extra}\[", PAGE.read_text(), re.MULTILINE)


def test_every_option_on_the_page_exists(entangle):
    options = set(re.findall(r"--[a-z][a-z-]+", PAGE.read_text()))
    assert {"--watch", "--watch-until", "--watch-idle", "--log-to", "--dry-run"} <= options
    words = set(re.findall(r"--[a-z][a-z-]+", entangle("measure", "--help").stdout))
    assert options <= words
