import pytest

DEFAULT = ["conv1>maxpool", "conv2>maxpool", "fc1>relu", "fc2"]


@pytest.mark.parametrize("suffix", [".onnx", ".pt"])
def test_both_formats_list_the_same_default_layers(entangle, project, suffix):
    found = entangle("layers", f"checkpoints/digits-step1000{suffix}", "--default", "--json", "-q")
    assert found.code == 0
    assert [row["layer"] for row in found.json["rows"]] == DEFAULT
    assert all(row["default"] for row in found.json["rows"])


def test_the_table_marks_the_default_layers(entangle, project):
    lines = entangle("layers", "checkpoints/digits-step1000.onnx", "-q").stdout.splitlines()
    marked = [line.split()[0] for line in lines[1:] if " * " in line]
    assert marked == DEFAULT


def test_data_gives_a_torchscript_model_its_shapes(entangle, project):
    found = entangle("layers", "checkpoints/digits-step1000.pt", "test", "--json", "-q")
    shapes = {row["layer"]: row["shape"] for row in found.json["rows"]}
    assert shapes["conv1>maxpool"] == "16x4x4"
    assert shapes["fc2"] == "10"


def test_an_input_shape_serves_where_there_is_no_data(entangle, project):
    found = entangle(
        "layers", "checkpoints/digits-step1000.pt", "--input-shape", "1,8,8", "--json", "-q"
    )
    shapes = {row["layer"]: row["shape"] for row in found.json["rows"]}
    assert shapes["conv1>maxpool"] == "16x4x4"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.onnx"], "missing.onnx"),
        (["entangle.toml"], "entangle.toml"),
        (["checkpoints/*.onnx"], "stands for 5 model files"),
        (["checkpoints/digits-step1000.pt", "--input-shape", "a,b"], "--input-shape"),
    ],
)
def test_a_wrong_word_is_answered_with_exit_code_two(entangle, project, words, message):
    found = entangle("layers", *words)
    assert found.code == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr
