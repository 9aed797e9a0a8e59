"""Stores, neighbor lists, fitted detectors and models to mutate: what the program itself writes."""

import hashlib
import json
import os
import tempfile
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.schema import FileSpec, StoredLayer, digest
from entangle_cli.activations.skeleton import skeleton_digest
from entangle_cli.activations.verify import verify
from entangle_cli.activations.writer import ActivationWriter
from entangle_cli.neighbors.interface import Neighbors
from entangle_cli.neighbors.store import NeighborStore
from tests.fuzz.fuzz_pool import Sample

ROWS, BATCH = 12, 4
IDENTITY = {"layer": "fc", "k": 3}


def specification(rows: int = ROWS, batch: int = BATCH) -> FileSpec:
    """A store of two layers and class scores."""
    return FileSpec(
        rows=rows,
        batch_size=batch,
        layers=(
            StoredLayer("conv>relu", (2, 3), (2, 3), "float32", "none", "relu"),
            StoredLayer("fc", (5,), (5,), "float16", "flatten", "linear"),
        ),
        classes=3,
        labels=np.arange(rows) % 3,
        class_names=("ant", "bee", "cat"),
        ids=[f"test/{row}" for row in range(rows)],
        identity={"model_sha256": "ab" * 32, "batch_size": batch},
        provenance={"model": "net.onnx"},
    )


def _content(folder: Path) -> dict[str, bytes]:
    return {place.name: place.read_bytes() for place in folder.iterdir() if place.is_file()}


@contextmanager
def inside(folder: str):
    """With this folder as the current one."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def stores() -> list[Sample]:
    """A finished store, and one that was left in the middle."""
    found = []
    chance = np.random.default_rng(0)
    for until in (ROWS, 8):
        with tempfile.TemporaryDirectory() as folder:
            path, spec = Path(folder, "a.h5"), specification()
            with ActivationWriter.open(path, spec) as writer:
                for _ in range(0, until, BATCH):
                    writer.put("conv>relu", chance.normal(size=(BATCH, 2, 3)).astype("f4"))
                    writer.put("fc", chance.normal(size=(BATCH, 5)).astype("f2"))
                    writer.put_logits(chance.normal(size=(BATCH, 3)).astype("f4"))
                    writer.end_batch()
                if until == ROWS:
                    writer.finish()
            found.append(Sample(_content(Path(folder)), "a.h5", truth=_everything(path)))
    return found


def _everything(path: Path) -> tuple:
    stored = ActivationFile.open(path)
    layers = {layer.name: np.array(stored.points(layer.name)) for layer in stored.layers}
    logits = None if stored.logits is None else np.array(stored.logits)
    labels = None if stored.labels is None else stored.labels.tolist()
    return layers, logits, labels, stored.ids, stored.identity, stored.class_names


def read_store(folder: Path, sample: Sample) -> None:
    """What is not refused must be what was written, or damage that ``verify`` tells."""
    path = folder / sample.argument
    layers, logits, labels, ids, identity, names = _everything(path)
    if verify(path):
        return
    true_layers, true_logits, *rest = sample.truth
    rows = len(logits)
    assert [labels[:rows] if labels else labels, ids, identity, names] == [
        rest[0][:rows] if labels else labels, rest[1][:rows], *rest[2:]
    ]  # fmt: skip
    assert np.array_equal(logits, true_logits[:rows])
    assert layers.keys() == true_layers.keys()
    for name, values in layers.items():
        assert np.array_equal(values, true_layers[name][:rows])


def resealed(files: dict[str, bytes]) -> dict[str, bytes]:
    """A store whose sums agree again: what only somebody who means harm would make."""
    files = dict(files)
    lines = files["a.journal"].split(b"\n")
    lines = [_resealed_line(line) if line else line for line in lines]
    try:
        header = json.loads(lines[0].rpartition(b" ")[0])
        header |= {"size": len(files["a.h5"]), "skeleton": _skeleton(files["a.h5"], header)}
        lines[0] = _line(header)
    except (
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        OSError,
        AttributeError,
        RecursionError,
    ):
        pass
    files["a.journal"] = b"\n".join(lines)
    if "a.manifest.json" in files:
        try:
            content = json.loads(files["a.manifest.json"])
            content.pop("checksum", None)
            content["journal_sha256"] = hashlib.sha256(files["a.journal"]).hexdigest()
            sealed = {**content, "checksum": digest(content)}
            text = json.dumps(sealed, sort_keys=True, indent=1)
            files["a.manifest.json"] = text.encode() + b"\n"
        except (ValueError, TypeError, AttributeError, RecursionError):
            pass
    return files


def _resealed_line(line: bytes) -> bytes:
    body = line.rpartition(b" ")[0]
    return body + b" %08x" % zlib.crc32(body)


def _line(value: dict) -> bytes:
    body = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return body + b" %08x" % zlib.crc32(body)


def _skeleton(data: bytes, header: dict) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return skeleton_digest(file.fileno(), len(data), header["rows"], header["blocks"])


def read_resealed(folder: Path, sample: Sample) -> None:
    """Nothing is known of the content; it must be readable or refused."""
    path = folder / sample.argument
    stored = ActivationFile.open(path)
    for layer in stored.layers:
        values = stored.points(layer.name)
        assert values.shape == (stored.rows, layer.dim)
        values[-1:].sum(), stored.map(layer.name)[:1].sum()
    logits, labels = stored.logits, stored.labels
    assert logits is None or len(logits) == stored.rows
    assert labels is None or len(labels) == stored.rows
    assert len(stored.ids) == stored.rows
    assert all(isinstance(line, str) for line in (*stored.notes, *verify(path)))


def neighbor_lists() -> list[Sample]:
    """One list."""
    with tempfile.TemporaryDirectory() as folder:
        store = NeighborStore(Path(folder))
        indices = np.arange(12).reshape(4, 3)
        store.write(IDENTITY, Neighbors(indices, indices / 7))
        return [Sample(_content(Path(folder)), ".")]


def read_neighbors(folder: Path, sample: Sample) -> None:
    """A list that is no list counts as absent."""
    kept = NeighborStore(folder).read(IDENTITY)
    if kept is not None:
        found, notes = kept
        assert all(isinstance(note, str) for note in notes)
        assert found.indices.dtype == np.int64
        assert found.indices.shape == found.distances.shape == (len(found), found.k)
        assert found.missing >= 0
        assert np.isfinite(found.distances).sum() >= 0


def fitted() -> list[Sample]:
    """The detectors that ``entangle ood`` keeps."""
    from typer.testing import CliRunner

    from entangle_cli.app import app
    from tests.fuzz.fuzz_models import perceptron

    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, inside(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Path("net.onnx").write_bytes(perceptron())
        for name, shift in (("train", 0.0), ("test", 0.0), ("far", 4.0)):
            labels = np.arange(60) % 3
            points = chance.normal(size=(60, 4)) + 2 * labels[:, None] + shift
            np.savez(f"{name}.npz", x=points.astype("f4"), y=labels)
        words = "ood net.onnx --in test.npz --calib none --train train.npz --out far.npz"
        detectors = "--detectors msp,energy,vim,knn --knn exact --resamples 40 -k 5 -q".split()
        answer = CliRunner().invoke(app, [*words.split(), *detectors])
        assert answer.exit_code == 0, answer.stderr
        data = Path("entangle-out/fitted.npz").read_bytes()
    return [Sample({"fitted.npz": data}, "fitted.npz")]


def read_fitted_run(folder: Path, sample: Sample) -> None:
    """As ``entangle score`` reads it."""
    from entangle_cli.runs.ood.fitted import read_fitted

    run = read_fitted(folder / sample.argument)
    assert all(one.detector is not None for one in run.detectors)
