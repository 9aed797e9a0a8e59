import csv
import fcntl
import io
import json
import math
import multiprocessing
import os

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


def written_columns(columns, folder):
    Result(command="x", columns={"scores": columns}).write(folder)
    text = (folder / "scores.csv").read_text()
    return text, list(csv.reader(io.StringIO(text)))


def test_columns_are_written_row_by_row(tmp_path):
    columns = {"id": ["a", "b,c", 'd"'], "score": np.array([0.1, 1e-300, 3.0])}
    _, rows = written_columns(columns, tmp_path)
    assert rows[0] == ["id", "score"]
    assert rows[1:] == [["a", "0.1"], ["b,c", "1e-300"], ['d"', "3.0"]]


def test_what_is_missing_is_an_empty_cell(tmp_path):
    nan = math.nan
    columns = {"n": np.array([nan, 1.0]), "list": [nan, 2.5], "none": [None, 3], "inf": [1, nan]}
    columns["inf"] = np.array([math.inf, -math.inf])
    _, rows = written_columns(columns, tmp_path)
    assert rows[1:] == [["", "", "", "inf"], ["1.0", "2.5", "3", "-inf"]]


def test_numbers_of_columns_read_back_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=5000)
    _, rows = written_columns({"score": values}, tmp_path)
    assert [float(row[0]) for row in rows[1:]] == values.tolist()


def test_no_cell_of_a_column_is_a_formula_or_a_control_character(tmp_path):
    names = ["=1+1", "+x", "-y", "@z", "a\x1b[31mb", "two\nlines", "é"]
    text, rows = written_columns({"=id": names, "n": np.arange(7)}, tmp_path)
    assert rows[0] == ["'=id", "n"]
    assert [row[0] for row in rows[1:]] == [
        "'=1+1", "'+x", "'-y", "'@z", "a\\x1b[31mb", "two\\nlines", "é",
    ]  # fmt: skip
    assert text.count("\n") == 8
    # a negative number is no formula
    _, rows = written_columns({"n": np.array([-1.5])}, tmp_path)
    assert rows[1] == ["-1.5"]


def test_columns_stay_out_of_the_json_and_may_be_empty(tmp_path):
    _, rows = written_columns({"id": [], "score": np.array([])}, tmp_path)
    assert rows == [["id", "score"]]
    assert "score" not in (tmp_path / "x.json").read_text()


def test_columns_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        written_columns({"a": [1, 2], "b": [1]}, tmp_path)
    assert not (tmp_path / "scores.csv").exists()


def test_a_full_disk_leaves_the_old_file_and_no_scratch(tmp_path, monkeypatch):
    Result(command="x").write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Result(command="x", notes=["more"]).write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_writers_at_once_do_not_take_each_others_scratch(tmp_path):
    def write(number: int) -> None:
        for _ in range(20):
            Result(command="x", notes=[str(number)] * 1000).write(tmp_path)

    writers = [multiprocessing.get_context("fork").Process(target=write, args=(n,)) for n in (1, 2)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert [one.exitcode for one in writers] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "x.json"]
    assert len(set(json.loads((tmp_path / "x.json").read_text())["notes"])) == 1


def test_a_writer_that_was_stopped_keeps_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr("entangle_cli.results._PATIENCE", 0.05)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    Result(command="x").write(tmp_path)
    os.close(holder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "x.json"]
