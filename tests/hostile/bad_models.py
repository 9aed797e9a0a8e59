"""Bad inputs: files that are no model, and ONNX files that cannot be run."""

import gzip

import h5py
import numpy as np
import onnx
from bench import Bench, add, encoded, fine, keeps, nothing, refused, warned
from onnx import TensorProto, helper
from PIL import Image
from sound import onnx_model, vector_model, weights

RUN = "measure bad.onnx vec.npz"

add("model empty", lambda at: at.write("bad.onnx", b""), RUN, "refused", "bad.onnx", "empty")
add(
    "model cut",
    lambda at: at.cut("vec.onnx", "bad.onnx"),
    RUN,
    "refused",
    "bad.onnx",
)
add(
    "model that is a web page",
    lambda at: at.write("bad.onnx", "\n<!DOCTYPE html><html>404</html>"),
    RUN,
    "refused",
    "a web page",
)
add(
    "model that is a git-lfs pointer",
    lambda at: at.write("bad.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    RUN,
    "refused",
    "git lfs pull",
)
add("model of zeros", lambda at: at.write("bad.onnx", bytes(4096)), RUN, "refused", "bad.onnx")
add(
    "model of noise",
    lambda at: at.write("bad.onnx", at.random.bytes(4096)),
    RUN,
    "refused",
    "bad.onnx",
)
add(
    "model that is text",
    lambda at: at.write("bad.onnx", "weights: see attachment\n"),
    RUN,
    "refused",
    "text file",
)
add(
    "model that is a picture",
    lambda at: at.write("bad.onnx", encoded(Image.new("L", (9, 9)))),
    RUN,
    "refused",
    "bad.onnx",
)
add(
    "model that is gzip",
    lambda at: at.write("bad.onnx", gzip.compress(at.read("vec.onnx"))),
    RUN,
    "refused",
    "bad.onnx",
)
add(
    "model of safetensors",
    lambda at: at.write("bad.onnx", (2).to_bytes(8, "little") + b"{}" + bytes(64)),
    RUN,
    "refused",
    "safetensors",
)
add(
    "model that is not there",
    nothing,
    "measure missing.onnx vec.npz",
    "refused",
    "missing.onnx",
    "no such file",
)
add("model that is a folder", lambda at: at.path("bad.onnx/x"), RUN, "refused", "bad.onnx")


@refused(RUN, "HDF5")
def model_of_keras(at: Bench) -> None:
    with h5py.File(at.path("bad.onnx"), "w") as file:
        file["w"] = np.zeros(3)


def _saved(name: str, make, outcome: str, *says: str, words: str = RUN) -> None:
    add(name, lambda at: onnx.save(make(), at.path("bad.onnx")), words, outcome, *says)


def _without_nodes() -> onnx.ModelProto:
    return onnx_model([], [("x", ["n", 4])], [("x", ["n", 4])])


def _with(*extra, **options):
    return lambda: vector_model(extra, **options)


_saved("graph without operations", _without_nodes, "refused", "no operations")
_saved("unknown operator", _with(("Nonsense", ["g"], ["y"])), "refused", "Nonsense")
_saved(
    "operator of a foreign domain",
    _with(("Secret", ["g"], ["y"], {"domain": "my.ops"}), domains=["my.ops"]),
    "refused",
    "Secret",
)
_saved("operator set of the future", _with(opset=999), "refused", "bad.onnx")
_saved("format version of the future", _with(ir_version=99), "refused", "bad.onnx")
_saved("operand that nobody makes", _with(("Add", ["g", "ghost"], ["y"])), "refused", "ghost")
_saved(
    "two makers of one tensor",
    _with(("Relu", ["g"], ["z"]), ("Neg", ["g"], ["z"]), ("Neg", ["z"], ["y"])),
    "refused",
    "bad.onnx",
)
_saved(
    "operations in a circle",
    _with(("Add", ["g", "q"], ["p"]), ("Neg", ["p"], ["q"]), ("Neg", ["q"], ["y"])),
    "refused",
    "bad.onnx",
)
_saved(
    "weights that do not fit each other",
    _with(("MatMul", ["g", "wrong"], ["y"]), arrays=weights(wrong=(7, 3))),
    "refused",
    "bad.onnx",
)
_saved(
    "division that ends in nan",
    _with(("Sub", ["g", "g"], ["z"]), ("Div", ["z", "z"], ["y"])),
    "partly",
    "NaN",
    words="measure bad.onnx vec.npz --layers all",
)
_saved(
    "network that draws at random",
    _with(("RandomNormalLike", ["g"], ["r"]), ("Add", ["g", "r"], ["y"])),
    "warned",
    "warning: ",
    words="measure bad.onnx vec.npz --layers all",
)


def _misdeclared() -> onnx.ModelProto:
    model = vector_model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    return model


_saved(
    "another shape than is declared",
    _misdeclared,
    "warned",
    "the file declares (n, 5), it gives (n, 3)",
    words="dump bad.onnx vec.npz --layers all",
)
_saved(
    "operator that mixes the batch",
    _with(("ReduceMean", ["g"], ["m"], {"axes": [0]}), ("Sub", ["g", "m"], ["y"])),
    "warned",
    "batch",
    words="measure bad.onnx vec.npz --layers all",
)
_saved(
    "layer without one entry per sample",
    _with(("ReduceSum", ["g"], ["m"], {"keepdims": 0}), ("Add", ["g", "m"], ["y"])),
    "warned",
    "1 of 5 layers do not have one entry per sample",
    words="measure bad.onnx vec.npz --layers all",
)
_saved(
    "absurd memory asked for by a constant shape",
    _with(
        ("ConstantOfShape", ["shape"], ["big"]),
        ("ReduceSum", ["big"], ["s"], {"keepdims": 0}),
        ("Add", ["g", "s"], ["y"]),
        arrays={"shape": np.array([2**40])},
    ),
    "refused",
    "bad.onnx",
    "memory",
)


def _fixed_batch() -> onnx.ModelProto:
    proto = vector_model()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 7
    return proto


_saved("batch of a fixed size", _fixed_batch, "fine")


def _two_inputs() -> onnx.ModelProto:
    nodes = [("Add", ["a", "b"], ["s"]), ("Gemm", ["s", "w"], ["y"])]
    return onnx_model(
        nodes, [("a", ["n", 4]), ("b", ["n", 4])], [("y", ["n", 3])], weights(w=(4, 3))
    )


_saved("two inputs for one array", _two_inputs, "refused", "the model takes a, b")


def _tokens() -> onnx.ModelProto:
    nodes = [("Gather", ["table", "x"], ["e"]), ("ReduceMean", ["e"], ["y"], {"axes": [1]})]
    inputs = [("x", ["n", 4], TensorProto.INT64)]
    return onnx_model(nodes, inputs, [("y", ["n", None])], weights(table=(9, 3)))


_saved("tokens fed with fractions", _tokens, "refused", "convert the data")


@refused("measure bad.onnx tokens.npz", "bad.onnx")
def tokens_beyond_the_vocabulary(at: Bench) -> None:
    onnx.save(_tokens(), at.path("bad.onnx"))
    at.npz("tokens.npz", x=np.full((24, 4), 99), y=at.labels)


def _text_input() -> onnx.ModelProto:
    nodes = [("StringNormalizer", ["x"], ["y"], {"case_change_action": "LOWER"})]
    inputs = [("x", [4], TensorProto.STRING)]
    return onnx_model(nodes, inputs, [("y", [4], TensorProto.STRING)], ir_version=8)


_saved("network of text", _text_input, "refused", "bad.onnx")


def _half() -> onnx.ModelProto:
    nodes = [("Cast", ["x"], ["h"], {"to": 10}), ("Cast", ["h"], ["y"], {"to": 1})]
    return onnx_model(nodes, [("x", ["n", 4])], [("y", ["n", 4])])


_saved("half precision inside", _half, "fine", words="measure bad.onnx vec.npz --layers all")


@refused(RUN, "x", "the model takes (n, 4)")
def features_of_another_width(at: Bench) -> None:
    at.write("bad.onnx", at.read("vec.onnx"))
    at.npz("vec.npz", x=at.points[:, :3], y=at.labels)


@refused("measure net.onnx color.npz --preprocess other.json", "channel")
def preprocessing_of_other_channels(at: Bench) -> None:
    at.npz("color.npz", images=np.stack([at.images] * 3, -1), labels=at.labels)
    at.write("other.json", '{"input_size": [3, 8, 8], "mean": [0.5, 0.5, 0.5]}')


@refused("measure net.onnx vec.npz", "net.onnx")
def features_for_an_image_network(at: Bench) -> None:
    nothing(at)


@warned("measure vec.onnx images.npz", "not verified", "twice chance")
def images_for_a_network_of_features(at: Bench) -> None:
    nothing(at)


def _external(at: Bench, location: str, length: int) -> None:
    proto = vector_model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    at.write("bad.onnx", proto.SerializeToString())


@refused(RUN, "weights.bin", "missing")
def external_weights_missing(at: Bench) -> None:
    _external(at, "weights.bin", 80)


@refused(RUN, "weights.bin", "40 bytes")
def external_weights_cut(at: Bench) -> None:
    _external(at, "weights.bin", 80)
    at.write("weights.bin", bytes(40))


@fine(RUN)
def external_weights_in_place(at: Bench) -> None:
    _external(at, "weights.bin", 80)
    at.write("weights.bin", at.random.normal(size=20).astype("<f4").tobytes())


@fine("measure net.pt vec.npz")
def suffix_of_the_other_format(at: Bench) -> None:
    at.write("net.pt", at.read("vec.onnx"))


@refused(RUN, "bad.onnx")
def weights_longer_than_their_shape(at: Bench) -> None:
    proto = vector_model()
    proto.graph.initializer[0].dims[0] = 10**6
    at.write("bad.onnx", proto.SerializeToString())


@refused("measure bad.onnx vec.npz --layers linear#2", "NaN")
def weights_that_are_nan(at: Bench) -> None:
    bad = np.full((5, 3), np.nan, np.float32)
    onnx.save(vector_model(arrays={"w2": bad}), at.path("bad.onnx"))


@refused("measure bad.onnx vec.npz", "bad.onnx")
def subgraph_missing(at: Bench) -> None:
    proto = vector_model()
    proto.graph.node.append(helper.make_node("If", ["x"], ["z"]))
    at.write("bad.onnx", proto.SerializeToString())


@warned("measure vec.onnx dead.npz", "below twice chance")
def accuracy_below_chance(at: Bench) -> None:
    at.npz("dead.npz", x=at.points * 0 + at.random.normal(size=(24, 4)), y=at.labels)


keeps("weights_that_are_nan", "entangle-out/activations")
