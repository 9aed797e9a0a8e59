"""The last linear layer: its weights as the file has them, and the features that it reads."""

import numpy as np
import onnx
import onnx_files as files
import pytest
import test_shared_models as checkpoints
import torch
import torch.nn.functional as F
import zoo
from onnx import TensorProto, numpy_helper
from onnx_files import node, value
from torch import nn

from entangle_cli.models.head import NoHead, Step, class_output, follow
from entangle_cli.models.head_check import EXACT, Claim, Named, verified
from entangle_cli.models.opening import open_model

RNG = np.random.default_rng(7)
WEIGHT = RNG.normal(size=(3, 8)).astype(np.float32)
BIAS = RNG.normal(size=3).astype(np.float32)
X = RNG.normal(size=(4, 8)).astype(np.float32)
FORMATS = ("trace", "script", "frozen-trace", "frozen-script", "onnx-legacy", "onnx-dynamo")


def read(model, name, example):
    """The values of one layer, flattened to rows, and the outputs."""
    taken = {}
    outputs = model.run(example, [name], lambda name, array: taken.update({name: array.copy()}))
    (rows,) = taken.values()
    return rows.reshape(len(rows), -1).astype(np.float64), outputs


def head_of(path, *example):
    model = open_model(path)
    head, reason = model.head_or_reason(example)
    assert (head is None) == bool(reason)
    assert head is not None, reason
    assert head.weight.dtype == head.bias.dtype == np.float64
    return model, head


def reason_of(path, *example):
    model = open_model(path)
    head, reason = model.head_or_reason(example)
    assert head is None
    assert model.head(example) is None
    assert "\n" not in reason
    return reason


# ------------------------------------------------------------------------- exported networks
def softmaxed():
    return nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3), nn.Softmax(1))


class NHWC(nn.Module):
    """The flattened features are in another order than the convolution's output."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 3, 3), nn.Linear(3 * 16, 4)

    def forward(self, x):
        return self.head(torch.flatten(self.conv(x).relu().permute(0, 2, 3, 1), 1))


class Plain(nn.Module):
    """A product and a sum of parameters, no module, trailing axes in the output."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(8, 5)
        self.weight = nn.Parameter(torch.randn(5, 3))
        self.shift = nn.Parameter(torch.randn(3))

    def forward(self, x):
        return (self.shift + torch.matmul(self.first(x).tanh(), self.weight))[:, :, None, None]


CASES = {
    case.name: case
    for case in (
        *(zoo.CASES[name] for name in ("cifar-resnet", "vit", "dict-output", "two-inputs")),
        zoo.Case("softmaxed", softmaxed, ((8,),)),
        zoo.Case("nhwc", NHWC, ((2, 6, 6),)),
        zoo.Case("plain", Plain, ((8,),)),
    )
}
# the features of named networks; flattening changes nothing, so the row before it is taken
FEATURES = {
    "cifar-resnet": "layer2.1>gap",
    "dict-output": "fc1>tanh",
    "two-inputs": "dense>concat",
    "softmaxed": "1",
}


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_weights_are_those_of_the_network_and_features_give_its_output(name, source, tmp_path):
    case = CASES[name]
    example = [x.numpy() for x in case.inputs()]
    model, head = head_of(zoo.save(case, source, tmp_path), *example)
    network = case.network()
    if name == "plain":
        weight, bias = network.weight.T, network.shift
    else:
        last = [m for m in network.modules() if isinstance(m, nn.Linear)][-1]
        weight, bias = last.weight, last.bias
    np.testing.assert_array_equal(head.weight, weight.numpy())
    np.testing.assert_array_equal(head.bias, bias.numpy())
    # more samples than the example had
    more = case.inputs(6)
    features, _ = read(model, head.features, [x.numpy() for x in more])
    logits = torch.from_numpy(features @ head.weight.T + head.bias)
    output = network(*more)
    output = next(iter(output.values())) if isinstance(output, dict) else output
    expected = output.double().reshape(6, -1)
    assert head.ends_in == ("probabilities" if name == "softmaxed" else "logits")
    found = logits.softmax(1) if name == "softmaxed" else logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    if name in FEATURES and not source.startswith("frozen"):
        assert head.features == FEATURES[name]
    assert head.layer in {layer.name for layer in model.layers(example)}


ENDINGS = {
    "softmax": (nn.Softmax(1), "probabilities"),
    "sigmoid": (nn.Sigmoid(), "probabilities"),
    "log-softmax": (nn.LogSoftmax(1), "log_probabilities"),
    "identity": (nn.Identity(), "logits"),
}


@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_follows_the_linear_layer_is_told(ending, source, tmp_path):
    last, expected = ENDINGS[ending]

    def build():
        return nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3), last)

    case = zoo.Case(ending, build, ((8,),))
    _, head = head_of(zoo.save(case, source, tmp_path), X)
    assert (head.ends_in, head.features, head.layer) == (expected, "1", "2")


class LogOfSoftmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, x):
        return torch.log(self.second(self.first(x).relu()).softmax(1))


class SpelledOut(LogOfSoftmax):
    def forward(self, x):
        logits = self.second(self.first(x).relu())
        top = torch.exp(logits - logits.amax(1, keepdim=True))
        return top / top.sum(1, keepdim=True)


@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
@pytest.mark.parametrize(
    ("build", "expected"), [(LogOfSoftmax, "log_probabilities"), (SpelledOut, "probabilities")]
)
def test_a_softmax_of_several_steps_is_seen(build, expected, source, tmp_path):
    path = zoo.save(zoo.Case(build.__name__, build, ((8,),)), source, tmp_path)
    _, head = head_of(path, X)
    assert (head.ends_in, head.features, head.layer) == (expected, "first>relu", "second")


@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
def test_a_convolution_over_all_of_its_input_is_a_linear_layer(source, tmp_path):
    def build():
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 5, 4), nn.Flatten())

    case = zoo.Case("conv-head", build, ((2, 6, 6),))
    _, head = head_of(zoo.save(case, source, tmp_path), case.inputs()[0].numpy())
    np.testing.assert_array_equal(head.weight, case.network()[2].weight.flatten(1).numpy())
    assert head.features == "1"


def test_looking_for_the_head_changes_neither_names_nor_notes(tmp_path):
    case = zoo.CASES["lenet"]
    example = [x.numpy() for x in case.inputs()]
    for source in ("trace", "onnx-legacy"):
        path = zoo.save(case, source, tmp_path)
        asked, untouched = open_model(path), open_model(path)
        asked.head(example)
        assert asked.layers(example) == untouched.layers(example)
        assert asked.notes == untouched.notes


# ------------------------------------------------------------------------- hand-written ONNX
def written(tmp_path, nodes, initializers, *, shape=(8,), output=(3,), batch="n", **options):
    """A file ``x -> Tanh -> h -> nodes -> y``."""
    proto = files.model(
        [node("Tanh", ["x"], ["h"]), *nodes],
        [value("x", [batch, *shape])],
        [value("y", [batch, *output])],
        initializers,
        **options,
    )
    return files.save(proto, tmp_path / "net.onnx")


def constant(name, array):
    return node("Constant", [], [name], value=numpy_helper.from_array(array))


MATMUL = node("MatMul", ["h", "w"], ["m"])
LINEAR = {
    "transposed": ([node("Gemm", ["h", "w", "b"], ["y"], transB=1)], {"w": WEIGHT, "b": BIAS}),
    "scaled": (
        [node("Gemm", ["h", "w", "b"], ["y"], alpha=0.5, beta=4.0)],
        {"w": 2 * WEIGHT.T, "b": BIAS / 4},
    ),
    "bias-right": ([MATMUL, node("Add", ["m", "b"], ["y"])], {"w": WEIGHT.T, "b": BIAS}),
    "bias-left": ([MATMUL, node("Add", ["b", "m"], ["y"])], {"w": WEIGHT.T, "b": BIAS}),
    "bias-node": (
        [constant("b", BIAS[None]), MATMUL, node("Add", ["m", "b"], ["y"])],
        {"w": WEIGHT.T},
    ),
    "two-biases": (
        [node("Gemm", ["h", "w", "b"], ["m"]), node("Add", ["m", "b"], ["y"])],
        {"w": WEIGHT.T, "b": BIAS / 2},
    ),
    "hidden": (
        [
            node("Identity", ["v"], ["v1"]),
            node("Reshape", ["v1", "size"], ["v2"]),
            node("Transpose", ["v2"], ["v3"], perm=[1, 0]),
            node("Cast", ["v3"], ["w"], to=TensorProto.FLOAT),
            constant("b", BIAS),
            node("Gemm", ["h", "w", "b"], ["y"]),
        ],
        {"v": WEIGHT.reshape(-1).astype(np.float64), "size": np.array([3, 8])},
    ),
    "left": (
        [
            node("Reshape", ["h", "column"], ["c"]),
            node("MatMul", ["w", "c"], ["m"]),
            node("Reshape", ["m", "row"], ["r"]),
            node("Add", ["r", "b"], ["y"]),
        ],
        {"w": WEIGHT, "b": BIAS, "column": np.array([-1, 8, 1]), "row": np.array([-1, 3])},
    ),
}


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("name", LINEAR)
def test_every_way_to_write_a_linear_layer_in_onnx(name, batch, tmp_path):
    nodes, arrays = LINEAR[name]
    model, head = head_of(written(tmp_path, nodes, arrays, batch=batch), X)
    np.testing.assert_allclose(head.weight, WEIGHT, rtol=1e-7)
    np.testing.assert_allclose(head.bias, BIAS, rtol=1e-7)
    features, outputs = read(model, head.features, [X])
    np.testing.assert_allclose(features, np.tanh(X), rtol=1e-6)
    np.testing.assert_allclose(outputs[0], np.tanh(X) @ WEIGHT.T + BIAS, rtol=1e-4, atol=1e-5)


def test_without_a_bias_it_is_zero(tmp_path):
    path = written(tmp_path, [node("MatMul", ["h", "w"], ["y"])], {"w": WEIGHT.T})
    _, head = head_of(path, X)
    np.testing.assert_array_equal(head.weight, WEIGHT)
    np.testing.assert_array_equal(head.bias, np.zeros(3))


def test_one_bias_for_all_classes(tmp_path):
    nodes = [MATMUL, node("Add", ["m", "b"], ["y"])]
    _, head = head_of(written(tmp_path, nodes, {"w": WEIGHT.T, "b": np.float32([0.5])}), X)
    np.testing.assert_array_equal(head.bias, np.full(3, 0.5))


def test_weights_beside_the_file(tmp_path):
    nodes = [node("Gemm", ["h", "w", "b"], ["y"], transB=1)]
    path = written(tmp_path, nodes, {"w": WEIGHT, "b": BIAS})
    onnx.save(
        onnx.load(path),
        tmp_path / "outside.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    _, head = head_of(tmp_path / "outside.onnx", X)
    np.testing.assert_array_equal(head.weight, WEIGHT)
    np.testing.assert_array_equal(head.bias, BIAS)


@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
def test_half_precision(source, tmp_path):
    case = zoo.Case("half", softmaxed, ((8,),), dtype=torch.float16)
    _, head = head_of(zoo.save(case, source, tmp_path), X.astype(np.float16))
    np.testing.assert_array_equal(head.weight, case.network()[2].weight.double().numpy())


def quantized(array, axis=None):
    """(integers, scale, zero point) of a symmetric int8 quantisation; scales along ``axis``."""
    others = None if axis is None else tuple(i for i in range(array.ndim) if i != axis)
    scale = np.abs(array).max(axis=others) / np.float32(127)
    spread = scale if axis is None else np.expand_dims(scale, others)
    return np.round(array / spread).astype(np.int8), np.float32(scale), np.zeros_like(scale, "i1")


def named(prefix, parts):
    return {f"{prefix}{end}": part for end, part in zip(("", "_s", "_z"), parts, strict=True)}


IN = {"h_s": np.float32(1 / 127), "h_z": np.int8(0)}
OUT = {"y_s": np.float32(0.04), "y_z": np.int8(3)}
QUANTIZE = node("QuantizeLinear", ["h", "h_s", "h_z"], ["hq"])
DEQUANTIZE = node("DequantizeLinear", ["yq", "y_s", "y_z"], ["y"])


def test_weights_that_are_dequantised(tmp_path):
    nodes = [
        node("DequantizeLinear", ["w", "w_s", "w_z"], ["real"], axis=0),
        node("Gemm", ["h", "real"], ["y"], transB=1),
    ]
    integers, scale, zero = quantized(WEIGHT, axis=0)
    arrays = named("w", (integers, scale, zero))
    _, head = head_of(written(tmp_path, nodes, arrays), X)
    np.testing.assert_allclose(head.weight, integers * scale[:, None].astype(float), rtol=1e-6)


@pytest.mark.parametrize("axis", [None, 1])
def test_a_product_of_integers(axis, tmp_path):
    operands = ["hq", "h_s", "h_z", "w", "w_s", "w_z", "y_s", "y_z"]
    nodes = [QUANTIZE, node("QLinearMatMul", operands, ["yq"]), DEQUANTIZE]
    integers, scale, zero = quantized(np.ascontiguousarray(WEIGHT.T), axis)
    path = written(tmp_path, nodes, IN | OUT | named("w", (integers, scale, zero)))
    model, head = head_of(path, X)
    np.testing.assert_allclose(head.weight, (integers * scale.astype(float)).T, rtol=1e-6)
    # what goes into the product is the rounded value, not the row before it
    features, _ = read(model, head.features, [X])
    np.testing.assert_allclose(features, np.round(np.tanh(X) * 127) / 127, atol=1e-6)


def test_an_integer_layer_with_a_bias(tmp_path):
    operands = ["hq", "h_s", "h_z", "w", "w_s", "w_z", "b", "y_s", "y_z"]
    gemm = node("QGemm", operands, ["yq"], transB=1, domain="com.microsoft")
    integers, scale, zero = quantized(WEIGHT)
    bias = np.round(BIAS / (IN["h_s"] * scale)).astype(np.int32)
    arrays = IN | OUT | named("w", (integers, scale, zero)) | {"b": bias}
    path = written(
        tmp_path, [QUANTIZE, gemm, DEQUANTIZE], arrays, domains=("com.microsoft",), opset=18
    )
    _, head = head_of(path, X)
    np.testing.assert_allclose(head.weight, integers * float(scale), rtol=1e-6)
    np.testing.assert_allclose(head.bias, bias * float(IN["h_s"]) * float(scale), rtol=1e-6)


# ---------------------------------------------------------------------------------- no head
NONE = {
    "activation-last": ([MATMUL, node("Relu", ["m"], ["y"])], "relu"),
    "scaled-after": ([MATMUL, node("Mul", ["m", "two"], ["y"])], "mul"),
    "two-activations": (
        [MATMUL, node("Sigmoid", ["m"], ["s"]), node("Softmax", ["s"], ["y"], axis=1)],
        "sigmoid and softmax",
    ),
    "sum-of-two": (
        [MATMUL, node("MatMul", ["h", "w"], ["m2"]), node("Add", ["m", "m2"], ["y"])],
        "'add' of 2 computed values",
    ),
    "product-of-two": (
        [
            MATMUL,
            node("Transpose", ["m"], ["t"], perm=[1, 0]),
            node("MatMul", ["t", "m"], ["k"]),
            node("MatMul", ["m", "k"], ["y"]),
        ],
        "'matmul' of 2 computed values",
    ),
    "product-with-itself": (
        [node("Reshape", ["h", "square"], ["s"]), node("MatMul", ["s", "s"], ["y"])],
        "computed from the input",
    ),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_linear_head_is_told_apart(name, tmp_path):
    nodes, reason = NONE[name]
    arrays = {"w": WEIGHT.T, "two": np.float32(2)}
    arrays["square"] = np.array([-1, 2])
    output = (2,) if name == "product-with-itself" else (3,)
    example = X[:1, :4] if name == "product-with-itself" else X
    path = written(tmp_path, nodes, arrays, shape=example.shape[1:], output=output)
    assert reason in reason_of(path, example)


def test_a_single_layer_reads_the_input_which_is_no_layer(tmp_path):
    gemm = node("Gemm", ["x", "w"], ["y"])
    proto = files.model([gemm], [value("x", ["n", 8])], [value("y", ["n", 3])], {"w": WEIGHT.T})
    path = files.save(proto, tmp_path / "net.onnx")
    assert "input of the last linear layer is not among the layers" in reason_of(path, X)
    case = zoo.Case("single", lambda: nn.Linear(8, 3), ((8,),))
    assert "not among the layers" in reason_of(zoo.save(case, "trace", tmp_path), X)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.finish(self.head(self.first(x).relu()))

    def finish(self, y):
        return y


class FirstToken(Tokens):
    def finish(self, y):
        return y[:, 0]


class AllTokens(Tokens):
    def finish(self, y):
        return y.flatten(1)


class MeanToken(Tokens):
    def finish(self, y):
        return y.mean(1)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 1)

    def forward(self, x):
        return F.softmax(self.conv(x).relu().mean((2, 3)), 1)


@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
@pytest.mark.parametrize(
    ("build", "shape", "reason"),
    [
        (Tokens, (6, 8), "no class-like output"),
        (FirstToken, (6, 8), "'slice'"),
        (AllTokens, (6, 8), "takes 5 numbers and gives 3"),
        (MeanToken, (6, 8), "'gap'"),
        (Squeeze, (2, 6, 6), "'gap'"),
    ],
)
def test_a_layer_on_tokens_or_positions_is_no_head(build, shape, reason, source, tmp_path):
    case = zoo.Case(build.__name__, build, (shape,))
    assert reason in reason_of(zoo.save(case, source, tmp_path), case.inputs()[0].numpy())


class InputAsWeight(nn.Module):
    """The input takes the place of a weight, or of the bias."""

    def __init__(self, *, bias: bool):
        super().__init__()
        self.bias = bias
        self.rows, self.columns = nn.Parameter(torch.randn(4, 8)), nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        if self.bias:
            return torch.addmm(x.tanh(), self.rows, self.columns)
        return F.linear(self.rows, x.tanh(), self.rows[0, :4])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
def test_an_input_in_the_place_of_a_weight_is_no_head(bias, source, tmp_path):
    case = zoo.Case("swapped", lambda: InputAsWeight(bias=bias), ((8,),))
    assert reason_of(zoo.save(case, source, tmp_path), X)


@pytest.mark.parametrize("source", ["trace", "onnx-legacy"])
def test_an_example_that_does_not_fit_is_a_reason(source, tmp_path):
    case = zoo.Case("softmaxed", softmaxed, ((8,),))
    assert reason_of(zoo.save(case, source, tmp_path), np.zeros((2, 5), np.float32))


def claim_of(tmp_path, weight):
    """A model ``y = softmax(100 h W)`` and a claim that its weight is ``weight``."""
    nodes = [MATMUL, node("Softmax", ["m"], ["y"], axis=1)]
    model = open_model(written(tmp_path, nodes, {"w": 100 * WEIGHT.T}))
    steps = {"y": Step("softmax", ("m",)), "m": Step("matmul", ("h",))}
    layers = {layer.aliases[0]: Named(layer.name, layer.default) for layer in model.layers([X])}
    return model, Claim(follow(steps, "y"), 100 * weight.astype(float), (), EXACT), layers


def test_the_check_finds_a_wrong_weight_behind_a_saturated_softmax(tmp_path):
    model, right, layers = claim_of(tmp_path, WEIGHT)
    assert verified(model, right, layers, [X]).ends_in == "probabilities"
    model, wrong, layers = claim_of(tmp_path, 1.01 * WEIGHT)
    with pytest.raises(NoHead, match="does not reproduce"):
        verified(model, wrong, layers, [X])


def test_class_scores_are_the_first_fitting_output():
    integers, scalar, scores = np.zeros((4, 3), int), np.zeros((4, 1)), np.zeros((4, 3, 1, 1))
    assert class_output([integers, scalar, scores, np.zeros((4, 2))]) == 2
    with pytest.raises(NoHead):
        class_output([integers, scalar, np.zeros((4, 3, 2))])


# ------------------------------------------------------------------ quantised, optimised torch
class Quantizable(nn.Module):
    def __init__(self, last=nn.Identity):
        super().__init__()
        self.before, self.after = torch.ao.quantization.QuantStub(), nn.Identity()
        self.first, self.relu, self.second = nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)
        self.last, self.after = last(), torch.ao.quantization.DeQuantStub()

    def forward(self, x):
        return self.after(self.last(self.second(self.relu(self.first(self.before(x))))))


def static(last=nn.Identity, fused=()):
    """A network with packed weights and quantised values between its layers."""
    network = Quantizable(last).eval()
    torch.backends.quantized.engine = "fbgemm"
    network.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
    if fused:
        network = torch.ao.quantization.fuse_modules(network, [list(fused)])
    prepared = torch.ao.quantization.prepare(network)
    prepared(torch.from_numpy(X))
    return torch.ao.quantization.convert(prepared)


def saved_script(network, path, *, frozen=False, optimized=False):
    module = torch.jit.trace(network, torch.from_numpy(X))
    module = torch.jit.freeze(module) if frozen else module
    module = torch.jit.optimize_for_inference(module) if optimized else module
    torch.jit.save(module, str(path))
    return path


needs_fbgemm = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="torch without fbgemm"
)


@needs_fbgemm
@pytest.mark.parametrize("frozen", [False, True])
def test_packed_weights_are_unpacked(frozen, tmp_path):
    with zoo.silence(), torch.random.fork_rng():
        torch.manual_seed(0)
        network = static()
        path = saved_script(network, tmp_path / "static.pt", frozen=frozen)
    model, head = head_of(path, X)
    weight = network.second.weight().dequantize().double().numpy()
    np.testing.assert_allclose(head.weight, weight, rtol=1e-6)
    np.testing.assert_array_equal(head.bias, network.second.bias().detach().double().numpy())
    features, outputs = read(model, head.features, [X])
    step = network.second.scale
    assert np.abs(features @ head.weight.T + head.bias - outputs[0]).max() <= 0.51 * step


@needs_fbgemm
def test_weights_quantised_for_each_batch(tmp_path):
    with zoo.silence(), torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
        network = torch.ao.quantization.quantize_dynamic(network, {nn.Linear})
        path = saved_script(network, tmp_path / "dynamic.pt")
    _, head = head_of(path, X)
    weight = network[2].weight().dequantize().double().numpy()
    np.testing.assert_allclose(head.weight, weight, rtol=1e-6)
    assert (head.features, head.layer) == ("1", "2")


@needs_fbgemm
def test_a_packed_layer_with_an_activation_inside_is_no_head(tmp_path):
    with zoo.silence(), torch.random.fork_rng():
        torch.manual_seed(0)
        network = static(nn.ReLU, fused=("second", "last"))
        path = saved_script(network, tmp_path / "relu.pt")
    assert "quantized::linear_relu" in reason_of(path, X)


def test_an_optimised_file_has_a_product_and_a_sum(tmp_path):
    network = softmaxed().eval().requires_grad_(False)
    with zoo.silence():
        path = saved_script(network, tmp_path / "fast.pt", optimized=True)
    _, head = head_of(path, X)
    np.testing.assert_array_equal(head.weight, network[2].weight.numpy())
    np.testing.assert_array_equal(head.bias, network[2].bias.numpy())


class Scaled(Plain):
    def forward(self, x):
        features = self.first(x).tanh()
        rows = torch.addmm(self.shift, features, self.weight, beta=2, alpha=3)
        return torch.add(rows, self.shift, alpha=0.5) + 1.0


@pytest.mark.parametrize("source", ["trace", "script", "onnx-legacy"])
def test_factors_of_products_and_sums_count(source, tmp_path):
    case = zoo.Case("scaled", Scaled, ((8,),))
    network = case.network()
    _, head = head_of(zoo.save(case, source, tmp_path), X)
    np.testing.assert_allclose(head.weight, 3 * network.weight.T.double().numpy(), rtol=1e-7)
    expected = 2.5 * network.shift.double().numpy() + 1
    np.testing.assert_allclose(head.bias, expected, rtol=1e-6, atol=1e-7)


def test_active_dropout_is_read_where_it_has_happened(tmp_path):
    network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)).train()
    with zoo.silence():
        path = saved_script(network, tmp_path / "random.pt")
    _, head = head_of(path, X)
    assert head.features == "2"


# ----------------------------------------------------------------------- other people's files
LOGITS, PROBABILITIES, LOGS = "logits", "probabilities", "log_probabilities"
SHARED = {
    "onnx/mnist-cntk-op8.onnx": ("conv#2>maxpool", (10, 256), LOGITS),
    "onnx/mnist-fc-256x4.onnx": ("linear#4>relu", (10, 256), LOGITS),
    "onnx/mnist-extdata/mnist.onnx": ("relu", (10, 21632), LOGITS),
    "onnx/fashion-cnn-two-outputs.onnx": ("linear#1>relu", (10, 256), LOGS),
    "onnx/cifar10-resnet4b.onnx": ("linear#1>relu", (10, 100), LOGITS),
    "onnx/cifar10-marabou-large-nhwc.onnx": ("linear#2>relu", (10, 64), LOGITS),
    "onnx/cifar10-tinycnn-fp32.onnx": ("conv#13>gap", (10, 128), LOGITS),
    "onnx/cifar10-tinycnn-int8-qlinear.onnx": ("conv#13>quantize", (10, 128), LOGITS),
    "onnx/cifar10-winml-resize.onnx": ("conv#1>resize", (10, 1200), LOGITS),
    "onnx/imagenet-light-resnet50-constant.onnx": ("conv#53>avgpool", (1000, 2048), PROBABILITIES),
    "onnx/magika-v3.3-bytes-int32.onnx": ("conv#1>add", (214, 512), PROBABILITIES),
    "torchscript/imagenet-mobilenetv2-quantized.pt": ("conv#52>reshape", (1000, 1280), LOGITS),
    "torchscript/reddit-bytelstm-int.pt": ("linear#1>relu", (16, 64), PROBABILITIES),
    "onnx/imagenet-squeezenet-fp16.onnx": "'gap'",
    "onnx/iris-logreg-zipmap.onnx": "no class-like output",
    "onnx/bert-dummy-int64x3.onnx": "no class-like output",
    "onnx/silero-vad-if-state.onnx": "no class-like output",
    "torchscript/sparse-dict-io.pt": "'concat'",
}


@pytest.mark.parametrize("name", SHARED)
def test_the_heads_of_shared_models(name, shared):
    path = shared / "models" / name
    if not path.exists():
        pytest.skip(f"no {name} here")
    expectation = checkpoints.FILES[name]
    example = expectation.inputs(expectation.n)
    if isinstance(SHARED[name], str):
        assert SHARED[name] in reason_of(path, *example)
        return
    _, head = head_of(path, *example)
    assert (head.features, head.weight.shape, head.ends_in) == SHARED[name]
