import csv

import numpy as np
import pytest

ONNX = "checkpoints/digits-step1000.onnx"
SCRIPT = "checkpoints/digits-step1000.pt"
EARLIER = "checkpoints/digits-step0300.pt"


def stored(project, name):
    with np.load(project / "entangle-out" / name) as file:
        return file["images"], file["labels"]


def test_larger_changes_fool_the_network_more(entangle, project):
    found = entangle("attack", SCRIPT, "test", "--epsilon", 0.02, "--epsilon", 0.2, "--json")
    small, large = found.json["rows"]
    assert small["clean_accuracy"] > 0.95
    assert large["accuracy"] < 0.3 < small["accuracy"]
    assert large["changed"] > small["changed"]
    clean = entangle("measure", SCRIPT, "test", "--json", "-q").json["models"][0]["accuracy"]
    assert small["clean_accuracy"] == clean


def test_images_stay_within_epsilon_and_keep_their_labels(entangle, project):
    entangle("attack", SCRIPT, "test", "--method", "pgd", "--steps", 3, "--epsilon", 0.1)
    images, labels = stored(project, "adversarial-pgd-0.1.npz")
    entangle("attack", SCRIPT, "test", "--epsilon", 0)
    clean, clean_labels = stored(project, "adversarial-fgsm-0.npz")
    assert np.array_equal(labels, clean_labels)
    assert np.abs(images - clean).max() <= 0.1 + 1e-6
    assert images.min() >= 0
    assert images.max() <= 1


def test_the_file_is_a_data_set_that_gives_the_printed_accuracy(entangle, project):
    (row,) = entangle("attack", SCRIPT, "test", "--json", "-q").json["rows"]
    body = entangle("measure", SCRIPT, row["file"], "--json", "-q").json
    assert body["models"][0]["accuracy"] == pytest.approx(row["accuracy"], abs=0.003)


def test_the_images_go_into_a_named_file(entangle, project):
    words = ("attack", SCRIPT, "test", "--limit", 40, "-q")
    assert entangle(*words, "-o", "made/adversarial.npz").code == 0
    with np.load(project / "made" / "adversarial.npz") as file:
        assert len(file["images"]) == 40
    assert [path.name for path in (project / "made").iterdir()] == ["adversarial.npz"]
    two = entangle(*words, "-o", "two.npz", "--epsilon", 0.1, "--epsilon", 0.2)
    assert two.code == 2
    assert "holds one epsilon, 2 are given" in two.stderr


def test_many_steps_are_stronger_than_one(entangle, project):
    accuracy = {}
    for method in ("fgsm", "bim"):
        words = ("attack", SCRIPT, "test", "--method", method, "--epsilon", 0.1, "--json", "-q")
        accuracy[method] = entangle(*words).json["rows"][0]["accuracy"]
    assert accuracy["bim"] < accuracy["fgsm"]


def test_a_target_is_reached(entangle, project):
    words = ("--method", "bim", "--epsilon", 0.3, "--target", 3, "--json", "-q")
    (row,) = entangle("attack", SCRIPT, "test", *words).json["rows"]
    assert row["reached"] > 0.8


def test_onnx_models_take_transferred_inputs_only(entangle, project):
    refused = entangle("attack", ONNX, "test")
    assert refused.code == 2
    assert "give no gradients" in refused.error
    assert "--source" in refused.error
    (row,) = entangle("attack", ONNX, "test", "--source", EARLIER, "--json", "-q").json["rows"]
    assert row["source"] == "digits-step0300.pt"
    assert row["accuracy"] < row["clean_accuracy"] - 0.1


def test_credibility_falls_under_attack(entangle, project):
    (row,) = entangle("attack", SCRIPT, "test", "--json", "-q").json["rows"]
    words = ("dknn", SCRIPT, "--test", "test", "--test", row["file"], "--json", "-q")
    clean, attacked = entangle(*words).json["rows"]
    assert attacked["credibility"] < clean["credibility"] - 0.1


def test_the_same_seed_gives_the_same_images(entangle, project):
    for seed in (0, 0, 1):
        words = ("--method", "pgd", "--steps", 2, "--seed", seed, "-o", f"run{seed}")
        entangle("attack", SCRIPT, "test", *words)
    first, other = (np.load(f"run{seed}/adversarial-pgd-0.1.npz")["images"] for seed in (0, 1))
    assert not np.array_equal(first, other)
    with open("run0/attack.csv") as file:
        assert len(list(csv.DictReader(file))) == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("attack", SCRIPT, "test", "--epsilon", 3), "--epsilon 3: give a change"),
        (("attack", SCRIPT, "nowhere"), "nowhere: no such path"),
        (("attack", SCRIPT, "test", "--source", ONNX), "give no gradients"),
        (
            ("attack", SCRIPT, "test", "--target", 10),
            "--target 10: the network has the classes 0 to 9",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(entangle, project, words, reason):
    found = entangle(*words)
    assert found.code == 2
    assert reason in found.error


def test_attacks_of_the_toolbox_make_data_sets_too(entangle, project):
    pytest.importorskip("art", reason="the adversarial-robustness-toolbox is not installed")
    pytest.importorskip("multiprocess", reason="its AutoAttack needs multiprocess")
    words = ("attack", SCRIPT, "test", "--limit", 20, "--json", "-q", "--method")
    (row,) = entangle(*words, "carlini-wagner", "--steps", 10).json["rows"]
    assert row["accuracy"] < row["clean_accuracy"]
    assert row["epsilon"] is None
    assert 0 < row["mean_l2"] < 5
    images, _ = stored(project, "adversarial-carlini-wagner.npz")
    assert len(images) == 20
    limit = entangle(*words, "carlini-wagner", "--epsilon", 0.1)
    assert limit.code == 2
    assert "has no limit" in limit.error
    # enough for its first part to fool the network everywhere: the last takes thousands of steps
    (row,) = entangle(*words, "auto-attack", "--epsilon", 0.5).json["rows"]
    assert row["accuracy"] < row["clean_accuracy"] - 0.3
    assert row["steps"] is None
