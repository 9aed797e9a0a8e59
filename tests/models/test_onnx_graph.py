"""Static ONNX graphs as op lists: what is data, what is a weight, which module does what."""

import numpy as np
import onnx
import onnx_files as files
import pytest

from entangle_cli.models.onnx.file import read_file
from entangle_cli.models.onnx.scopes import Visit, merge_repeats, module_paths, number_calls
from entangle_cli.models.selection import name_layers

X, Y = files.value("x", ["n", 4]), files.value("y", ["n", 4])
SQUARE = files.weights(w=(4, 4))["w"]


@pytest.fixture
def names(tmp_path):
    """The layer names of some nodes from ``x`` to ``y``, the default ones starred."""

    def read(nodes, arrays=None, inputs=(X,), outputs=(Y,), **options):
        proto = files.model(nodes, list(inputs), list(outputs), arrays or {"w": SQUARE}, **options)
        file = read_file(files.save(proto, tmp_path / "net.onnx"))
        return [layer.name + "*" * layer.default for layer in name_layers(file.network)]

    return read


def scoped(kind, ins, outs, scopes, **attributes):
    """A node as the dynamo exporter labels it."""
    made = files.node(kind, ins, outs, **attributes)
    entry = made.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", repr(["", *scopes, outs[0]])
    return made


# ----------------------------------------------------------------------------- data and weights
def test_what_is_computed_from_shapes_is_no_layer(names):
    nodes = [
        files.node("Shape", ["x"], ["s"]),
        files.node("Gather", ["s", "zero"], ["n"]),
        files.node("Unsqueeze", ["n", "front"], ["u"]),
        files.node("Concat", ["u", "rest"], ["shape"], axis=0),
        files.node("Gemm", ["x", "w"], ["g"]),
        files.node("Reshape", ["g", "shape"], ["y"]),
    ]
    arrays = {
        "w": SQUARE,
        "zero": np.array(0, np.int64),
        "front": np.array([0], np.int64),
        "rest": np.array([4], np.int64),
    }
    assert names(nodes, arrays) == ["linear#1*", "linear#1>reshape"]


@pytest.mark.parametrize("source", ["reshaped", "filled", "constant", "transposed"])
def test_weights_that_are_made_in_the_graph_are_weights(names, source):
    shape = np.array([4, 4], np.int64)
    make = {
        "reshaped": files.node("Reshape", ["flat", "shape"], ["v"]),
        "filled": files.node("ConstantOfShape", ["shape"], ["v"]),
        "constant": files.node("Constant", [], ["v"], value=onnx.numpy_helper.from_array(SQUARE)),
        "transposed": files.node("Transpose", ["w"], ["v"]),
    }[source]
    arrays = {"flat": SQUARE.ravel(), "shape": shape, "w": SQUARE}
    assert names([make, files.node("MatMul", ["x", "v"], ["y"])], arrays) == ["linear#1*"]


def test_a_product_of_two_data_values_carries_no_weights(names):
    nodes = [
        files.node("Gemm", ["x", "w"], ["g"]),
        files.node("MatMul", ["g", "x"], ["m"]),
        files.node("Relu", ["m"], ["y"]),
    ]
    assert names(nodes) == ["linear#1", "linear#1>matmul", "linear#1>relu*"]


def test_branches_count_as_one_operation_that_reads_what_they_read(names):
    def branch(kind):
        made = [files.node("Gemm", ["a", "w"], ["r"]), files.node(kind, ["r"], ["o"])]
        return onnx.helper.make_graph(made, kind, [], [files.value("o", ["n", 4])])

    nodes = [
        files.node("Neg", ["x"], ["a"]),
        files.node("ReduceSum", ["x"], ["s"], keepdims=0),
        files.node("Cast", ["s"], ["c"], to=onnx.TensorProto.BOOL),
        files.node("If", ["c"], ["b"], then_branch=branch("Relu"), else_branch=branch("Tanh")),
        files.node("Gemm", ["b", "w"], ["y"]),
    ]
    found = names(nodes)
    assert found[:3] == ["input>neg", "input>sum", "input>cast"]
    assert found[3:] == ["if#1*", "linear#1*"]


def test_scores_go_before_labels_when_the_main_output_is_chosen(names):
    nodes = [
        files.node("Gemm", ["x", "w"], ["y"]),
        files.node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    label = files.value("label", ["n"], onnx.TensorProto.INT64)
    assert names(nodes, outputs=[label, Y]) == ["linear#1*", "linear#1>argmax"]


def test_seven_hundred_nodes_and_three_thousand_are_named(names):
    for count in (700, 3000):
        nodes = [
            files.node("Gemm" if i % 3 == 0 else "Relu", [f"t{i}", *["w"] * (i % 3 == 0)],
                       [f"t{i + 1}"])
            for i in range(count)
        ]  # fmt: skip
        nodes[0].input[0], nodes[-1].output[0] = "x", "y"
        found = names(nodes)
        assert len(set(found)) == count
        assert sum(name.endswith("*") for name in found) == 20


# --------------------------------------------------------------------------------------- scopes
@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("/conv1/Conv", ["conv1"]),
        ("/Relu_1", []),
        ("/layer1/layer1.0/conv1/Conv", ["layer1", "layer1.0", "layer1.0.conv1"]),
        ("/a/b/b.0/b.0.1/Relu", ["a", "a.b", "a.b.0", "a.b.0.1"]),
        ("gpu_0/conv1", []),
        ("", []),
    ],
)
def test_slashes_in_a_node_name_are_module_paths(name, paths):
    assert module_paths(files.node("Relu", ["x"], ["y"], name)) == paths


def test_metadata_scopes_win_over_the_name_and_nonsense_is_ignored():
    node = scoped("Relu", ["x"], ["y"], ["layer1", "layer1.0"], name="/other/Relu")
    assert module_paths(node) == ["layer1", "layer1.0"]
    node.metadata_props[0].value = "no list ["
    assert module_paths(node) == ["other"]


def visits(*entries):
    return [Visit(path.split("/") if path else [], weight) for path, weight in entries]


def test_numbered_paths_are_further_calls_unless_they_own_weights():
    found = visits(
        ("block/block.lin", ("block.lin.weight", "linear")),
        ("block_1/block_1.lin", ("block.lin.weight", "linear")),
        ("fc", ("fc.weight", "linear")),
        ("fc_1", ("fc_1.weight", "linear")),
        ("fc_2", ("onnx::MatMul_7", "linear")),
        ("act_3", None),
    )
    merge_repeats(found, ["block.lin.weight", "fc.weight", "fc_1.weight"])
    assert [v.paths[-1] for v in found] == [
        *("block.lin", "block.lin", "fc", "fc_1", "fc_2", "act_3"),
    ]


def test_paths_that_an_exporter_gives_exactly_are_never_merged():
    found = [Visit(["relu"], exact=True), Visit(["relu_1"], exact=True)]
    merge_repeats(found, [])
    assert [v.paths for v in found] == [["relu"], ["relu_1"]]


def occurrences(*entries):
    return [scope[0][1] if scope else None for scope in number_calls(visits(*entries))]


def test_the_first_weight_used_again_is_another_call():
    lin, out = ("lin.weight", "linear"), ("out.weight", "linear")
    assert occurrences(("b", lin), ("b", None), ("b", out), ("b", lin), ("b", out)) == [
        *(0, 0, 0, 1, 1)
    ]


def test_a_module_without_weights_is_called_whenever_it_is_entered():
    lin = ("lin.weight", "linear")
    assert occurrences(("act", None), ("lin", lin), ("act", None), ("act", None)) == [0, 0, 1, 1]


def test_work_scheduled_in_between_is_no_further_call():
    lin = ("lin.weight", "linear")
    entries = (("b", None), ("a", ("a.weight", "linear")), ("b", lin), ("a", None), ("", None))
    assert occurrences(*entries, ("b", None)) == [0, 0, 0, 0, None, 0]


def test_equal_weights_of_different_modules_stored_once_are_no_further_call():
    lin = ("blocks.0.weight", "linear")
    entries = [(f"blocks/blocks.{i}", lin) for i in range(3)]
    assert occurrences(*entries) == [0, 0, 0]


def test_a_tied_weight_used_by_another_kind_of_operation_is_no_further_call():
    table = "embed.weight"
    assert occurrences(("net", (table, "embedding")), ("net", (table, "linear"))) == [0, 0]


# ------------------------------------------------------------------------ folded normalisation
def test_a_normalisation_folded_by_the_dynamo_exporter_keeps_its_own_name(names):
    weight = np.zeros((4, 4, 1, 1), np.float32)
    nodes = [
        scoped("Conv", ["x", "stem.conv.weight"], ["a"], ["stem", "stem.bn"]),
        scoped("Relu", ["a"], ["b"], []),
        scoped("Conv", ["b", "head.weight"], ["y"], ["head"]),
    ]
    entry = nodes[0].metadata_props[0]
    entry.value = repr(["", "stem", "stem.bn", "_native_batch_norm_legit_no_training"])
    image = [files.value(k, ["n", 4, 1, 1]) for k in "xy"]
    arrays = {"stem.conv.weight": weight, "head.weight": weight}
    found = names(nodes, arrays, image[:1], image[1:])
    # `stem.conv` itself is not in the file: only its normalised result is
    assert found == ["stem.bn", "stem.conv>relu*", "head*"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("conv1", "conv1>bn*"), ("net/net.0", "net.1*"), ("0", "1*")],
)
def test_a_normalisation_folded_by_the_torchscript_exporter_is_inferred(names, path, name):
    weight, bias = np.zeros((4, 4, 1, 1), np.float32), np.zeros(4, np.float32)
    last = "/net/net.2/Conv" if "/" in path else "/head/Conv"
    nodes = [
        files.node("Conv", ["x", "onnx::Conv_3", "onnx::Conv_4"], ["a"], f"/{path}/Conv"),
        files.node("Conv", ["a", "w"], ["y"], last),
    ]
    image = [files.value(k, ["n", 4, 1, 1]) for k in "xy"]
    arrays = {"onnx::Conv_3": weight, "onnx::Conv_4": bias, "w": weight}
    assert names(nodes, arrays, image[:1], image[1:])[0] == name


# --------------------------------------------------------------------------------------- idioms
def gelu(order):
    """x/2 (1 + erf(x / sqrt 2)) with the half in three places."""
    erf = [
        files.node("Div", ["g", "root"], ["d"]),
        files.node("Erf", ["d"], ["e"]),
        files.node("Add", ["e", "one"], ["a"]),
    ]

    def mul(a, b, out):
        return files.node("Mul", [a, b], [out])

    return {
        "last": [*erf, mul("g", "a", "m"), mul("m", "half", "y")],
        "first": [mul("g", "half", "h"), *erf, mul("h", "a", "y")],
        "between": [*erf, mul("a", "half", "m"), mul("g", "m", "y")],
    }[order]


@pytest.mark.parametrize("order", ["last", "first", "between"])
def test_a_spelled_out_gelu_is_a_gelu(names, order):
    numbers = {"root": 2**0.5, "one": 1.0, "half": 0.5}
    arrays = {"w": SQUARE, **{k: np.array(v, np.float32) for k, v in numbers.items()}}
    found = names([files.node("Gemm", ["x", "w"], ["g"]), *gelu(order)], arrays)
    assert found[-1] == "linear#1>gelu*"
    assert sum("gelu" in name for name in found) == 1


@pytest.mark.parametrize(
    ("gates", "kind"),
    [(["Sigmoid"], "silu"), (["HardSigmoid"], "hardswish"), (["Softplus", "Tanh"], "mish")],
)
def test_a_value_times_its_own_gate_is_that_activation(names, gates, kind):
    nodes = [files.node("Gemm", ["x", "w"], ["g0"])]
    for i, gate in enumerate(gates):
        nodes.append(files.node(gate, [f"g{i}"], [f"g{i + 1}"]))
    nodes.append(files.node("Mul", ["g0", f"g{len(gates)}"], ["y"]))
    assert names(nodes)[-1] == f"linear#1>{kind}*"


def test_another_value_times_a_gate_stays_a_product(names):
    nodes = [
        files.node("Gemm", ["x", "w"], ["g"]),
        files.node("Neg", ["g"], ["m"]),
        files.node("Sigmoid", ["g"], ["s"]),
        files.node("Mul", ["m", "s"], ["y"]),
    ]
    assert names(nodes)[-1] == "linear#1>mul*"
