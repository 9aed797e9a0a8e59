"""The naming rule on hand-written op lists, where every case can be followed by eye."""

from itertools import pairwise

import pytest

from entangle_cli.models.kinds import SHAPE_ONLY, WEIGHTED, canonical
from entangle_cli.models.oplist import Op, OpList
from entangle_cli.models.selection import name_layers


class Net:
    """Writes an op list: ``call(kind, inputs, scope)`` returns the new value."""

    def __init__(self, inputs=1):
        self.network = OpList(inputs=list(range(inputs)))
        self.count = inputs

    def __call__(self, kind, ins=None, scope="", *, outs=1, weighted=None, hidden=False):
        ins = self.last if ins is None else ins
        ins = (ins,) if isinstance(ins, int) else tuple(ins)
        made = tuple(range(self.count, self.count + outs))
        self.count += outs
        weighted = kind in WEIGHTED if weighted is None else weighted
        self.network.ops.append(Op(kind, ins, made, frames(scope), weighted))
        if not hidden:
            self.network.source.update((v, f"t{v}") for v in made)
        self.last = made[0]
        return made[0] if outs == 1 else made

    def finish(self, *outputs):
        """Set the outputs and the exits: a value leaves a call that a reader is not in."""
        network = self.network
        network.outputs = list(outputs or [self.last])
        for op in network.ops:
            for value in op.outs:
                readers = [set(other.scope) for other in network.ops if value in other.ins]
                for frame in reversed(op.scope):
                    if value in network.outputs or any(frame not in r for r in readers):
                        network.exits[value].append(frame)
        return network


def frames(scope):
    """``a.b:1`` written as ``a/a.b:1``: module paths outermost first, with occurrences."""
    parts = [part.partition(":") for part in scope.split("/") if part]
    return tuple((path, int(k or 0)) for path, _, k in parts)


def default(network, notes=None):
    return [layer.name for layer in name_layers(network, notes) if layer.default]


def names(network):
    return [layer.name for layer in name_layers(network)]


def test_a_stretch_ends_after_activation_and_pooling():
    net = Net()
    net("conv", 0, "conv1")
    net("relu")
    net("maxpool")
    net("reshape")
    net("linear", scope="fc")
    assert names(net.finish()) == [
        *("conv1", "conv1>relu", "conv1>maxpool", "conv1>reshape", "fc"),
    ]
    assert default(net.network) == ["conv1>maxpool", "fc"]


def test_modules_without_weights_name_their_results():
    net = Net()
    net("conv", 0, "features/features.0")
    net("bn", scope="features/features.1")
    net("relu", scope="features/features.2")
    net("conv", scope="features/features.3")
    net("linear", scope="head")
    assert default(net.finish()) == ["features.2", "features.3", "head"]


def test_a_composite_with_one_row_that_is_its_result_gives_its_name():
    net = Net()
    net("conv", 0, "stem/stem.0")
    net("relu", scope="stem/stem.1")
    net("linear", scope="head/head.0")
    net("linear", scope="head/head.1")
    assert default(net.finish()) == ["stem", "head.0", "head.1"]


def test_a_dropout_names_nothing_and_ends_no_stretch():
    net = Net()
    net("linear", 0, "fc1")
    net("relu")
    net("dropout", scope="drop")
    net("linear", scope="fc2")
    assert default(net.finish()) == ["fc1>relu", "fc2"]
    assert names(net.network)[2] == "drop"


def test_a_module_with_two_matrices_of_its_own_is_one_row():
    net = Net()
    net("linear", 0, "pair")
    net("relu", None, "pair")
    net("linear", None, "pair")
    net("linear", None, "fc")
    assert default(net.finish()) == ["pair", "fc"]
    assert names(net.network) == ["pair>linear", "pair>relu", "pair", "fc"]


def residual(net, name, source, occurrence=""):
    first = net("conv", source, f"{name}{occurrence}/{name}.conv1{occurrence}")
    second = net("conv", first, f"{name}{occurrence}/{name}.conv2{occurrence}")
    total = net("add", (second, source), f"{name}{occurrence}")
    return net("relu", total, f"{name}{occurrence}")


def test_a_residual_block_is_one_row():
    net = Net()
    x = net("conv", 0, "stem")
    x = residual(net, "block", x)
    net("gap", x)
    net("reshape")
    net("linear", scope="fc")
    assert default(net.finish()) == ["stem", "block", "block>gap", "fc"]
    assert "block.conv2>add" in names(net.network)


def test_a_module_called_again_has_its_count():
    net = Net()
    x = net("conv", 0, "stem")
    x = residual(net, "block", x)
    x = residual(net, "block", x, ":1")
    net("linear", x, "fc")
    layers = name_layers(net.finish())
    assert [x.name for x in layers if x.default] == ["stem", "block", "block:1", "fc"]
    assert "block_1" in next(x.aliases for x in layers if x.name == "block:1")


def test_straight_siblings_of_a_block_are_rows_too():
    net = Net()
    x = net("conv", 0, "stem")
    net("conv", x, "f.0/f.0.a")
    x = net("conv", None, "f.0/f.0.b")
    a = net("conv", x, "f.1/f.1.a")
    net("add", (a, x), "f.1")
    net("linear", None, "fc")
    assert default(net.finish()) == ["stem", "f.0", "f.1", "fc"]


def test_a_branching_activation_without_weights_is_no_block():
    net = Net()
    x = net("conv", 0, "conv1")
    gate = net("clip", x, "act/act.relu6")
    net("mul", (x, gate), "act")
    net("linear", None, "fc")
    assert default(net.finish()) == ["act", "fc"]


def test_what_leads_elsewhere_is_never_a_row():
    net = Net(inputs=2)
    net("cast", 1)
    mask = net("mul", net.last)
    x = net("linear", 0, "fc1")
    net("linear", x, "aux")
    side = net("relu", net.last)
    x = net("add", (x, mask))
    main = net("linear", x, "fc2")
    assert default(net.finish(main, side)) == ["fc1>add", "fc2"]
    assert names(net.network)[:2] == ["input>cast", "input>mul"]
    assert "aux>relu" in names(net.network)


def test_without_scopes_operations_with_weights_are_counted():
    net = Net()
    net("conv", 0)
    net("relu")
    net("conv")
    net("matmul")
    net("add")
    assert names(net.finish()) == [
        *("conv#1", "conv#1>relu", "conv#2", "linear#1", "linear#1>add"),
    ]
    assert default(net.network) == ["conv#1>relu", "conv#2", "linear#1>add"]


def test_without_scopes_rows_are_where_all_flow_passes_through_one_value():
    net = Net()
    x = net("conv", 0)
    for _ in range(2):
        a = net("relu", net("conv", x))
        b = net("conv", a)
        x = net("relu", net("add", (b, x)))
    net("linear", net("gap", x))
    assert default(net.finish()) == ["conv#1", "conv#3>relu", "conv#5>gap", "linear#1"]


def test_two_embeddings_of_one_input_are_one_stretch_without_scopes():
    net = Net(inputs=2)
    word, place = net("embedding", 0), net("embedding", 1)
    net("add", (word, place))
    net("linear")
    assert default(net.finish()) == ["embedding#2>add", "linear#1"]


def test_a_network_without_weights_has_its_output_as_the_only_row():
    net = Net()
    net("mul", 0)
    net("relu")
    assert default(net.finish()) == ["input>relu"]


def test_several_results_of_one_module_are_counted_in_brackets():
    net = Net()
    net("embedding", 0, "embed")
    out, hidden, cell = net("rnn", None, "lstm", outs=3)
    net("linear", out, "fc")
    scores = net.last
    assert names(net.finish(scores, hidden, cell)) == ["embed", "lstm", "lstm[1]", "lstm[2]", "fc"]
    assert default(net.network) == ["embed", "lstm", "fc"]


def test_the_result_that_is_used_is_the_row():
    net = Net()
    net("embedding", 0, "embed")
    _, hidden, _ = net("rnn", None, "lstm", outs=3)
    net("linear", hidden, "fc")
    layers = name_layers(net.finish())
    assert [x.value for x in layers if x.name == "lstm"] == [hidden]


def test_values_that_the_source_cannot_read_have_no_name():
    net = Net()
    net("conv", 0, "conv1", hidden=True)
    net("bn", scope="bn1")
    assert names(net.finish()) == ["bn1"]


def test_equal_functional_results_are_told_apart_and_the_row_has_the_plain_name():
    net = Net()
    net("linear", 0, "fc1")
    net("relu")
    net("relu")
    net("linear", scope="fc2")
    assert names(net.finish()) == ["fc1", "fc1>relu:1", "fc1>relu", "fc2"]
    assert default(net.network) == ["fc1>relu", "fc2"]


def stack(count, functional=""):
    net = Net()
    net("conv", 0, "stem")
    for i in range(count):
        net("linear", None, f"layers.{i}")
        if functional:
            net(functional)
    net("linear", None, "head")
    return net.finish()


def test_at_most_twenty_rows_the_longest_family_thinned_evenly():
    notes = []
    chosen = default(stack(40), notes)
    assert len(chosen) == 20
    assert chosen[0] == "stem"
    assert chosen[1] == "layers.0"
    assert chosen[-2:] == ["layers.39", "head"]
    steps = [int(name.partition(".")[2]) for name in chosen[1:-1]]
    assert {b - a for a, b in pairwise(steps)} == {2, 3}
    assert notes == ["20 of 42 default layers; --layers takes any others"]


def test_twenty_rows_are_not_thinned():
    notes = []
    assert len(default(stack(18), notes)) == 20
    assert notes == []


def test_small_functional_rows_go_first():
    net = Net()
    net("conv", 0, "stem")
    for i in range(18):
        net("linear", None, f"layers.{i}")
    net("ln")
    net("linear", None, "neck")
    net("linear", None, "head")
    assert default(net.finish()) == ["stem", *(f"layers.{i}" for i in range(17)), "neck", "head"]


def test_residual_sums_are_not_small():
    net = Net()
    last = net("conv", 0)
    for _ in range(10):
        net("conv", last)
        net("conv")
        last = net("add", (last, net.last))
        net("conv")
        last = net("conv")
    net("add")
    net("linear")
    chosen = default(net.finish())
    assert len(chosen) == 20
    assert [name for name in chosen if ">add" in name] == [
        f"conv#{4 * i + 3}>add" for i in range(10)
    ]
    assert chosen[0] == "conv#1"
    assert chosen[-1] == "linear#1"


def test_small_functional_rows_stay_where_they_are_most_of_the_network():
    chosen = default(stack(30, "ln"))
    assert len(chosen) == 20
    assert chosen[1:3] == ["layers.0>ln", "layers.2>ln"]


def test_many_small_families_are_thinned_evenly():
    net = Net()
    words = [f"{a}{b}" for a in "abcdef" for b in "ghijkl"]
    for i, word in enumerate(words):
        net("linear", 0 if i == 0 else None, word)
    chosen = default(net.finish())
    assert len(chosen) == 20
    assert chosen[0] == words[0]
    assert chosen[-1] == words[-1]


@pytest.mark.parametrize("network", [OpList(), OpList(inputs=[0], outputs=[0])], ids=["no", "in"])
def test_an_empty_network_has_no_layers(network):
    assert name_layers(network) == []


def test_an_output_that_is_no_value_leaves_the_last_one():
    net = Net()
    net("linear", 0, "fc")
    net.finish()
    net.network.outputs = []
    assert default(net.network) == ["fc"]


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("aten::relu_", "relu"),
        ("aten::max_pool2d_with_indices", "maxpool"),
        ("aten::_softmax", "softmax"),
        ("MaxPool", "maxpool"),
        ("Gemm", "linear"),
        ("QLinearConv", "conv"),
        ("quantized::linear_relu", "linear"),
        ("aten::add.Tensor", "add"),
        ("_max_pool2d", "maxpool"),
        ("aten::__and__", "and"),
        ("GlobalAveragePool", "gap"),
        ("GlobalMaxPool", "maxpool"),
        ("ReduceMax", "maxpool"),
        ("aten::adaptive_max_pool2d", "maxpool"),
        ("aten::max.dim", "maxpool"),
        ("aten::max.other", "max"),
        ("Max", "max"),
        ("NewOperation", "newoperation"),
    ],
)
def test_all_spellings_of_an_operation_are_one_kind(spelling, kind):
    assert canonical(spelling) == kind


def test_canonical_kinds_stay_themselves():
    assert all(canonical(kind) == kind for kind in SHAPE_ONLY | WEIGHTED)
