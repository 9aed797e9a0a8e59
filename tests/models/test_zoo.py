"""Saved networks against the eager network: the same names, the same values, the same outputs."""

import re
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import eager
import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
import zoo

from entangle_cli.errors import ModelError
from entangle_cli.models.opening import open_model

EXAMPLE, BATCH = 2, 5
TOLERANCE = 1e-5

NAMED = zoo.TORCHSCRIPT + zoo.ONNX
# this exporter folds normalisations into convolutions and forgets what they were called
FOLDED = {("batch-norms", "onnx-legacy"): {"bn3": "conv3>bn", "bn4": "conv4>bn"}}
# a frozen file has no module names left; here every row is a value that all flow passes through
PLAIN_FLOW = (
    *("lenet", "inplace-lenet", "reused-relu", "vgg", "mlp", "batch-norms", "shared-block"),
    *("lstm", "control-flow", "tuple-output", "dict-output"),
)
# in this exporter's names nothing tells the module relu_1 from a second call of relu
AMBIGUOUS = {("underscored", "onnx-legacy")}
# seconds of export for what quicker networks show as well
SLOW = {(case, "onnx-dynamo") for case in ("mobilenet", "densenet", "cifar-resnet", "recurrent")}
# ``module`` or ``module:1``
CALL = re.compile(r"([^:>]+)(?::(\d+))?")
# the branch of the control-flow network looks at the whole batch
ROW_BY_ROW = tuple(case for case in zoo.CASES if case != "control-flow")


def pairs(sources, cases=tuple(zoo.CASES), but=()):
    """Every (case, source) where the case can be saved that way, ``but`` some."""
    found = [(c, s) for c in cases for s in zoo.CASES[c].sources if s in sources]
    parameters = [
        pytest.param(*pair, id="-".join(pair), marks=[pytest.mark.slow] if pair in SLOW else [])
        for pair in found
        if pair not in but
    ]
    return pytest.mark.parametrize(("case", "source"), parameters)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """(case, source) -> the file, exported once."""
    folder = tmp_path_factory.mktemp("zoo")
    return cache(lambda case, source: zoo.save(zoo.CASES[case], source, folder))


@pytest.fixture(scope="session")
def opened(saved):
    """(case, source) -> the model and all its layers, opened once."""

    @cache
    def open_case(case, source):
        model = open_model(saved(case, source))
        return model, model.layers(arrays(case, EXAMPLE))

    return open_case


@cache
def reference(case):
    entry = zoo.CASES[case]
    return eager.record(entry.network(), entry.inputs(BATCH), entry.apart)


def arrays(case, n):
    return [x.numpy() for x in zoo.CASES[case].inputs(n)]


def default_names(layers):
    return [layer.name for layer in layers if layer.default]


def readable(layers):
    """Names of the layers that have rows: some values in the middle have another first axis."""
    return [layer.name for layer in layers if layer.shape is not None]


def run(model, case, names, n=BATCH):
    """The values by name, in the order in which they came, and the outputs."""
    values = defaultdict(list)
    outputs = model.run(
        arrays(case, n), names, lambda name, value: values[name].append(np.array(value))
    )
    assert all(len(calls) == 1 for calls in values.values()), "a sink hears every layer once"
    return {name: calls[0] for name, calls in values.items()}, outputs


def distance(actual, expected):
    """Largest difference relative to the largest value; infinite for another shape."""
    if actual.shape != expected.shape:
        return np.inf
    scale = np.abs(expected).max() or 1.0
    return np.abs(actual.astype(np.float64) - expected).max() / scale


def expected_rows(case, source):
    """The rule's names for a source: (name in the file, name in the eager network)."""
    folded = FOLDED.get((case, source), {})
    return [(folded.get(row, row), row) for row in zoo.CASES[case].rows]


# ------------------------------------------------------------------------------------- names
@pairs(NAMED)
def test_default_rows_have_the_names_of_the_rule(case, source, opened):
    _, layers = opened(case, source)
    assert default_names(layers) == [name for name, _ in expected_rows(case, source)]


@pairs(zoo.EVERY)
def test_layer_names_are_unique_and_defaults_are_few(case, source, opened):
    _, layers = opened(case, source)
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    assert all(names)
    assert 0 < len(default_names(layers)) <= 20


@pairs(zoo.EVERY)
def test_a_model_declares_as_many_inputs_as_the_network_takes(case, source, opened):
    model, _ = opened(case, source)
    assert len(model.inputs) == len(zoo.CASES[case].shapes)


# ------------------------------------------------------------------------------------ values
@pairs(NAMED)
def test_default_rows_hold_what_eager_hooks_clone(case, source, opened):
    model, layers = opened(case, source)
    values, _ = run(model, case, default_names(layers))
    for name, row in expected_rows(case, source):
        assert distance(values[name], reference(case).value(row)) <= TOLERANCE, name


@pairs(NAMED, but=AMBIGUOUS)
def test_a_module_path_always_means_the_result_of_that_module(case, source, opened):
    model, layers = opened(case, source)
    calls = reference(case).calls
    results = {}
    for layer in layers:
        for label in (layer.name, *layer.aliases):
            path, call = CALL.fullmatch(label).groups() if CALL.fullmatch(label) else ("", 0)
            if path in calls:
                results[layer.name] = calls[path][int(call or 0)][0].numpy()
    shapes = {layer.name: layer.shape for layer in layers}
    batched = [name for name in results if len(results[name]) == BATCH]
    assert [name for name in batched if shapes[name] is None] == []
    values, _ = run(model, case, batched)
    for name in batched:
        assert distance(values[name], results[name]) <= TOLERANCE, name


@pairs(zoo.TORCHSCRIPT)
def test_every_module_that_computes_is_a_layer_of_torchscript(case, source, opened):
    _, layers = opened(case, source)
    labels = {label for layer in layers for label in (layer.name, *layer.aliases)}
    known = {re.split(r"[:[]", label)[0] for label in labels}
    assert reference(case).weighted & reference(case).calls.keys() <= known


@pairs(zoo.TORCHSCRIPT + zoo.FROZEN)
def test_every_layer_of_torchscript_is_a_value_of_the_eager_network(case, source, opened):
    model, layers = opened(case, source)
    values, _ = run(model, case, readable(layers))
    everything = reference(case).everything()
    for name, value in values.items():
        assert min(distance(value, other) for other in everything) <= TOLERANCE, name


@pairs(zoo.FROZEN, PLAIN_FLOW)
def test_freezing_keeps_the_rows_of_networks_without_branches(case, source, opened):
    model, layers = opened(case, source)
    values, _ = run(model, case, default_names(layers))
    expected = [reference(case).value(row) for row in zoo.CASES[case].rows]
    assert len(values) == len(expected)
    for (name, value), other in zip(values.items(), expected, strict=True):
        assert distance(value, other) <= TOLERANCE, name


@pairs(zoo.EVERY)
def test_all_layers_at_once_arrive_in_execution_order(case, source, opened):
    model, layers = opened(case, source)
    names = readable(layers)
    values, _ = run(model, case, names)
    assert list(values) == names
    assert all(len(value) == BATCH for value in values.values())
    assert all(np.isfinite(value).all() for value in values.values())


@pairs(zoo.EVERY)
def test_listed_shapes_are_those_of_one_sample(case, source, opened):
    model, layers = opened(case, source)
    values, _ = run(model, case, readable(layers))
    for layer in layers:
        if layer.shape is not None:
            found = values[layer.name].shape[1:]
            assert len(found) == len(layer.shape), layer.name
            assert all(b in (None, a) for a, b in zip(found, layer.shape, strict=True)), layer.name


@pairs(zoo.EVERY)
def test_a_few_layers_hold_the_same_values_as_among_all(case, source, opened):
    model, layers = opened(case, source)
    together, _ = run(model, case, readable(layers))
    few = default_names(layers)[::2]
    alone, _ = run(model, case, few)
    assert list(alone) == few
    for name in few:
        assert distance(alone[name], together[name]) <= TOLERANCE, name


@pairs(zoo.EVERY)
def test_aliases_lead_to_the_same_values(case, source, opened):
    model, layers = opened(case, source)
    rows = [layer for layer in layers if layer.default]
    values, _ = run(model, case, [layer.name for layer in rows])
    for position in range(max(len(layer.aliases) for layer in rows)):
        aliased = [layer for layer in rows if len(layer.aliases) > position]
        found, _ = run(model, case, [layer.aliases[position] for layer in aliased])
        assert list(found) == [layer.name for layer in aliased]
        for name, value in found.items():
            assert distance(value, values[name]) <= TOLERANCE, name


@pairs(zoo.EVERY, ROW_BY_ROW)
def test_a_single_sample_gives_the_first_row_of_a_batch(case, source, opened):
    model, layers = opened(case, source)
    many, _ = run(model, case, default_names(layers))
    one, _ = run(model, case, default_names(layers), n=1)
    for name, value in many.items():
        assert one[name].shape[0] == 1
        assert np.abs(one[name] - value[:1]).max() <= TOLERANCE * np.abs(value).max(), name


@pytest.mark.parametrize("source", NAMED)
def test_rows_of_lenet_are_what_the_formula_gives(source, opened):
    network, (x,) = zoo.CASES["lenet"].network(), zoo.CASES["lenet"].inputs(BATCH)
    first = F.max_pool2d(F.relu(F.conv2d(x, network.conv1.weight, network.conv1.bias, 1, 2)), 2)
    second = F.max_pool2d(F.relu(F.conv2d(first, network.conv2.weight, network.conv2.bias)), 2)
    third = F.relu(second.flatten(1) @ network.fc1.weight.T + network.fc1.bias)
    fourth = F.relu(third @ network.fc2.weight.T + network.fc2.bias)
    fifth = fourth @ network.fc3.weight.T + network.fc3.bias
    model, layers = opened("lenet", source)
    values, outputs = run(model, "lenet", default_names(layers))
    for value, expected in zip(values.values(), (first, second, third, fourth, fifth), strict=True):
        assert distance(value, expected.numpy()) <= TOLERANCE
    assert distance(outputs[0], fifth.numpy()) <= TOLERANCE


@pytest.mark.parametrize("source", NAMED)
def test_rows_of_a_residual_network_are_what_the_formula_gives(source, opened):
    network, (x,) = zoo.CASES["resnet18"].network(), zoo.CASES["resnet18"].inputs(BATCH)
    first = F.max_pool2d(F.relu(network.bn1(network.conv1(x))), 3, 2, 1)
    block = network.layer1[0]
    inside = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(first.clone())))))
    expected = {"maxpool": first, "layer1.0": F.relu(inside + first)}
    model, _ = opened("resnet18", source)
    values, _ = run(model, "resnet18", list(expected))
    for name, value in expected.items():
        assert distance(values[name], value.numpy()) <= TOLERANCE, name


@pytest.mark.parametrize("source", zoo.TORCHSCRIPT)
def test_layers_before_an_inplace_activation_keep_their_negative_values(source, opened):
    model, _ = opened("inplace-lenet", source)
    values, _ = run(model, "inplace-lenet", ["conv1", "relu1"])
    assert values["conv1"].min() < 0
    assert values["relu1"].min() == 0


@pytest.mark.parametrize(
    ("dtype", "source", "tolerance"),
    [
        (torch.float16, "trace", TOLERANCE),
        (torch.bfloat16, "trace", TOLERANCE),
        (torch.float64, "trace", 1e-12),
        (torch.float16, "onnx-legacy", 5e-3),
        (torch.float64, "onnx-legacy", 1e-12),
    ],
)
def test_other_precisions_arrive_as_real_numbers(dtype, source, tolerance, tmp_path):
    case = replace(zoo.CASES["mlp"], dtype=dtype)
    expected = eager.record(case.network(), case.inputs(BATCH))
    model = open_model(zoo.save(case, source, tmp_path))
    values, _ = run(model, "mlp", default_names(model.layers(arrays("mlp", EXAMPLE))))
    assert list(values) == list(case.rows)
    for name, value in values.items():
        assert value.dtype == (np.float64 if dtype == torch.float64 else np.float32)
        plain = expected.calls[name][0][0].double().numpy()
        assert distance(value, plain) <= tolerance, name


# ----------------------------------------------------------------------------------- outputs
@pairs(zoo.TORCHSCRIPT + zoo.FROZEN)
def test_tapped_torchscript_returns_what_the_plain_module_returns(case, source, saved, opened):
    model, layers = opened(case, source)
    plain = torch.jit.load(str(saved(case, source)))
    with torch.inference_mode(), torch.jit.optimized_execution(False):
        expected = list(eager.tensors(plain(*zoo.CASES[case].inputs(BATCH))))
    for names in (readable(layers), default_names(layers), []):
        _, outputs = run(model, case, names)
        assert len(outputs) == len(expected)
        assert all(
            torch.equal(torch.from_numpy(o), e) for o, e in zip(outputs, expected, strict=True)
        )


@pairs(zoo.ONNX)
def test_tapped_onnx_returns_what_a_plain_session_returns(case, source, saved, opened):
    model, layers = opened(case, source)
    session = onnxruntime.InferenceSession(saved(case, source), providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_inputs()]
    expected = session.run(None, dict(zip(names, arrays(case, BATCH), strict=True)))
    for names in (readable(layers), default_names(layers), []):
        _, outputs = run(model, case, names)
        assert len(outputs) == len(expected)
        for output, plain in zip(outputs, expected, strict=True):
            assert distance(output, plain) <= TOLERANCE


@pairs(zoo.EVERY)
def test_outputs_equal_the_eager_network(case, source, opened):
    model, _ = opened(case, source)
    _, outputs = run(model, case, [])
    expected = reference(case).outputs
    assert len(outputs) == len(expected)
    for output, plain in zip(outputs, expected, strict=True):
        assert distance(output, plain.numpy()) <= TOLERANCE


# ------------------------------------------------------------------------------------ misuse
@pytest.mark.parametrize("source", zoo.EVERY)
def test_an_unknown_layer_is_one_line(source, opened):
    model, _ = opened("lenet", source)
    with pytest.raises(ModelError, match="conv7") as failure:
        run(model, "lenet", ["conv7"])
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("source", zoo.EVERY)
def test_inputs_of_the_wrong_shape_are_one_line(source, opened):
    model, layers = opened("lenet", source)
    wrong = [np.zeros((2, 3, 16, 16), np.float32)]
    with pytest.raises(ModelError) as failure:
        model.run(wrong, default_names(layers), lambda name, value: None)
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 300


@pytest.mark.parametrize("source", zoo.EVERY)
def test_a_sink_that_fails_is_heard_unchanged_and_the_model_still_works(source, opened):
    model, layers = opened("lenet", source)

    def sink(name, value):
        raise KeyError("the sink's own")

    with pytest.raises(KeyError, match="the sink's own"):
        model.run(arrays("lenet", BATCH), default_names(layers), sink)
    values, _ = run(model, "lenet", default_names(layers))
    assert len(values) == 5


def test_opening_twice_gives_the_same_identity_and_names(saved, opened):
    path = saved("lenet", "trace")
    model, layers = opened("lenet", "trace")
    again = open_model(path)
    assert again.sha256 == model.sha256
    assert again.layers(arrays("lenet", EXAMPLE)) == layers
    assert Path(again.path) == Path(path)
