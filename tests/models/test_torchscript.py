"""TorchScript files: values against eager hooks that clone, and what is odd about some files."""

import warnings
import zipfile
from collections import defaultdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.model import TorchScriptModel


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5)
        self.fc1 = nn.Linear(4 * 12 * 12, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(8, 8)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.act(self.lin(x))
        y += x
        return y


class SharedInPlace(nn.Module):
    """One block three times; its activation and its sum overwrite what was there."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        for _ in range(3):
            x = self.block(x)
        return self.head(x)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.out = nn.Linear(6, 4)

    def forward(self, tokens):
        y, (h, c) = self.lstm(self.embed(tokens))
        return self.out(y[:, -1]), {"h": h, "c": c}


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.out = nn.Linear(8, 2)

    def forward(self, x, times: int = 2):
        k = 0
        while k < times:
            for step in self.steps:
                x = torch.tanh(step(x))
            k += 1
        if times > 5:
            return self.out(x) * 0
        return self.out(x)


NETWORKS = {
    "lenet": (LeNet, lambda n: [torch.rand(n, 1, 28, 28)]),
    "shared-in-place": (SharedInPlace, lambda n: [torch.randn(n, 8)]),
    "recurrent": (Recurrent, lambda n: [torch.randint(0, 20, (n, 7))]),
    "branching": (Branching, lambda n: [torch.randn(n, 8)]),
}


def script(network, *example):
    return torch.jit.script(network)


def trace(network, *example):
    return torch.jit.trace(network, example, strict=False, check_trace=False)


def freeze(network, *example):
    return torch.jit.freeze(script(network))


@pytest.fixture
def save(tmp_path):
    """(network, how, inputs) -> path of the file."""

    def write(network, how=script, *example):
        path = tmp_path / "model.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(how(network, *example), path)
        return path

    return write


@pytest.fixture
def open_saved(save):
    """(network, how, example) -> the model read back."""
    return lambda *arguments, **options: TorchScriptModel(save(*arguments), **options)


def arrays(tensors):
    return [x.numpy() for x in tensors]


def collect(model, inputs, names):
    """The values by name, copied, and the outputs."""
    values = {}

    def sink(name, array):
        assert name not in values
        values[name] = array.copy()

    return values, model.run(inputs, names, sink)


def hooked(network, inputs):
    """Every output of every module call, cloned: path -> list of lists of tensors."""
    calls = defaultdict(list)

    def note(path):
        return lambda module, args, output: calls[path].append([t.clone() for t in flat(output)])

    handles = [m.register_forward_hook(note(p)) for p, m in network.named_modules() if p]
    with torch.inference_mode():
        network(*inputs)
    for handle in handles:
        handle.remove()
    return calls


def flat(value):
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [t for x in values for t in flat(x)]


@pytest.mark.parametrize("how", [script, trace], ids=["scripted", "traced"])
@pytest.mark.parametrize("name", NETWORKS)
def test_module_outputs_equal_those_of_eager_hooks_that_clone(name, how, open_saved):
    torch.manual_seed(0)
    build, make = NETWORKS[name]
    network, inputs = build().eval(), make(4)
    expected = hooked(network, inputs)
    model = open_saved(network, how, *inputs)
    found = {x for layer in model.layers(arrays(inputs)) for x in (layer.name, *layer.aliases)}
    wanted = {
        (f"{path}:{k}" if k else path): outputs[0].numpy()
        for path, calls in expected.items()
        for k, outputs in enumerate(calls)
    }
    assert set(wanted) <= found
    for layer, array in wanted.items():
        if array.shape[0] == 4:
            values, _ = collect(model, arrays(inputs), [layer])
            (value,) = values.values()
            assert np.array_equal(value, array), layer


@pytest.mark.parametrize("how", [script, trace, freeze], ids=["scripted", "traced", "frozen"])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_the_plain_module_bit_for_bit(name, how, save):
    torch.manual_seed(0)
    build, make = NETWORKS[name]
    inputs = make(5)
    path = save(build().eval(), how, *inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = torch.jit.load(path)
    with torch.inference_mode():
        expected = [x.numpy() for x in flat(plain(*inputs))]
    model = TorchScriptModel(path)
    readable = [x.name for x in model.layers(arrays(inputs)) if x.shape is not None]
    values, outputs = collect(model, arrays(inputs), readable)
    assert list(values) == readable
    assert all(len(value) == 5 for value in values.values())
    assert all(map(np.array_equal, outputs, expected))
    assert len(outputs) == len(expected)


def test_names_and_defaults_of_a_network_with_functional_activations(open_saved):
    model = open_saved(LeNet().eval())
    layers = {layer.name: layer for layer in model.layers()}
    defaults = [name for name, layer in layers.items() if layer.default]
    assert defaults == ["conv1>maxpool", "fc1>relu", "fc2"]
    assert layers["conv1>maxpool"].shape == (4, 12, 12)
    assert any("made-up input [2, 1, 28, 28]" in note for note in model.notes)


def test_functional_results_also_answer_to_numbered_operator_names(open_saved):
    model = open_saved(LeNet().eval(), trace, torch.rand(2, 1, 28, 28))
    x = [np.ones((3, 1, 28, 28), np.float32)]
    by_alias, _ = collect(model, x, ["relu_1"])
    by_name, _ = collect(model, x, ["fc1>relu"])
    assert np.array_equal(by_alias["fc1>relu"], by_name["fc1>relu"])


def test_only_the_iterations_that_ran_are_there(open_saved):
    model = open_saved(Branching().eval())
    x = np.ones((2, 8), np.float32)
    names = [layer.name for layer in model.layers([x, np.asarray(1)])]
    assert "steps.0:1" not in names
    assert "steps.0:2" in [layer.name for layer in model.layers([x, np.asarray(3)])]
    with pytest.raises(ModelError, match=r"did not reach steps\.0:2"):
        collect(model, [x, 1], ["steps.0:2"])


@pytest.mark.parametrize(
    "failure", [KeyboardInterrupt("stop"), ValueError("full"), OSError(28, "x")]
)
def test_an_exception_of_the_sink_comes_out_unchanged_and_the_model_goes_on(failure, open_saved):
    model = open_saved(LeNet().eval())
    x = [np.ones((2, 1, 28, 28), np.float32)]

    def sink(name, array):
        raise failure

    with pytest.raises(type(failure)) as caught:
        model.run(x, ["fc1>relu"], sink)
    assert caught.value is failure
    values, _ = collect(model, x, ["fc1>relu"])
    assert values["fc1>relu"].shape == (2, 16)


def test_a_second_model_may_run_inside_the_sink_of_the_first(open_saved):
    x = [np.ones((2, 8), np.float32)]
    outer, inner = (open_saved(SharedInPlace().eval()) for _ in range(2))
    expected, _ = collect(inner, x, ["block", "head"])
    seen = []
    outer.run(x, ["block:1"], lambda name, array: seen.append(collect(inner, x, ["block", "head"])))
    ((values, _),) = seen
    assert all(np.array_equal(values[name], expected[name]) for name in expected)


def test_an_unknown_layer_is_named_with_the_nearest_one(open_saved):
    model = open_saved(LeNet().eval())
    with pytest.raises(ModelError, match=r"no layer 'fc1>rule' \(did you mean 'fc1>relu'\?\)"):
        collect(model, [np.ones((2, 1, 28, 28), np.float32)], ["fc1>rule"])


class Sideways(nn.Module):
    """Its second value has the features first: no rows of samples."""

    def __init__(self):
        super().__init__()
        self.lin, self.out = nn.Linear(6, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.lin(x).t()).t())


def test_a_value_whose_first_axis_is_not_the_batch_is_refused_with_its_shapes(open_saved):
    model = open_saved(Sideways().eval())
    x = [np.ones((2, 6), np.float32)]
    odd = next(layer for layer in model.layers(x) if layer.kind == "tanh")
    assert odd.shape is None
    assert not odd.default
    with pytest.raises(ModelError, match=r"\[2, 2\] for a batch of 2, \[2, 3\] for 3.*another"):
        collect(model, x, [odd.name])


class Folded(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.rows, self.lin, self.out = rows, nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.lin(x).view(self.rows, 4))


@pytest.mark.parametrize(("rows", "note"), [(1, "row by row"), (4, "batches of 4 rows only")])
def test_a_batch_size_that_tracing_burnt_in_is_served_in_pieces(rows, note, open_saved):
    torch.manual_seed(0)
    network = Folded(rows).eval()
    model = open_saved(network, trace, torch.randn(rows, 6))
    x = torch.randn(7, 6)
    values, (output,) = collect(model, [x.numpy()], ["lin", "out"])
    assert any(note in line for line in model.notes)
    with torch.inference_mode():
        expected = network.out(network.lin(x)).numpy()
    np.testing.assert_allclose(output, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(values["out"], expected, rtol=1e-6, atol=1e-6)
    assert values["lin"].shape == (7, 4)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.register_buffer("seen", torch.zeros(1))
        self.calls = 0

    def forward(self, x):
        self.seen += 1
        self.calls += 1
        return self.lin(x) * self.seen + self.calls


def test_every_batch_of_a_network_with_state_starts_from_the_state_in_the_file(open_saved):
    model = open_saved(Counting().eval())
    x = [np.ones((2, 3), np.float32)]
    first, second = (collect(model, x, ["lin"])[1][0] for _ in range(2))
    assert np.array_equal(first, second)
    assert any("keeps state" in note for note in model.notes)


def test_a_plain_network_has_nothing_to_note(open_saved):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    model = open_saved(network)
    model.layers([np.ones((2, 1, 8, 8), np.float32)])
    assert model.notes == []


def test_a_network_saved_in_training_mode_runs_in_inference_mode(open_saved):
    model = open_saved(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).train())
    model.layers([np.ones((2, 4), np.float32)])
    (note,) = model.notes
    assert note.startswith("saved in training mode: its 1 dropout and normalization operations")


@pytest.mark.parametrize(
    ("layer", "shape", "pattern"),
    [(nn.Dropout(0.5), (4, 6), "dropout"), (nn.BatchNorm1d(6), (4, 6), "normalisation")],
    ids=["dropout", "batch norm"],
)
def test_training_mode_burnt_in_by_tracing_is_noted(layer, shape, pattern, open_saved):
    network = nn.Sequential(nn.Linear(6, 6), layer).train()
    model = open_saved(network, trace, torch.randn(shape))
    assert any("training mode" in note and pattern in note for note in model.notes)


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)

    def forward(self, x):
        y = self.lin(x)
        return y - y.mean(0, keepdim=True)


def test_a_network_that_mixes_the_rows_of_a_batch_is_noted(open_saved):
    model = open_saved(Centred().eval())
    model.layers([np.random.default_rng(0).random((3, 4), dtype=np.float32)])
    assert any("mixes the rows" in note for note in model.notes)


class Overwriting(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 2)

    def forward(self, x):
        return self.lin(x.mul_(2))


def test_inputs_stay_as_they_were_and_may_be_read_only(open_saved):
    model = open_saved(Overwriting().eval())
    x = np.ones((3, 4), np.float32)
    x.flags.writeable = False
    _, (first,) = collect(model, [x], ["lin"])
    _, (second,) = collect(model, [x], ["lin"])
    assert (x == 1).all()
    assert np.array_equal(first, second)


class WritesThroughViews(nn.Module):
    """The flow goes through a buffer that only its parts are written to."""

    def __init__(self):
        super().__init__()
        self.lin, self.out = nn.Linear(4, 4), nn.Linear(8, 2)

    def forward(self, x):
        whole = torch.zeros(x.size(0), 8)
        whole[:, :4] = self.lin(x)
        whole[:, 4:] = x
        return self.out(torch.relu(whole))


def test_the_flow_is_followed_through_writes_to_parts_of_a_tensor(open_saved):
    model = open_saved(WritesThroughViews().eval())
    names = [layer.name for layer in model.layers([np.ones((2, 4), np.float32)]) if layer.default]
    assert names[-1] == "out"
    assert any("relu" in name for name in names)


class ManyInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 2)

    def forward(
        self,
        parts: dict[str, Tensor],
        pair: tuple[Tensor, float],
        scale: float,
        extra: Tensor | None = None,
        times: int = 3,
    ):
        y = self.lin(parts["x"]) * pair[1] * scale * times + pair[0]
        return [y, (y + 1, {"twice": y * 2})]


def test_dictionaries_tuples_scalars_and_defaults_are_accepted(open_saved):
    network = ManyInputs().eval()
    model = open_saved(network)
    kinds = [spec.dtype for spec in model.inputs]
    assert kinds[0] == "Dict[str, Tensor]"
    assert kinds[2] == "float"
    assert kinds[4] == "int = 3"
    assert not any(spec.declared for spec in model.inputs)
    x, y = np.ones((2, 4), np.float32), np.ones((2, 2), np.float32)
    values, outputs = collect(model, [{"x": x}, (y, 2.0), np.asarray(0.5)], ["lin"])
    assert np.allclose(outputs[0], values["lin"] * 3 + 1)
    assert [o.shape for o in outputs] == [(2, 2)] * 3
    assert np.array_equal(outputs[2], outputs[0] * 2)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "takes the inputs"),
        ([np.ones((2, 4)), (np.ones(2), 1.0), 0.5], "input parts: expected a dictionary"),
        ([{"x": np.ones((2, 4))}, np.ones(3), 0.5], "input pair: expected 2 values"),
        ([{"x": np.ones((2, 4))}, (np.ones(2), 1.0), np.ones(3)], "expected a single float"),
    ],
)
def test_inputs_of_the_wrong_form_are_refused_by_name(inputs, message, open_saved):
    model = open_saved(ManyInputs().eval())
    with pytest.raises(ModelError, match=message):
        model.layers(inputs)


def test_an_input_that_does_not_fit_gives_one_line_with_its_shape(open_saved):
    model = open_saved(LeNet().eval())
    with pytest.raises(ModelError, match=r"does not run on float32\[2, 3, 28, 28\]: ") as caught:
        model.layers([np.ones((2, 3, 28, 28), np.float32)])
    assert "\n" not in str(caught.value)


def test_an_error_that_the_network_raises_itself_gives_one_line(open_saved):
    class Picky(nn.Module):
        def forward(self, x):
            if x.size(1) != 3:
                raise ValueError("three columns, please")
            return x * 2

    model = open_saved(Picky().eval())
    with pytest.raises(ModelError, match=r"float32\[2, 4\]: three columns, please$"):
        model.layers([np.ones((2, 4), np.float32)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_precisions_are_fed_as_the_weights_and_reported_as_floats(dtype, open_saved):
    model = open_saved(nn.Sequential(nn.Linear(4, 3), nn.ReLU()).to(dtype).eval())
    assert model.inputs[0].dtype == str(dtype).removeprefix("torch.")
    values, (output,) = collect(model, [np.ones((2, 4), np.float32)], ["0"])
    expected = np.float64 if dtype == torch.float64 else np.float32
    assert values["0"].dtype == output.dtype == expected


def test_a_dynamically_quantised_network_is_read_in_floats(open_saved):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)).eval(), {nn.Linear}
        )
    model = open_saved(network)
    layers = model.layers([np.random.default_rng(0).random((2, 8), dtype=np.float32)])
    assert [layer.name for layer in layers if layer.default] == ["1", "2"]
    values, _ = collect(model, [np.ones((3, 8), np.float32)], ["1", "2"])
    assert {v.dtype for v in values.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("network", "dtype", "shape"),
    [
        (nn.Conv2d(3, 8, 3), "float32", (None, 3, None, None)),
        (nn.Conv2d(4, 8, 3, groups=2), "float32", (None, 4, None, None)),
        (nn.ConvTranspose2d(5, 2, 3), "float32", (None, 5, None, None)),
        (nn.Conv1d(2, 8, 3), "float32", (None, 2, None)),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), "float32", (None, 12)),
        (nn.Embedding(9, 4), "int64", (None, None)),
        (nn.GRU(7, 3), "float32", (None, None, 7)),
        (nn.Sequential(nn.Unflatten(1, (2, 3)), nn.ReLU()), "tensor", None),
    ],
    ids=["conv", "grouped", "transposed", "conv1d", "linear", "embedding", "gru", "none"],
)
@pytest.mark.parametrize("how", [script, freeze], ids=["scripted", "frozen"])
def test_the_first_weights_tell_the_shape_of_the_input(network, dtype, shape, how, open_saved):
    spec = open_saved(nn.Sequential(network).eval(), how).inputs[0]
    assert (spec.dtype, spec.shape, spec.declared) == (dtype, shape, False)


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2))


def test_a_permutation_before_the_first_weights_is_undone(open_saved):
    model = open_saved(ChannelsLast().eval())
    assert model.inputs[0].shape == (None, None, None, 3)
    assert [layer.name for layer in model.layers() if layer.default] == ["conv"]


def test_without_fitting_examples_the_layers_come_from_the_graph(open_saved):
    class Unknowable(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(4, 2)

        def forward(self, x: dict[str, Tensor]):
            return torch.relu(self.lin(x["a"]))

    model = open_saved(Unknowable().eval())
    layers = model.layers()
    assert {"lin", ">relu"} <= {layer.name for layer in layers}
    assert not any(layer.default for layer in layers)
    assert any("needs data" in note for note in model.notes)
    layers = model.layers([{"a": np.ones((2, 4), np.float32)}])
    assert [layer.name for layer in layers if layer.default] == ["lin>relu"]
    assert model.notes == []


def test_a_network_without_tensors_to_tap_says_so(open_saved):
    class Adding(nn.Module):
        def forward(self, x: float):
            return x + 1.0

    with pytest.raises(ModelError, match="has no layers"):
        open_saved(Adding().eval()).layers()


def test_a_device_that_tracing_burnt_in_is_replaced_by_the_one_asked_for(save, tmp_path):
    class OwnDevice(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(3, 2)

        def forward(self, x):
            return self.lin(x + torch.ones(3, device=x.device))

    path = save(OwnDevice().eval(), trace, torch.ones(2, 3))
    foreign, replaced = tmp_path / "foreign.pt", 0
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(foreign, "w") as target:
        for member in source.infolist():
            data = source.read(member)
            changed = data.replace(b'torch.device("cpu")', b'torch.device("cuda:0")')
            replaced += changed != data
            target.writestr(member, changed)
    assert replaced == 1
    x = [np.ones((2, 3), np.float32)]
    expected, _ = collect(TorchScriptModel(path), x, ["lin"])
    values, _ = collect(TorchScriptModel(foreign), x, ["lin"])
    assert np.array_equal(values["lin"], expected["lin"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_an_error_and_never_replaced(save):
    with pytest.raises(ModelError, match=r"'cuda' was asked for, but torch sees 0 CUDA devices"):
        TorchScriptModel(save(LeNet().eval()), device="cuda")


@pytest.mark.parametrize("device", ["tpu9", "meta"])
def test_devices_that_cannot_run_the_network_are_refused(device, save):
    with pytest.raises(ModelError, match=device):
        TorchScriptModel(save(LeNet().eval()), device=device)


def test_hooks_of_the_outermost_module_are_refused(save):
    class Hooked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    def double(self, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return output * 2

    network = Hooked().eval()
    network.register_forward_hook(double)
    with pytest.raises(ModelError, match="scripted hooks"):
        TorchScriptModel(save(network))


def test_a_file_after_optimize_for_inference_is_explained(save):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).eval()
    path = save(network, lambda n: torch.jit.optimize_for_inference(torch.jit.script(n)))
    with pytest.raises(ModelError, match="optimize_for_inference") as caught:
        TorchScriptModel(path)
    assert "\n" not in str(caught.value)


@torch.jit.interface
class Step(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pass


class Chosen(nn.Module):
    step: Step

    def __init__(self):
        super().__init__()
        self.step, self.out = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, input):
        return self.out(self.step.forward(input))


def test_calls_of_a_module_chosen_at_run_time_are_tapped_from_outside(open_saved):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * 2

    network = Chosen().eval()
    network.step = Scaled()
    model = open_saved(network)
    layers = model.layers([np.ones((2, 4), np.float32)])
    assert "out" in [layer.name for layer in layers if layer.default]
    assert any("choose their module while running" in note for note in model.notes)


def test_what_a_network_prints_does_not_reach_standard_output(open_saved, capsys):
    class Chatty(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(2, 2)

        def forward(self, x):
            print("inside")
            return self.lin(x)

    model = open_saved(Chatty().eval())
    collect(model, [np.ones((2, 2), np.float32)], ["lin"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "inside" in captured.err


def test_the_checksum_is_that_of_the_file(save):
    import hashlib

    path = save(LeNet().eval())
    assert TorchScriptModel(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
