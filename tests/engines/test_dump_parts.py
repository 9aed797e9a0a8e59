"""Ranges of a dump in stores of their own make up the bytes of one dump."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entangle_cli.activations.dump import dump
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.parts import (
    append_part,
    blueprint,
    ranges,
    read_keys,
    whole_of,
    write_part,
)
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoreError
from tests.activations.fakes import FakeModel, contents, make_feed

ROWS, LAYERS = 1000, ("map", "fc")


@pytest.fixture
def plan():
    return blueprint(FakeModel(), make_feed(ROWS), layers=LAYERS, batch_size=48)


def written(folder: Path, plan, rows: tuple[int, int]) -> ActivationFile:
    folder.mkdir(exist_ok=True)
    path = folder / f"part-{rows[0]}.h5"
    return write_part(FakeModel(), make_feed(ROWS), path, plan, rows)


def put_together(parts: list[ActivationFile], path: Path) -> ActivationFile:
    with ActivationWriter.open(path, whole_of(parts)) as writer:
        for part in parts:
            append_part(writer, part)
        return writer.finish()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_parts_make_up_the_bytes_of_one_dump(tmp_path, plan, count):
    parts = [
        written(tmp_path / "parts", plan, rows)
        for rows in ranges(ROWS, plan.line_rows, count)
        if rows[0] < rows[1]
    ]
    (tmp_path / "one").mkdir()
    dump(FakeModel(), make_feed(ROWS), tmp_path / "one" / "x.h5", layers=LAYERS, batch_size=48)
    (tmp_path / "all").mkdir()
    put_together(parts, tmp_path / "all" / "x.h5")
    assert contents(tmp_path / "all") == contents(tmp_path / "one")


@pytest.mark.parametrize(("rows", "line", "count"), [(1000, 240, 3), (5, 256, 4), (512, 256, 2)])
def test_ranges_cover_every_sample_once_in_whole_lines(rows, line, count):
    cuts = list(ranges(rows, line, count))
    assert len(cuts) == count
    assert [row for start, stop in cuts for row in range(start, stop)] == list(range(rows))
    assert all(start % line == 0 for start, stop in cuts if start < stop)


def test_a_part_is_resumed_and_found_complete(tmp_path, plan):
    rows = (240, 720)
    first = written(tmp_path, plan, rows)
    before = contents(tmp_path)
    model = FakeModel()
    again = write_part(model, make_feed(ROWS), first.path, plan, rows)
    assert again.complete
    assert not [size for size in model.batches if size == 48]
    assert contents(tmp_path) == before


def test_a_part_of_other_data_is_refused_where_it_is_made(tmp_path, plan):
    other = make_feed(ROWS, fingerprint="aa" * 32)
    with pytest.raises(StoreError, match="every worker needs the same files"):
        write_part(FakeModel(), other, tmp_path / "x.h5", plan, (0, 240))


def test_a_part_of_another_model_is_refused_where_parts_meet(tmp_path, plan):
    changed = replace(plan, identity={**plan.identity, "model_sha256": "aa" * 32})
    model = FakeModel(sha256="aa" * 32)
    parts = [
        written(tmp_path, plan, (0, 480)),
        write_part(model, make_feed(ROWS), tmp_path / "y.h5", changed, (480, 1000)),
    ]
    with pytest.raises(StoreError, match=r"y\.h5: belongs to another dump.*model_sha256"):
        whole_of(parts)


def test_numbers_that_changed_after_the_part_was_written_are_noticed(tmp_path, plan):
    part = written(tmp_path / "parts", plan, (0, 480))
    offset = part.journal.header.blocks[0][0] + 100
    with part.path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    spec = plan.whole(make_feed(ROWS))
    with ActivationWriter.open(tmp_path / "x.h5", spec) as writer:
        with pytest.raises(StoreError, match="not those that were written"):
            append_part(writer, ActivationFile.open(part.path))


def test_copies_are_counted_across_parts(tmp_path, plan):
    data = np.random.default_rng(1).normal(size=(ROWS, 4)).astype(np.float32)
    data[700] = data[3]
    changes = {"read": lambda wanted: {"x": data[wanted]}}
    counted = make_feed(ROWS, **changes)
    for rows in ((0, 480), (480, 1000)):
        path = tmp_path / f"{rows[0]}.h5"
        write_part(FakeModel(), make_feed(ROWS, **changes), path, plan, rows)
        counted.duplicates.take(rows[0], read_keys(path, rows[1] - rows[0]))
    assert (counted.duplicates.read, counted.duplicates.count) == (ROWS, 1)
