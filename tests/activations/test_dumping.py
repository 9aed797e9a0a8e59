"""From a model and batches to a store: reuse, resume, refusal, batch sizes, bounded memory."""

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeModel, contents, make_feed
from hypothesis import given
from hypothesis import strategies as st

from entangle_cli.activations.dump import BATCH_BYTES, auto_batch_size, dump
from entangle_cli.activations.feed import Feed
from entangle_cli.activations.file import ActivationFile
from entangle_cli.activations.logits import accuracy
from entangle_cli.activations.verify import verify
from entangle_cli.errors import ModelError, StoppedEarly, StoreError, UsageError

LAYERS = ("map", "fc")
ROWS = 1000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "a.h5"


def expected(layer: str, rows=ROWS) -> np.ndarray:
    found = {}
    feed = make_feed(rows)
    FakeModel().run(feed.batch(0, rows), LAYERS, lambda name, x: found.setdefault(name, x))
    return found[layer]


class Stopping:
    """Says stop when asked for the ``k``-th time."""

    def __init__(self, k):
        self.left = k

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_dump_holds_what_the_model_gave(path):
    file = dump(FakeModel(), make_feed(ROWS), path, layers=LAYERS, batch_size=64)
    assert [layer.name for layer in file.layers] == list(LAYERS)
    assert [layer.kind for layer in file.layers] == ["conv", "linear"]
    assert np.array_equal(file.map("map"), expected("map"))
    assert np.array_equal(file.points("fc"), expected("fc"))
    assert file.layers[0].shape == (18,)
    assert file.layers[0].raw_shape == (2, 3, 3)
    assert accuracy(file) == (1.0, "")
    assert file.ids[-1] == "test/999"
    assert file.rows == ROWS
    assert verify(path) == []


def test_layers_are_stored_in_the_order_asked_for(path):
    file = dump(FakeModel(), make_feed(), path, layers=("fc", "map", "fc"))
    assert [layer.name for layer in file.layers] == ["fc", "map"]


@pytest.mark.parametrize("how", ["mean", "max", "none"])
def test_maps_are_reduced_on_the_way(path, how):
    file = dump(FakeModel(), make_feed(), path, layers=["map"], reduce=how, dtype="float64")
    whole = expected("map", 40).astype(np.float64)
    wanted = {"mean": whole.mean((2, 3)), "max": whole.max((2, 3)), "none": whole}[how]
    assert file.map("map").dtype == np.float64
    assert np.allclose(file.map("map"), wanted, rtol=1e-6)
    assert file.layers[0].reduce == how
    assert file.layers[0].raw_shape == (2, 3, 3)


def test_a_finished_dump_is_reused_without_running_the_model(path):
    first = FakeModel()
    dump(first, make_feed(), path, layers=LAYERS)
    again = FakeModel()
    assert dump(again, make_feed(), path, layers=LAYERS).complete
    assert dump(again, make_feed(), path, layers=LAYERS, batch_size=512).complete
    # two samples, again, the first alone, and all
    assert first.batches == [2, 2, 1, 40]
    assert again.batches == []


def test_overwrite_runs_it_again(path):
    dump(FakeModel(), make_feed(), path, layers=LAYERS)
    again = FakeModel()
    dump(again, make_feed(), path, layers=LAYERS, overwrite=True)
    assert again.batches == [2, 2, 1, 40]


@pytest.mark.parametrize("batch_size", ["auto", None, 100, 1000, 2000])
@pytest.mark.parametrize("stops", [[0], [1], [5, 2], [1, 1, 1, 1]])
def test_a_stopped_dump_is_resumed_to_the_same_bytes(path, tmp_path, batch_size, stops):
    options = {"layers": LAYERS, "batch_size": batch_size}
    dump(FakeModel(), make_feed(ROWS), tmp_path / "whole" / "a.h5", **options)
    for k in stops:
        # a short dump may be through before it is asked to stop
        with contextlib.suppress(StoppedEarly):
            dump(FakeModel(), make_feed(ROWS), path, stop=Stopping(k), **options)
    dump(FakeModel(), make_feed(ROWS), path, **options)
    assert contents(path.parent) == contents(tmp_path / "whole")


def test_stopping_says_what_is_kept_and_how_to_go_on(path):
    with pytest.raises(StoppedEarly, match="with 512 of 1000 samples kept; run the same command"):
        dump(FakeModel(), make_feed(ROWS), path, layers=LAYERS, batch_size=64, stop=Stopping(9))


def test_a_model_that_fails_midway_loses_only_its_batch(path):
    model = FakeModel()
    feed = make_feed(ROWS)
    real = feed.batch
    feed.batch = lambda start, stop: real(start, stop) if start < 600 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        dump(model, feed, path, layers=LAYERS, batch_size=64)
    assert ActivationFile.open(path).rows == 512
    again = FakeModel()
    dump(again, make_feed(ROWS), path, layers=LAYERS, batch_size=64)
    assert again.batches == [2, 2, 1, *[64] * 7, 40]


CHANGES = {
    "model": (lambda: (replace(FakeModel(), sha256="0" * 64), make_feed(), {}), "model_sha256"),
    "format": (lambda: (replace(FakeModel(), format="other"), make_feed(), {}), "model_format"),
    "data": (lambda: (FakeModel(), make_feed(fingerprint="0" * 64), {}), "data_fingerprint"),
    "rows": (lambda: (FakeModel(), make_feed(41), {}), "rows 40 -> 41"),
    "layers": (lambda: (FakeModel(), make_feed(), {"layers": ["fc"]}), "layers 2 entries -> 1"),
    "order": (lambda: (FakeModel(), make_feed(), {"layers": ["fc", "map"]}), "layers .*map.*fc"),
    "reduce": (lambda: (FakeModel(), make_feed(), {"reduce": "mean"}), '"flatten" -> "mean"'),
    "dtype": (lambda: (FakeModel(), make_feed(), {"dtype": "float16"}), '"float32" -> "float16"'),
    "batch": (lambda: (FakeModel(), make_feed(), {"batch_size": 64}), "batch_size 512 -> 64"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_store_of_something_else_is_refused_before_the_model_runs(path, what):
    dump(FakeModel(), make_feed(), path, layers=LAYERS)
    before = contents(path.parent)
    make, message = CHANGES[what]
    model, feed, options = make()
    with pytest.raises(StoreError, match=message):
        dump(model, feed, path, **{"layers": LAYERS, **options})
    assert model.batches == []
    assert contents(path.parent) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ()}, "no layer to dump"),
        ({"reduce": "gap"}, "--reduce gap"),
        ({"dtype": "int8"}, "--dtype int8"),
        ({"batch_size": 0}, "--batch-size 0"),
    ],
)
def test_impossible_options_are_refused(path, options, message):
    with pytest.raises(UsageError, match=message):
        dump(FakeModel(), make_feed(), path, **{"layers": LAYERS, **options})
    assert not path.parent.exists()


@given(st.integers(0, 10**12))
def test_the_automatic_batch_is_the_largest_power_of_two_that_fits(row_bytes):
    size = auto_batch_size(row_bytes)
    assert size in {2**i for i in range(10)}
    assert size == 1 or size * row_bytes <= BATCH_BYTES
    assert size == 512 or 2 * size * row_bytes > BATCH_BYTES


class Odd(FakeModel):
    """A model whose answer changes with the samples."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def run(self, inputs, layers, sink):
        if self.how == "no batch axis":
            sink("fc", np.zeros((3, 4), np.float32))
            return []
        if self.how == "silent":
            return []
        # the probe sees two samples
        ragged = self.how == "ragged" and len(inputs[0]) > 2
        sink("fc", np.zeros((len(inputs[0]), 5 if ragged else 4), np.float32))
        scored = self.how == "unscored" and len(inputs[0]) <= 2
        return [np.zeros((len(inputs[0]), 3), np.float32)] if scored else []


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no batch axis", r"gives \(3, 4\) for 2 samples"),
        ("silent", "gave no values for fc"),
        ("ragged", r"gives \(5,\) .* gave \(4,\) before; .*--reduce mean"),
        ("unscored", "class scores came for the first samples, but not for samples 0 to 39"),
    ],
)
def test_a_model_that_cannot_be_stored_is_refused(path, how, message):
    with pytest.raises(ModelError, match=message):
        dump(Odd(how), make_feed(), path, layers=["fc"])


def test_one_sample_is_enough(path):
    assert dump(FakeModel(), make_feed(1), path, layers=LAYERS).points("fc").shape == (1, 6)


def test_progress_counts_the_rows_that_were_there(path):
    class Counting:
        total = done = 0

        def start(self, task, total):
            self.task, self.total = task, total

        def advance(self, amount=1):
            self.done += amount

        def finish(self):
            self.finished = True

    with pytest.raises(StoppedEarly):
        dump(FakeModel(), make_feed(ROWS), path, layers=LAYERS, batch_size=256, stop=Stopping(2))
    counting = Counting()
    dump(FakeModel(), make_feed(ROWS), path, layers=LAYERS, batch_size=256, progress=counting)
    assert (counting.task, counting.total, counting.done) == ("fake.onnx on test", ROWS, ROWS)
    assert counting.finished


PEAK = """
import sys
import numpy as np
from fakes import FakeModel, make_dataset
from entangle_cli.activations.dump import dump
from entangle_cli.activations.feed import Feed
from entangle_cli.datasets.dataset import RowIds

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1])

class Wide(FakeModel):
    def run(self, inputs, layers, sink):
        x = inputs[0]
        for name in layers:
            sink(name, np.repeat(x, 1024, axis=1))
            peaks.append(anonymous())
        return [x]

rows, path = int(sys.argv[1]), sys.argv[2]
peaks = []
dataset = make_dataset(
    labels=None,
    ids=RowIds("test", rows),
    read=lambda w: {"x": np.float32(w[:, None] % 7 + np.arange(4))},
)
model = Wide()
file = dump(model, Feed(model.inputs, dataset, None), path, layers=("map", "fc"))
peaks.append(anonymous())
print(max(peaks), file.rows)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_ten_times_the_rows_take_no_more_memory(tmp_path):
    folders = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(folders), OMP_NUM_THREADS="1")
    peaks = []
    for rows in (1600, 16000):
        command = [sys.executable, "-c", PEAK, str(rows), str(tmp_path / f"{rows}.h5")]
        found = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(found[1]) == rows
        peaks.append(int(found[0]))
    assert peaks[1] <= 1.05 * peaks[0]


def test_mnist_through_a_real_network(shared, path):
    open_model = pytest.importorskip("entangle_cli.models.opening").open_model
    from entangle_cli.datasets import limit, open_dataset
    from entangle_cli.datasets.preprocessing import Preprocessing

    model = open_model(shared / "models" / "onnx" / "mnist-extdata" / "mnist.onnx")
    data = limit(open_dataset(f"{shared / 'data' / 'mnist'}@test"), 500, seed=0)
    feed = Feed(model.inputs, data, Preprocessing(mean=(0.5,), std=(0.5,)))
    names = [layer.name for layer in model.layers(feed.batch(0, 2)) if layer.default]
    file = dump(model, feed, path, layers=names)
    assert file.rows == 500
    assert verify(path) == []
    assert accuracy(file)[0] > 0.94
    assert dump(model, feed, path, layers=names).complete
