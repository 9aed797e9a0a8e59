"""A changed byte anywhere is found; a damaged store is one line, never a crash."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from fakes import fill, make_spec

from entangle_cli.activations import structure
from entangle_cli.activations.file import ActivationFile, is_activation_file
from entangle_cli.activations.journal import read_journal
from entangle_cli.activations.structure import read_structure
from entangle_cli.activations.verify import verify
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.errors import StoreError
from tests.fuzz.fuzz_stores import resealed, stores

PARTS = ("a.h5", "a.journal", "a.manifest.json")


@pytest.fixture
def store(tmp_path) -> Path:
    path = tmp_path / "a.h5"
    spec = make_spec(600, 100)
    with ActivationWriter.open(path, spec) as writer:
        fill(writer, spec)
        writer.finish()
    assert verify(path) == []
    return path


def flip(path: Path, position: int, bit: int = 0) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1 << bit
    path.write_bytes(raw)


@pytest.mark.parametrize("part", PARTS)
def test_verify_finds_every_flipped_byte(store, part):
    changed = store.with_name(part)
    intact = changed.read_bytes()
    chance = random.Random(part)
    for _ in range(120):
        flip(changed, chance.randrange(len(intact)), chance.randrange(8))
        found = verify(store)
        assert found
        assert all("\n" not in line for line in found)
        changed.write_bytes(intact)
    assert verify(store) == []


def test_verify_names_the_layer_and_the_rows(store):
    offset, row_bytes = read_journal(store.with_suffix(".journal")).header.blocks[1]
    flip(store, offset + 250 * row_bytes)
    assert verify(store) == [f"{store}: layer fc: rows 200 to 399 are damaged"]


def test_verify_of_an_unfinished_store_tells_a_damaged_line(store):
    store.with_name("a.manifest.json").unlink()
    journal = store.with_suffix(".journal")
    flip(journal, journal.read_bytes().rindex(b"crc"))
    (line,) = verify(store)
    assert "rows from 400 on are computed again" in line


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("what", ["empty", "cut", "rubbish", "html"])
def test_a_damaged_part_is_said_in_one_line(store, part, what):
    changed = store.with_name(part)
    raw = changed.read_bytes()
    replaced = {
        "empty": b"",
        "cut": raw[: len(raw) // 2],
        "rubbish": bytes(len(raw)),
        "html": b"<html>404</html>",
    }
    changed.write_bytes(replaced[what])
    with pytest.raises(StoreError) as caught:
        ActivationFile.open(store)
    assert "\n" not in str(caught.value)
    assert "--overwrite" in str(caught.value)
    with pytest.raises(StoreError):
        ActivationWriter.open(store, make_spec(600, 100))
    with ActivationWriter.open(store, make_spec(600, 100), overwrite=True) as writer:
        assert writer.rows == 0


def test_a_missing_journal_is_asked_for(store):
    store.with_suffix(".journal").unlink()
    with pytest.raises(StoreError, match=r"a\.journal: this journal is missing"):
        ActivationFile.open(store)


def test_the_journal_of_another_store_is_refused(store, tmp_path):
    other = tmp_path / "b.h5"
    spec = make_spec(600, 100, identity={"model_sha256": "other"})
    with ActivationWriter.open(other, spec) as writer:
        fill(writer, spec)
    store.with_name("a.manifest.json").unlink()
    store.with_suffix(".journal").write_bytes(other.with_suffix(".journal").read_bytes())
    with pytest.raises(StoreError, match="damaged in its header"):
        ActivationFile.open(store)


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / "a.h5"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(StoreError, match=r"no such file|not a regular file"):
        ActivationFile.open(path)
    assert verify(path)[0].startswith(str(path))


def virtual(group, secret):
    layout = h5py.VirtualLayout((600, 5), "f4")
    layout[:] = h5py.VirtualSource(secret, "x", (600, 5))
    group.create_virtual_dataset("activations", layout)


# layers that are not plain bytes of the file itself
HOSTILE = {
    "external link": lambda group, secret: group.update(
        {"activations": h5py.ExternalLink(secret, "x")}
    ),
    "soft link": lambda group, secret: group.update({"activations": h5py.SoftLink("/logits")}),
    "external storage": lambda group, secret: group.create_dataset(
        "activations", (600, 5), "f4", external=[(secret, 0, 12000)]
    ),
    "virtual": virtual,
    "filter": lambda group, secret: group.create_dataset(
        "activations", (600, 5), "f4", compression="gzip"
    ),
    "text": lambda group, secret: group.create_dataset("activations", data=np.full((600, 5), b"x")),
    "big-endian": lambda group, secret: group.create_dataset(
        "activations", data=np.zeros((600, 5), ">f4")
    ),
    "rows": lambda group, secret: group.create_dataset(
        "activations", data=np.zeros((599, 5), "<f4")
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_only_plain_bytes_of_the_file_itself_are_read(store, tmp_path, kind):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.zeros((600, 5), "f4")
    with h5py.File(store, "r+") as file:
        group = file["layers/0001_fc"]
        del group["activations"]
        HOSTILE[kind](group, secret)
    with pytest.raises(StoreError, match="not a readable activation file"):
        read_structure(store, "0" * 64)


def test_a_newer_format_is_refused(store):
    with h5py.File(store, "r+") as file:
        file.attrs["format_version"] = "2.0"
    with pytest.raises(StoreError, match=r"version 2\.0, this program reads 1\.0"):
        read_structure(store, "0" * 64)


def test_a_file_whose_journal_belongs_elsewhere_does_not_reach_the_hdf5_library(store):
    """The library may crash on damaged headers, so the journal's checksum comes first."""
    for position in range(0, 2000, 40):
        flip(store, position)
    script = (
        "import sys; from entangle_cli.activations.verify import verify; print(verify(sys.argv[1]))"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", script, str(store)], cwd=root, capture_output=True, text=True
    )
    assert (found.returncode, "damaged in its header" in found.stdout) == (0, True)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 2**64 - 16)])
def test_a_file_that_keeps_the_library_busy_for_ever(tmp_path, monkeypatch, index, size):
    """Its checksums agree: an object of the global heap has no size, or one that wraps around."""
    (finished, _) = stores()
    data = bytearray(finished.files["a.h5"])
    heap = data.index(b"GCOL") + 16
    data[heap : heap + 2] = index.to_bytes(2, "little")
    data[heap + 8 : heap + 16] = size.to_bytes(8, "little")
    for name, content in resealed({**finished.files, "a.h5": bytes(data)}).items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(structure, "_SECONDS", 0.5)
    path = tmp_path / "a.h5"
    with pytest.raises(StoreError, match=r"no end within 0.5 s\), it is damaged; dump again"):
        ActivationFile.open(path)
    assert not is_activation_file(path)


def test_what_this_process_wrote_or_has_read_is_not_tried_again(store, monkeypatch):
    tried = []
    monkeypatch.setattr(structure, "rehearsed", lambda *_: tried.append(1))
    ActivationFile.open(store)
    assert tried == []
    monkeypatch.setattr(structure, "_SOUND", set())
    ActivationFile.open(store)
    ActivationFile.open(store)
    assert tried == [1]


@pytest.mark.parametrize(
    ("number", "error"), [("rows", "damaged in its first line"), ("stop", "does not agree with")]
)
def test_a_number_of_rows_is_whole_also_where_the_checksums_agree(tmp_path, number, error):
    (finished, _) = stores()
    files = dict(finished.files)
    changed = re.sub(rb'("%s":\d+)' % number.encode(), rb"\1.0", files["a.journal"])
    assert changed != files["a.journal"]
    for name, content in resealed({**files, "a.journal": changed}).items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=error):
        ActivationFile.open(tmp_path / "a.h5")
