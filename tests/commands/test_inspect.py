import pytest

MODEL = "checkpoints/digits-step1000.onnx"


def test_a_model_shows_its_inputs(entangle, project):
    body = entangle("inspect", MODEL, "--json").json
    (row,) = body["rows"]
    assert row["input"] == "images"
    assert row["shape"] == "?x1x8x8"
    assert body["provenance"]["format"] == "onnx"


def test_a_data_set_shows_its_classes(entangle, project):
    body = entangle("inspect", "data/letters", "--json").json
    assert [row["class"] for row in body["rows"]] == list("ABCDEFGHJK")
    assert sum(row["n"] for row in body["rows"]) == 300
    assert body["provenance"]["each"] == "8x8x1 uint8"


def test_a_run_folder_shows_results_and_activations(entangle, project):
    entangle("measure", MODEL, "test", "-q")
    body = entangle("inspect", "entangle-out", "--json").json
    kinds = [row["kind"] for row in body["rows"]]
    assert kinds == ["measure", "activations"]
    assert "complete" in body["rows"][1]["holds"]


def test_an_activation_file_shows_its_layers(entangle, project):
    entangle("dump", MODEL, "test", "--file", "acts.h5", "-q")
    body = entangle("inspect", "acts.h5", "--json").json
    assert [row["layer"] for row in body["rows"]][-1] == "fc2"
    assert body["provenance"]["complete"] is True


@pytest.mark.parametrize("what", ["nothing-here", "missing.onnx", "checkpoints"])
def test_what_is_nothing_known_is_answered_in_one_line(entangle, project, what):
    found = entangle("inspect", what)
    assert found.code == 2
    assert what in found.error
