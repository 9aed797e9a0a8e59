import json
from pathlib import Path

import numpy as np
import pytest

from entangle_cli.datasets import open_dataset
from entangle_cli.measures.temperature import entanglement
from entangle_cli.runs.between.data import ordered

MODEL = "checkpoints/digits-step1000.onnx"
KEYS = [
    "a", "b", "step", "layer", "dim", "n_a", "n_b",
    "snnl", "temperature", "ceiling", "entanglement", "boundary", "knn_accuracy",
]  # fmt: skip


def pixels(reference="digits@test"):
    data = open_dataset(reference)
    return np.stack(data.images(np.arange(len(data))))[..., 0]


@pytest.fixture
def halves(project):
    """``one.npz`` and ``two.npz``: the test images in two random halves."""
    images = np.random.default_rng(0).permutation(pixels())
    np.savez("one.npz", images=images[:182])
    np.savez("two.npz", images=images[182:])
    return "one.npz", "two.npz"


@pytest.fixture
def snapshots(project):
    """``gan-step*.npz``: noise that becomes digits; step 100 sorts before step 20 by name."""
    images = pixels()
    one, rest = images[:150], images[150:].astype(float)
    noise = np.random.default_rng(1).uniform(0, 255, rest.shape)
    np.savez("real.npz", images=one)
    for step, share in ((0, 0.0), (20, 0.6), (100, 1.0)):
        mixed = share * rest + (1 - share) * noise
        np.savez(f"gan-step{step}.npz", images=mixed.astype(np.uint8))


def test_halves_of_one_set_cannot_be_told_apart(entangle, halves):
    (row,) = entangle("between", *halves, "--permutations", "5", "--json", "-q").json["rows"]
    assert list(row) == [*KEYS, "permuted", "p_value"]
    assert row["entanglement"] > 0.99 * row["permuted"]
    assert row["p_value"] > 1 / 6
    assert (row["n_a"], row["n_b"], row["layer"], row["step"]) == (182, 182, "input", None)


def test_letters_are_apart_from_digits(entangle, project):
    words = ("between", "digits@test[::2]")
    (half,) = entangle(*words, "digits@test[1::2]", "--json", "-q").json["rows"]
    (apart,) = entangle(*words, "letters", "--permutations", "3", "--json", "-q").json["rows"]
    assert half["entanglement"] > 0.99
    assert apart["entanglement"] < 0.1
    assert apart["p_value"] == 1 / 4
    assert apart["permuted"] > 0.99


def test_numbers_are_the_entanglement_of_stacked_points(entangle, snapshots):
    words = ("between", "real.npz", "gan-step20.npz", "--json", "-q")
    (row,) = entangle(*words).json["rows"]
    both = [np.load(name)["images"] for name in ("real.npz", "gan-step20.npz")]
    points = np.concatenate(both).reshape(-1, 64).astype(np.float32) / 255
    labels = np.repeat([0, 1], [len(images) for images in both])
    expected = entanglement(points, labels)
    for key in ("snnl", "temperature", "ceiling", "entanglement", "knn_accuracy"):
        assert row[key] == pytest.approx(getattr(expected, key), rel=1e-9), key
    (row,) = entangle(*words, "--metric", "cosine", "--temperature", "0.1").json["rows"]
    expected = entanglement(points, labels, metric="cosine", temperature=0.1)
    assert row["snnl"] == pytest.approx(expected.snnl, rel=1e-9)
    assert row["temperature"] == 0.1


def test_a_series_is_a_curve_in_the_order_of_its_steps(entangle, snapshots):
    found = entangle("between", "real.npz", "gan-step*.npz", "--json")
    rows = found.json["rows"]
    assert [row["step"] for row in rows] == [0, 20, 100]
    assert [row["b"] for row in rows] == ["gan-step0", "gan-step20", "gan-step100"]
    curve = [row["entanglement"] for row in rows]
    assert curve == sorted(curve)
    assert curve[0] < 0.1
    assert curve[2] > 0.9
    written = json.loads(Path("entangle-out/between.json").read_text())
    assert written["rows"] == rows
    table = entangle("between", "real.npz", "gan-step*.npz", "-q").stdout
    assert table.index("step 0") < table.index("step 20") < table.index("step 100")
    assert "▁" in table or "_" in table


def test_a_model_adds_its_input_and_layers(entangle, project):
    found = entangle("between", "test", "letters", "--model", MODEL, "--json")
    rows = {row["layer"]: row for row in found.json["rows"]}
    assert list(rows) == ["input", "conv1>maxpool", "conv2>maxpool", "fc1>relu", "fc2"]
    assert [row["dim"] for row in rows.values()] == [64, 256, 128, 64, 10]
    assert found.json["models"][0]["model"] == "digits-step1000.onnx"
    words = ("between", "test", "letters", "--model", MODEL, "--layers")
    chosen = entangle(*words, "fc2", "--json", "-q").json["rows"]
    assert chosen == [rows["fc2"]]
    assert entangle(*words, "input", "--json", "-q").json["rows"] == [rows["input"]]


def test_a_model_brings_sets_to_one_size(entangle, project):
    large = np.kron(pixels()[:60], np.ones((1, 2, 2), np.uint8))
    np.savez("large.npz", images=large)
    found = entangle("between", "test", "large.npz")
    assert found.code == 2
    assert "has 64 numbers a sample, large 256; give --model" in found.error
    rows = entangle("between", "test", "large.npz", "--model", MODEL, "--json", "-q").json["rows"]
    assert len(rows) == 5


def test_sets_of_one_name_are_told_apart(entangle, halves, project):
    (project / "more").mkdir()
    (project / "more" / "one.npz").write_bytes((project / "two.npz").read_bytes())
    rows = entangle("between", "one.npz", "more/one.npz", "letters", "--json", "-q").json["rows"]
    assert [row["b"] for row in rows] == ["more/one.npz", "letters"]
    rows = entangle("between", "letters", "letters", "--json", "-q").json["rows"]
    assert (rows[0]["a"], rows[0]["b"]) == ("letters", "letters (2)")
    # every image has its double on the other side
    assert rows[0]["entanglement"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test", "lettres"], "did you mean 'letters'?"),
        (["nothing", "test"], "nothing: no such path"),
        (["test", "gone/*.npz"], "no such file"),
        (["test", "letters", "--layers", "fc2"], "give --model"),
        (["test", "letters", "--model", "gone.onnx"], "gone.onnx"),
        (["test", "letters", "--model", MODEL, "--layers", "fc9"], "fc9"),
        (["test", "letters", "--temperature", "-1"], "--temperature -1"),
        (["test[:1]", "letters[:1]"], "every point is alone in its class"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(entangle, project, words, message):
    found = entangle("between", *words)
    assert found.code == 2
    assert found.stdout == ""
    assert message in found.error


def test_what_cannot_be_measured_is_said_beside_the_rest(entangle, project):
    found = entangle("between", "test[:1]", "letters[:1]", "letters", "--json")
    assert found.code == 0
    assert [row["b"] for row in found.json["rows"]] == ["letters"]
    assert "letters[:1], layer input: 2 points" in found.error


def test_batches_and_limits(entangle, project):
    words = ("--protocol", "batches:32x4", "--limit", "100", "--json")
    found = entangle("between", "test", "letters", *words)
    (row,) = found.json["rows"]
    assert (row["n_a"], row["n_b"]) == (100, 100)
    assert found.json["provenance"]["protocol"]["batch_size"] == 32
    assert "LIMITED to 100 of 364" in found.stderr


def test_nothing_but_results_is_left(entangle, halves, project):
    found = entangle("between", *halves, "-q")
    assert found.stderr == ""
    names = {path.name for path in (project / "entangle-out").iterdir()}
    assert names == {"results.json", "between.json", "between.csv"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["s-20.npz", "s-3.npz"], [("s-3.npz", 3), ("s-20.npz", 20)]),
        (["gan/step20/images", "gan/step3/images"], [("gan/step3/images", 3),
                                                     ("gan/step20/images", 20)]),
        (["fakes"], [("fakes", None)]),
        (["b", "a"], [("b", None), ("a", None)]),
        (["a1", "letters"], [("a1", None), ("letters", None)]),
        (["real-2", "fake-1"], [("real-2", None), ("fake-1", None)]),
        (["a1", "a1"], [("a1", None), ("a1", None)]),
        (["set[0:20]", "set[0:10]"], [("set[0:20]", None), ("set[0:10]", None)]),
        (["set[::2]", "set[1::2]", "a"], [("set[::2]", None), ("set[1::2]", None), ("a", None)]),
    ],
)  # fmt: skip
def test_steps_are_read_from_names_that_differ_in_numbers_alone(given, expected):
    assert ordered(given) == expected
