import csv
import io
import json
import math

import numpy as np
import pytest

from entangle_cli.results import Result, rows_to_csv


def test_json_has_the_keys_that_every_command_promises():
    body = json.loads(Result(command="measure").to_json())
    assert list(body) == ["command", "version", "models", "rows", "provenance", "notes"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_number_that_is_not_finite_becomes_null_with_a_note(value):
    result = Result(command="x", rows=[{"a": 1.0}, {"a": value}])
    body = json.loads(result.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert body["rows"][1]["a"] is None
    assert body["notes"] == [f"rows[1].a is null because its value is {float(value)}"]


def test_numpy_numbers_are_written_as_numbers():
    result = Result(command="x", rows=[{"a": np.int64(3), "b": np.float64(0.5), "c": True}])
    assert json.loads(result.to_json())["rows"] == [{"a": 3, "b": 0.5, "c": True}]


def test_csv_reads_back_and_later_keys_become_columns():
    text = rows_to_csv([{"layer": "a,b", "n": 3}, {"layer": "=x", "n": None, "more": [1, 2]}])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"layer": "a,b", "n": "3", "more": ""}
    assert rows[1] == {"layer": "'=x", "n": "", "more": "[1, 2]"}


def test_files_are_written_as_a_whole_with_nothing_left_over(tmp_path):
    result = Result(command="measure", rows=[{"a": 1}], tables={"extra": [{"b": 2}]})
    written = result.write(tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["extra.csv", "measure.csv", "measure.json", "results.json"]
    assert {path.name for path in written} == set(names)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(
        result.to_json()
    )
