"""A batch that does not fit into memory: halved while nothing is kept, else an error."""

import numpy as np
import pytest
from fakes import FakeModel, contents, make_feed

from entangle_cli.activations.dump import dump
from entangle_cli.activations.file import ActivationFile
from entangle_cli.models.onnx.session import BatchTooLarge, TapSession, providers_for

LAYERS = ("map", "fc")


class Small(FakeModel):
    """A device that holds only so many samples, after so many batches."""

    def __init__(self, most, after=0):
        super().__init__()
        self.most, self.after = most, after

    def run(self, inputs, layers, sink):
        if len(inputs[0]) > self.most and len(self.batches) > self.after:
            self.batches.append(len(inputs[0]))
            sink("map", np.zeros((len(inputs[0]), 2, 3, 3), np.float32))
            raise MemoryError("too many")
        return super().run(inputs, layers, sink)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out" / "a.h5"


def test_the_automatic_batch_is_halved_until_it_fits(path, tmp_path):
    model = Small(100)
    file = dump(model, make_feed(300), path, layers=LAYERS)
    assert model.batches == [2, 2, 1, 300, 256, 128, 64, 64, 64, 64, 44]
    assert file.complete
    assert file.identity["batch_size"] == 64
    dump(FakeModel(), make_feed(300), tmp_path / "b" / "a.h5", layers=LAYERS, batch_size=64)
    assert contents(path.parent) == contents(tmp_path / "b")
    assert dump(FakeModel(), make_feed(300), path, layers=LAYERS).complete


def test_a_size_that_was_asked_for_is_kept_to(path):
    with pytest.raises(MemoryError, match="too many"):
        dump(Small(100), make_feed(300), path, layers=LAYERS, batch_size=128)
    assert ActivationFile.open(path).rows == 0


def test_one_sample_that_does_not_fit_is_an_error(path):
    with pytest.raises(MemoryError):
        dump(Small(0), make_feed(300), path, layers=LAYERS)


def test_rows_that_are_kept_are_not_thrown_away(path):
    model = Small(100, after=3)
    with pytest.raises(MemoryError):
        dump(model, make_feed(1200), path, layers=LAYERS)
    assert ActivationFile.open(path).rows == 512
    assert dump(FakeModel(), make_feed(1200), path, layers=LAYERS).complete


def test_onnxruntime_without_memory_is_told_apart(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Expand", ["x", "shape"], ["y"])],
        "g",
        [value("x", 1, ["n"]), value("shape", 7, ["k"])],
        [value("y", 1, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "expand.onnx"
    onnx.save(model, path)
    session = TapSession(path, ["y"], providers=providers_for("cpu"), free={})
    feed = {"x": np.ones(1, np.float32), "shape": np.array([1 << 45], np.int64)}
    with pytest.raises(BatchTooLarge, match=r"expand\.onnx: cannot be run: .*alloc"):
        session.run(feed, ["y"])
    (found,) = session.run(feed | {"shape": np.array([4], np.int64)}, ["y"])
    assert found.shape == (4,)
