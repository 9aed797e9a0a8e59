"""ONNX files through onnxruntime: values, batch sizes, types, and honest refusals."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx_files as files
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from entangle_cli.errors import ModelError
from entangle_cli.models.onnx.model import OnnxModel
from entangle_cli.models.onnx.session import first_sentence

N = 5


def samples(n=N, width=4, seed=1):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def collect(model, inputs, names):
    values = {}

    def sink(name, array):
        assert name not in values, "a sink hears every layer once"
        values[name] = np.array(array)

    return values, model.run(inputs, names, sink)


def names_of(model, example=None):
    return [layer.name for layer in model.layers(example)]


def by_hand(proto, x):
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    hidden = np.maximum(x @ arrays["w1"], 0)
    return hidden, hidden @ arrays["w2"]


@pytest.fixture
def write(tmp_path):
    return lambda proto, name="net.onnx": files.save(proto, tmp_path / name)


# -------------------------------------------------------------------------------------- values
def test_layers_and_outputs_hold_what_numpy_computes(write):
    proto = files.mlp()
    model, x = OnnxModel(write(proto)), samples()
    values, outputs = collect(model, [x], ["linear#1>relu", "linear#2"])
    hidden, scores = by_hand(proto, x)
    assert np.allclose(values["linear#1>relu"], hidden, atol=1e-6)
    assert np.allclose(values["linear#2"], scores, atol=1e-6)
    assert np.array_equal(outputs[0], values["linear#2"])


def test_layers_arrive_in_execution_order_whatever_was_asked_first(write):
    model = OnnxModel(write(files.mlp()))
    values, _ = collect(model, [samples()], ["linear#2", "linear#1", "linear#1"])
    assert list(values) == ["linear#1", "linear#2"]


def test_tensor_and_node_names_choose_layers_too(write):
    model = OnnxModel(write(files.mlp()))
    values, _ = collect(model, [samples()], ["h", "second"])
    assert list(values) == ["linear#1>relu", "linear#2"]


def test_an_unknown_layer_is_named_with_the_nearest_one(write):
    model = OnnxModel(write(files.mlp()))
    with pytest.raises(ModelError, match=r"no layer 'linear#1>rel' \(did you mean"):
        collect(model, [samples()], ["linear#1>rel"])


def test_layers_tell_shape_per_sample_without_running(write):
    layers = OnnxModel(write(files.mlp())).layers()
    assert [layer.shape for layer in layers] == [(3,), (3,), (2,)]
    assert [layer.default for layer in layers] == [False, True, True]


def test_nothing_is_written_to_the_terminal(write, capfd):
    proto = files.mlp()
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 128  # a wrong declaration
    model = OnnxModel(write(proto))
    collect(model, [samples()], names_of(model, [samples()]))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


# --------------------------------------------------------------------------------------- files
def test_weights_in_an_external_file_are_found_and_hashed(tmp_path):
    proto, path = files.mlp(), tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    model, x = OnnxModel(path), samples()
    values, _ = collect(model, [x], ["h"])
    assert np.allclose(values["linear#1>relu"], by_hand(files.mlp(), x)[0], atol=1e-6)
    before = model.sha256
    data = bytearray((tmp_path / "net.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "net.data").write_bytes(data)
    assert OnnxModel(path).sha256 != before


def test_a_file_alone_has_its_plain_sha256(write):
    path = write(files.mlp())
    assert OnnxModel(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_missing_external_file_is_named(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(files.mlp(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match=r"external file 'net\.data', which is missing") as caught:
        OnnxModel(path)
    assert "\n" not in str(caught.value)


def test_an_external_file_that_was_cut_is_named(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(files.mlp(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").write_bytes(b"abc")
    with pytest.raises(ModelError, match=r"'net\.data' has 3 bytes, the weights need \d+"):
        OnnxModel(path)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : /src/a_b.h:46 void a::b::F(const c<d>&, int) Opset 9",
            "Opset 9",
        ),
        (
            "Deserialize failed.utils.cc:7 GetData External: 3 bytes",
            "Deserialize failed.External: 3 bytes",
        ),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got: 1 Expected: 3", "Got: 1 Expected: 3"),
    ],
)
def test_onnxruntime_is_quoted_without_its_source_code(said, meant):
    assert first_sentence(RuntimeError(said)) == meant


def test_external_data_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 1000)
    path = tmp_path / "inside" / "net.onnx"
    path.parent.mkdir()
    onnx.save(files.mlp(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        tensor.external_data[0].value = "../secret"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        OnnxModel(path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 3], ids=str)
def test_what_is_no_model_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as ONNX") as caught:
        OnnxModel(path)
    assert "\n" not in str(caught.value)


def test_metadata_is_readable(write):
    proto = files.mlp()
    onnx.helper.set_model_props(proto, {"classes": "cat dog"})
    assert OnnxModel(write(proto)).metadata == {"classes": "cat dog"}


def test_old_files_that_list_weights_as_inputs_have_one_input(write):
    proto = files.mlp(ir_version=3)
    for tensor in proto.graph.initializer:
        proto.graph.input.append(files.value(tensor.name, tensor.dims))
    model, x = OnnxModel(write(proto)), samples()
    assert [spec.name for spec in model.inputs] == ["x"]
    values, _ = collect(model, [x], ["h"])
    assert np.allclose(values["linear#1>relu"], by_hand(proto, x)[0], atol=1e-6)


def test_local_functions_are_opened(write):
    body = [
        files.node("Gemm", ["a", "b"], ["c"]),
        files.node("Relu", ["c"], ["d"]),
    ]
    opset = onnx.helper.make_opsetid("", 17)
    function = onnx.helper.make_function("local", "Dense", ["a", "b"], ["d"], body, [opset])
    proto = files.model(
        [files.node("Dense", ["x", "w"], ["y"], domain="local")],
        [files.value("x", ["n", 4])],
        [files.value("y", ["n", 3])],
        files.weights(w=(4, 3)),
        domains=["local"],
    )
    proto.functions.append(function)
    model = OnnxModel(write(proto))
    assert names_of(model) == ["linear#1", "linear#1>relu"]


def test_a_network_that_onnxruntime_cannot_run_is_still_listed(write):
    old = files.model(
        [
            files.node("MatMul", ["x", "w"], ["m"]),
            files.node("Add", ["m", "b"], ["y"], "sum", broadcast=1),
        ],
        [files.value("x", [None, 4])],
        [files.value("y", [None, 3])],
        files.weights(w=(4, 3), b=(3,)),
        opset=4,
        ir_version=4,
    )
    model = OnnxModel(write(old))
    assert names_of(model) == ["linear#1", "linear#1>add"]
    assert any("cannot be run: Could not find an implementation" in note for note in model.notes)
    with pytest.raises(ModelError, match="cannot be run"):
        collect(model, [samples()], ["linear#1"])


# --------------------------------------------------------------------------------- batch sizes
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_fixed_batch_size_takes_any_number_of_samples(write, batch):
    proto = files.mlp(batch=batch)
    model = OnnxModel(write(proto))
    for n in (1, 4, 7):
        x = samples(n)
        values, outputs = collect(model, [x], ["h"])
        hidden, scores = by_hand(proto, x)
        assert np.allclose(values["linear#1>relu"], hidden, atol=1e-6)
        assert np.allclose(outputs[0], scores, atol=1e-6)


def burnt_in(size):
    """A network whose reshape holds the batch size, as some exporters write it."""
    nodes = [
        files.node("Gemm", ["x", "w1"], ["g"]),
        files.node("Reshape", ["g", "shape"], ["r"]),
        files.node("Relu", ["r"], ["y"]),
    ]
    arrays = {**files.weights(w1=(4, 6)), "shape": np.array([size, 2, 3], np.int64)}
    x, y = files.value("x", [size, 4]), files.value("y", [size, 2, 3])
    return files.model(nodes, [x], [y], arrays)


@pytest.mark.parametrize("size", [1, 3])
def test_a_batch_size_burnt_into_the_graph_is_kept(write, size):
    proto, x = burnt_in(size), samples(7)
    values, outputs = collect(OnnxModel(write(proto)), [x], ["y"])
    weight = numpy_helper.to_array(proto.graph.initializer[0])
    expected = np.maximum(x @ weight, 0).reshape(7, 2, 3)
    assert np.allclose(values["linear#1>relu"], expected, atol=1e-6)
    assert np.allclose(outputs[0], expected, atol=1e-6)


def test_a_batch_size_that_would_silently_mix_samples_is_kept(write):
    nodes = [
        files.node("Gemm", ["x", "w1"], ["g"]),
        files.node("ReduceMean", ["g"], ["m"], axes=[0], keepdims=1),
        files.node("Sub", ["g", "m"], ["d"]),
        files.node("Add", ["d", "x3"], ["y"]),
    ]
    inputs = [files.value("x", [1, 4]), files.value("x3", [1, 3])]
    proto = files.model(nodes, inputs, [files.value("y", [1, 3])], files.weights(w1=(4, 3)))
    model, x, x3 = OnnxModel(write(proto)), samples(6), samples(6, 3)
    values, _ = collect(model, [x, x3], ["y"])
    assert np.allclose(values["linear#1>add"], x3, atol=1e-6)
    assert np.allclose(model.run([x, x3], [], None)[0], x3, atol=1e-6)


def test_a_declared_free_batch_that_is_not_free_is_run_sample_by_sample(write):
    proto, x = burnt_in(1), samples(4)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    values, _ = collect(OnnxModel(write(proto)), [x], ["y"])
    weight = numpy_helper.to_array(proto.graph.initializer[0])
    assert np.allclose(values["linear#1>relu"], np.maximum(x @ weight, 0).reshape(4, 2, 3))


# ---------------------------------------------------------------------------------- batch axis
def folded():
    """``t`` is time-major, ``f`` folds tokens into samples, ``s`` is one number for the batch."""
    nodes = [
        files.node("MatMul", ["x", "w"], ["m"]),
        files.node("Transpose", ["m"], ["t"], perm=[1, 0, 2]),
        files.node("Reshape", ["m", "rows"], ["f"]),
        files.node("ReduceSum", ["m"], ["s"], keepdims=0),
        files.node("Add", ["m", "s"], ["y"]),
    ]
    arrays = {**files.weights(w=(3, 2)), "rows": np.array([-1, 2], np.int64)}
    shape = ["n", 4, None]
    x = files.value("x", ["n", 4, 3])
    return files.model(nodes, [x], [files.value("y", shape)], arrays)


@pytest.mark.parametrize("n", [2, 4, 6])
@pytest.mark.parametrize("tensor", ["t", "f", "s"])
def test_a_value_without_an_entry_per_sample_is_refused(write, tensor, n):
    model = OnnxModel(write(folded()))
    x = np.zeros((n, 4, 3), np.float32)
    with pytest.raises(ModelError, match=r"not one entry per sample; leave it out, with --excl"):
        collect(model, [x], [tensor])


def test_a_survey_of_the_layers_finds_those_without_an_entry_per_sample(write):
    model = OnnxModel(write(folded()))
    found = {layer.name: layer.shape for layer in model.layers([np.ones((2, 4, 3), np.float32)])}
    assert list(found.values()) == [(4, 2), None, None, None, (4, 2)]
    assert any(note.startswith("3 of 5 layers do not have one entry") for note in model.notes)


def test_a_default_layer_without_an_entry_per_sample_is_left_out_and_noted(write):
    nodes = [
        files.node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        files.node("MatMul", ["t", "w"], ["m"]),
        files.node("Relu", ["m"], ["r"]),
        files.node("MatMul", ["r", "v"], ["o"]),
        files.node("ReduceMean", ["o"], ["y"], axes=[0], keepdims=0),
    ]
    proto = files.model(
        nodes,
        [files.value("x", ["n", 4, 3])],
        [files.value("y", ["n", 2])],
        files.weights(w=(3, 5), v=(5, 2)),
    )
    model = OnnxModel(write(proto))
    assert next(x.name for x in model.layers() if x.default) == "linear#1>relu"
    default = [x.name for x in model.layers([np.ones((2, 4, 3), np.float32)]) if x.default]
    assert default == ["linear#2>gap"]
    assert any("'linear#1>relu' is not measured by default" in note for note in model.notes)


def test_a_recurrent_state_has_its_samples_on_the_axis_that_is_free(write):
    nodes = [
        files.node("Gather", ["state", "zero"], ["s"], axis=0),
        files.node("Gemm", ["x", "w"], ["g"]),
        files.node("Add", ["g", "s"], ["a"]),
        files.node("Mul", ["a", "rate"], ["y"]),
    ]
    inputs = [
        files.value("x", [None, 4]),
        files.value("state", [2, None, 3]),
        files.value("rate", []),
    ]
    arrays = {**files.weights(w=(4, 3)), "zero": np.array(0, np.int64)}
    model = OnnxModel(write(files.model(nodes, inputs, [files.value("y", [None, 3])], arrays)))
    x, state = samples(6), np.random.default_rng(2).normal(size=(2, 6, 3)).astype(np.float32)
    values, _ = collect(model, [x, state, np.array(2.0)], ["y"])
    expected = 2 * (x @ arrays["w"] + state[0])
    assert np.allclose(values["linear#1>mul"], expected, atol=1e-6)


# --------------------------------------------------------------------------------------- types
def test_half_precision_becomes_float32(write):
    proto = onnx.load_from_string(files.mlp().SerializeToString())
    for tensor in proto.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for v in (*proto.graph.input, *proto.graph.output):
        v.type.tensor_type.elem_type = TensorProto.FLOAT16
    model, x = OnnxModel(write(proto)), samples()
    values, _ = collect(model, [x], ["h"])
    assert values["linear#1>relu"].dtype == np.float32
    assert np.allclose(values["linear#1>relu"], by_hand(proto, x)[0], atol=5e-3)


def test_double_precision_stays(write):
    proto = files.mlp()
    for tensor in proto.graph.initializer:
        double = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(double, tensor.name))
    for v in (*proto.graph.input, *proto.graph.output):
        v.type.tensor_type.elem_type = TensorProto.DOUBLE
    values, _ = collect(OnnxModel(write(proto)), [samples()], ["h"])
    assert values["linear#1>relu"].dtype == np.float64


def test_bfloat16_inputs_layers_and_outputs_become_float32(write):
    nodes = [
        files.node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        files.node("Gemm", ["f", "w"], ["g"]),
        files.node("Cast", ["g"], ["h"], to=TensorProto.BFLOAT16),
        files.node("Identity", ["h"], ["y"]),
    ]
    x, y = (files.value(k, ["n", 4], TensorProto.BFLOAT16) for k in "xy")
    model = OnnxModel(write(files.model(nodes, [x], [y], {"w": np.eye(4, dtype=np.float32)})))
    inputs = np.array([[1.0, 1 / 3, np.nan, -np.inf], [1.00390625, 0, 3e38, -0.1]], np.float32)
    values, outputs = collect(model, [inputs], ["h"])
    kept = inputs.view(np.uint32)
    exact = ((kept + 0x7FFF + ((kept >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    product = exact[1:] @ np.eye(4, dtype=np.float32)
    assert model.inputs[0].dtype == "bfloat16"
    assert outputs[0].dtype == np.float32
    assert np.array_equal(values["linear#1>cast"][1:], product)


def quantized(*, operator):
    """A linear layer with int8 weights: as QLinearMatMul, or between (de)quantisations."""
    rng = np.random.default_rng(3)
    arrays = {
        "xs": np.float32(0.05),
        "xz": np.uint8(128),
        "w": rng.integers(-127, 127, (4, 3)).astype(np.int8),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
        "ys": np.float32(0.1),
        "yz": np.uint8(100),
    }
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    quantize = files.node("QuantizeLinear", ["x", "xs", "xz"], ["q"])
    if operator:
        middle = [
            files.node("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["p"]),
            files.node("Reshape", ["p", "flat"], ["r"]),
        ]
        arrays["flat"] = np.array([0, -1], np.int64)
    else:
        middle = [
            files.node("DequantizeLinear", ["q", "xs", "xz"], ["xf"]),
            files.node("DequantizeLinear", ["w", "ws", "wz"], ["wf"]),
            files.node("MatMul", ["xf", "wf"], ["p"]),
            files.node("QuantizeLinear", ["p", "ys", "yz"], ["r"]),
        ]
    last = files.node("DequantizeLinear", ["r", "ys", "yz"], ["y"])
    inputs, outputs = [files.value("x", ["n", 4])], [files.value("y", ["n", 3])]
    return files.model([quantize, *middle, last], inputs, outputs, arrays)


@pytest.mark.parametrize("operator", [True, False], ids=["QOperator", "QDQ"])
def test_quantised_layers_are_the_real_numbers_they_stand_for(write, operator):
    model, x = OnnxModel(write(quantized(operator=operator))), samples()
    default = [layer.name for layer in model.layers() if layer.default]
    values, outputs = collect(model, [x], ["p", "r"])
    assert default == ["linear#1"]
    assert values["linear#1"].dtype == np.float32
    assert np.abs(values["linear#1"] - outputs[0]).max() <= 0.05 + 1e-6
    assert np.allclose(list(values.values())[1], outputs[0], atol=1e-6)


def test_integers_whose_scale_depends_on_the_data_are_no_layers(write):
    nodes = [
        files.node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        files.node("MatMulInteger", ["q", "w", "z"], ["m"]),
        files.node("Cast", ["m"], ["c"], to=TensorProto.FLOAT),
        files.node("Mul", ["c", "s"], ["y"]),
    ]
    arrays = {"w": np.arange(12, dtype=np.int8).reshape(4, 3)}
    proto = files.model(nodes, [files.value("x", ["n", 4])], [files.value("y", ["n", 3])], arrays)
    model = OnnxModel(write(proto))
    assert "q" not in {alias for layer in model.layers() for alias in layer.aliases}


def test_tokens_are_taken_in_any_integer_type_that_holds_them(write):
    nodes = [
        files.node("Gather", ["table", "ids"], ["e"]),
        files.node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        files.node("Gemm", ["m", "w"], ["y"]),
    ]
    proto = files.model(
        nodes,
        [files.value("ids", ["n", "t"], TensorProto.INT64)],
        [files.value("y", ["n", 2])],
        files.weights(table=(9, 4), w=(4, 2)),
    )
    model = OnnxModel(write(proto))
    ids = np.random.default_rng(0).integers(0, 9, (3, 5))
    values, _ = collect(model, [ids.astype(np.uint8)], ["e", "y"])
    table = numpy_helper.to_array(proto.graph.initializer[0])
    assert np.array_equal(values["embedding#1"], table[ids])
    with pytest.raises(ModelError, match="takes int64, float32 was given"):
        collect(model, [ids.astype(np.float32)], ["y"])


def test_outputs_that_are_maps_are_left_out_and_their_tensor_is_a_layer(shared):
    model, x = OnnxModel(shared / "models/onnx/iris-logreg-zipmap.onnx"), samples(3)
    layers = model.layers([x])
    default = [layer.name for layer in layers if layer.default]
    values, outputs = collect(model, [x], default)
    assert [layer.aliases[0] for layer in layers if layer.default] == ["probabilities"]
    assert np.allclose(values[default[0]].sum(axis=1), 1, atol=1e-5)
    assert [output.shape for output in outputs] == [(3,)]


# -------------------------------------------------------------------------------------- inputs
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], r"has 1 inputs \(x\), 0 were given"),
        ([np.zeros((2, 5), np.float32)], r"'x' takes shape \(\?, 4\), \(2, 5\) was given"),
        ([np.zeros((2, 4, 1), np.float32)], r"'x' takes shape"),
        ([np.array([["a"] * 4])], "takes float32"),
    ],
    ids=["none", "width", "rank", "text"],
)
def test_inputs_that_do_not_fit_are_refused(write, inputs, message):
    with pytest.raises(ModelError, match=message):
        collect(OnnxModel(write(files.mlp())), inputs, ["h"])


def test_inputs_with_different_numbers_of_samples_are_refused(write):
    nodes = [files.node("Gemm", ["x", "w"], ["g"]), files.node("Add", ["g", "z"], ["y"])]
    inputs = [files.value("x", ["n", 4]), files.value("z", ["n", 3])]
    proto = files.model(nodes, inputs, [files.value("y", ["n", 3])], files.weights(w=(4, 3)))
    with pytest.raises(ModelError, match="same number of samples, found x 5, z 4"):
        collect(OnnxModel(write(proto)), [samples(5), samples(4, 3)], ["y"])


# -------------------------------------------------------------------------------------- device
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tpu"])
def test_a_device_that_is_missing_is_never_replaced(write, device):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ModelError, match=f"device '{device}' was asked for"):
        OnnxModel(write(files.mlp()), device=device)


def test_a_path_may_be_text(write):
    assert OnnxModel(str(write(files.mlp()))).path == Path(write(files.mlp()))
