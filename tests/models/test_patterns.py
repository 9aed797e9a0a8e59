"""What a person may write for a choice of layers."""

import pytest

from entangle_cli.errors import UsageError
from entangle_cli.models import Layer
from entangle_cli.models.patterns import select_layers

LAYERS = (
    Layer("conv1", "conv", False, (6, 28, 28), ("/conv1/Conv_output_0",)),
    Layer("conv1>maxpool", "maxpool", True, (6, 14, 14), ("/MaxPool_output_0",)),
    Layer("layer1.0", "relu", True, (8,), ("layer1.0.relu:1", "layer1.0.relu_1")),
    Layer("layer1.1", "relu", True, (8,), ("layer1",)),
    Layer("layer1.1>transpose", "transpose", False, None),
    Layer("lstm[1]", "rnn", False, (8,)),
    Layer("conv#3>relu", "relu", False, (8,)),
    Layer("fc", "linear", True, (10,)),
)
DEFAULT = ("conv1>maxpool", "layer1.0", "layer1.1", "fc")


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ([], DEFAULT),
        (["fc", "conv1"], ("conv1", "fc")),
        (["layer1.*"], ("layer1.0", "layer1.1")),
        (["layer1"], ("layer1.1",)),
        (["layer1.0.relu_1"], ("layer1.0",)),
        (["/conv1/Conv_output_0"], ("conv1",)),
        (["/*"], ("conv1", "conv1>maxpool")),
        (["lstm[1]"], ("lstm[1]",)),
        (["conv#3>relu"], ("conv#3>relu",)),
        (["conv1?maxpool"], ("conv1>maxpool",)),
        (["layer1.[01]"], ("layer1.0", "layer1.1")),
        (["layer1.1>transpose"], ("layer1.1>transpose",)),
        (["all"], tuple(x.name for x in LAYERS if x.shape)),
    ],
    ids=str,
)
def test_patterns_choose_layers_in_execution_order(include, expected):
    assert select_layers(LAYERS, include, []) == expected


def test_all_is_really_all_where_no_shape_is_known():
    unknown = [Layer(name, "relu", False) for name in "abc"]
    assert select_layers(unknown, ["all"], []) == ("a", "b", "c")


def test_excluded_layers_leave_the_default_and_any_other_choice():
    assert select_layers(LAYERS, [], ["layer1*"]) == ("conv1>maxpool", "fc")
    assert select_layers(LAYERS, ["conv*"], ["conv1"]) == ("conv1>maxpool", "conv#3>relu")


def test_a_file_holds_one_pattern_per_line(tmp_path):
    file = tmp_path / "layers.txt"
    file.write_text("# the ends\n\n  fc \nconv#3>relu\n", encoding="utf-8")
    assert select_layers(LAYERS, [f"@{file}"], []) == ("conv#3>relu", "fc")
    assert select_layers(LAYERS, [], [f"@{file}"]) == DEFAULT[:-1]


def test_a_pattern_that_matches_nothing_suggests_the_nearest_name():
    with pytest.raises(UsageError, match=r"no layer matches 'layer1\.9' \(did you mean 'layer1"):
        select_layers(LAYERS, ["layer1.9"], [])
    with pytest.raises(UsageError, match="no layer matches 'xyz'"):
        select_layers(LAYERS, [], ["xyz"])


@pytest.mark.parametrize("content", [None, b"", b"# nothing\n", b"\xff\xfe\xfa"], ids=str)
def test_a_file_without_patterns_is_refused(tmp_path, content):
    file = tmp_path / "layers.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"@.*layers\.txt: .*layer patterns"):
        select_layers(LAYERS, [f"@{file}"], [])


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(UsageError, match="no layer is left after --exclude-layers"):
        select_layers(LAYERS, ["fc"], ["*"])
    with pytest.raises(UsageError, match="no default layers"):
        select_layers([Layer("a", "relu", False)], [], [])
    with pytest.raises(UsageError, match="no layer that can be measured"):
        select_layers([], [], [])


def test_a_control_character_in_a_pattern_is_shown_as_its_escape():
    with pytest.raises(UsageError, match=r"no layer matches '\\x1b\[31m'"):
        select_layers(LAYERS, ["\x1b[31m"], [])
