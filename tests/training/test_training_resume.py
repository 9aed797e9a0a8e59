"""Entangled training, and going on with it where it stopped."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import DataError, MeasureError, UsageError
from entangle_cli.training.data import check_alike, load_images
from entangle_cli.training.loop import Training
from entangle_cli.training.networks import build_network
from entangle_cli.training.run import Run, checkpoint_steps, measured, run_training
from entangle_cli.training.settings import TrainingSettings
from entangle_cli.training.state import read_state

DIGITS = load_images(open_dataset("digits@train"))
TEST = load_images(open_dataset("digits@test"))
SETTINGS = TrainingSettings(steps=12, batch_size=32, alpha=-0.1, record_every=3)


def training(settings=SETTINGS, network="mlp", seed=0):
    built = build_network(network, DIGITS.shape, DIGITS.classes, seed)
    return Training(built, DIGITS.images, DIGITS.labels, settings)


def place(folder, **changes):
    identity = {"data": "digits", **SETTINGS.to_json()}
    made = Run(folder, "mlp", identity, DIGITS.preprocessing, (0, 6, 12), save_every=5)
    return replace(made, test=(TEST.images, TEST.labels), **changes)


def weights(trained):
    return torch.nn.utils.parameters_to_vector(trained.objective.parameters()).detach()


@functools.cache
def entangled(alpha, seed, steps=300):
    """A network trained with this alpha and its row as of a checkpoint at the end."""
    settings = TrainingSettings(
        steps=steps, batch_size=64, learning_rate=3e-3, alpha=alpha, seed=seed, record_every=5
    )
    trained = training(settings, seed=seed)
    for _ in range(settings.steps):
        trained.advance()
    return trained, measured(trained, (TEST.images, TEST.labels))


def test_alpha_below_zero_mixes_the_hidden_layers_and_keeps_the_accuracy():
    (_, plain), (_, mixed) = entangled(0.0, 0), entangled(-0.1, 0)
    for layer in ("fc1>relu", "fc2>relu"):
        name = f"entanglement {layer}"
        assert mixed[name] > 2 * plain[name]
    assert plain["accuracy"] > 0.93
    assert mixed["accuracy"] > plain["accuracy"] - 0.03


def test_alpha_above_zero_separates_them():
    """Early on: later on every point of a batch is next to its class either way."""
    losses = [
        sum(row["snnl fc2>relu"] for row in entangled(alpha, 0, 40)[0].history)
        for alpha in (0.0, 1.0)
    ]
    assert losses[1] < 0.7 * losses[0], losses


@pytest.mark.parametrize(
    ("policy", "stops"), [("minimum", (1, 5, 7)), ("learned", (7,)), ("median", (7,)), (5.0, (7,))]
)
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path, policy, stops):
    settings = replace(SETTINGS, temperature=policy)
    whole = training(settings)
    rows = run_training(whole, place(tmp_path / "whole", checkpoints=(6,)))
    for number in stops:
        run = place(tmp_path / f"stopped{number}", checkpoints=(6,))
        first, second = training(settings), training(settings)
        assert run_training(first, run, stopping=_at(first, number)) is None
        assert first.step == number
        assert run_training(second, run) == rows
        assert weights(second).numpy().tobytes() == weights(whole).numpy().tobytes()
        assert second.history == whole.history


def test_a_rate_that_falls_in_a_line_goes_on_where_it_was(tmp_path):
    settings = replace(SETTINGS, schedule="linear", temperature="learned", learning_rate=0.006)
    whole = training(settings)
    rates = []
    for _ in range(settings.steps):
        whole.advance()
        rates.append([group["lr"] for group in whole.optimizer.param_groups])
    assert [network for network, _ in rates] == pytest.approx(
        [0.006 * (12 - step) / 12 for step in range(12)]
    )
    # temperatures keep theirs
    assert {of_temperatures for _, of_temperatures in rates} == {settings.temperature_rate}
    first, second = training(settings), training(settings)
    run = place(tmp_path, checkpoints=(6,))
    assert run_training(first, run, stopping=_at(first, 7)) is None
    run_training(second, run)
    assert weights(second).numpy().tobytes() == weights(whole).numpy().tobytes()


def test_only_a_rate_that_is_not_constant_is_part_of_the_identity():
    assert "schedule" not in SETTINGS.to_json()
    assert replace(SETTINGS, schedule="linear").to_json()["schedule"] == "linear"
    with pytest.raises(UsageError, match="give constant or linear"):
        replace(SETTINGS, schedule="cosine")


def _at(trained, number):
    return lambda: trained.step >= number


def test_a_killed_run_goes_on_from_its_last_saved_state(tmp_path):
    whole = training()
    run_training(whole, place(tmp_path / "whole"))
    seen = []

    def die(row):
        seen.append(row["step"])
        if row["step"] == 6:
            raise MemoryError

    with pytest.raises(MemoryError):
        run_training(training(), place(tmp_path / "killed"), on_checkpoint=die)
    assert read_state(tmp_path / "killed" / "train.state", place(None).identity)["step"] == 5
    second = training()
    run_training(second, place(tmp_path / "killed"))
    assert torch.equal(weights(second), weights(whole))
    assert not list((tmp_path / "killed").rglob("*.tmp"))


def test_batch_norm_goes_on_as_well(tmp_path):
    settings = TrainingSettings(steps=4, batch_size=8, alpha=0.0)
    whole, first, second = (training(settings, "resnet15") for _ in range(3))
    run = replace(place(tmp_path), checkpoints=(2,), test=None)
    run_training(whole, replace(run, folder=tmp_path / "whole"))
    run_training(first, run, stopping=lambda: first.step >= 3)
    run_training(second, run)
    ours, theirs = second.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, second = training(), training()
    rows = run_training(first, place(tmp_path))
    second.advance = None
    assert run_training(second, place(tmp_path)) == rows
    assert second.step == 12


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"alpha": -0.2}, "alpha -0.1 then, -0.2 now"),
        ({"data": "letters"}, "data 'digits' then, 'letters' now"),
        ({"layers": ["fc1"], "seed": 3}, "layers [] then, ['fc1'] now, seed 0 then, 3 now"),
    ],
)
def test_another_run_is_refused_and_what_differs_is_named(tmp_path, changed, named):
    run = place(tmp_path)
    run_training(training(), run)
    other = replace(run, identity={**run.identity, **changed})
    with pytest.raises(UsageError) as error:
        run_training(training(), other)
    assert named in str(error.value)
    assert "or --overwrite" in str(error.value)
    assert run_training(training(), other, overwrite=True)


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04" + b"0" * 50])
def test_a_damaged_state_is_refused(tmp_path, content):
    (tmp_path / "train.state").write_bytes(content)
    with pytest.raises(UsageError, match=r"train\.state: cannot be read; remove it"):
        run_training(training(), place(tmp_path))


def test_a_state_that_would_run_code_is_refused(tmp_path):
    torch.save({"identity": "{}", "step": print}, tmp_path / "train.state")
    with pytest.raises(UsageError, match="cannot be read"):
        run_training(training(), place(tmp_path))


def test_batches_are_epochs_without_repetition():
    trained = training(replace(SETTINGS, batch_size=100))
    epochs = [torch.cat([trained.batch(10 * epoch + i) for i in range(10)]) for epoch in (0, 1)]
    for rows in epochs:
        assert len(rows.unique()) == 1000
    assert not torch.equal(*epochs)
    # in any order of asking
    assert torch.equal(trained.batch(3), epochs[0][300:400])
    assert len(training(replace(SETTINGS, batch_size=5000)).batch(7)) == len(DIGITS.images)


def test_the_history_holds_every_part_of_the_loss():
    trained = training()
    for _ in range(4):
        trained.advance()
    assert [row["step"] for row in trained.history] == [0, 3]
    row = trained.history[-1]
    snnl = sum(value for name, value in row.items() if name.startswith("snnl "))
    assert row["loss"] == pytest.approx(row["cross_entropy"] - 0.1 * snnl, rel=1e-6)
    assert row["temperature fc1>relu"] > 0


def test_a_loss_that_is_not_finite_stops_the_run():
    trained = training(replace(SETTINGS, learning_rate=1e30, alpha=0.0, record_every=1000))
    trained.advance()
    with pytest.raises(MeasureError, match="not finite; give a lower learning rate"):
        trained.advance()


@pytest.mark.parametrize(
    ("text", "steps"),
    [("1", (12,)), ("2", (0, 12)), ("4", (0, 4, 8, 12)), ("99", tuple(range(13))), ("0,3", (0, 3))],
)
def test_checkpoints_by_number_or_by_step(text, steps):
    assert checkpoint_steps(text, 12) == steps


@pytest.mark.parametrize("text", ["", "x", "1,y", "0,13", "-3"])
def test_checkpoints_that_cannot_be_are_named(text):
    with pytest.raises(UsageError, match="--checkpoints"):
        checkpoint_steps(text, 12)


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"alpha": math.inf}, {"seed": -1}],
)
def test_settings_that_cannot_be_are_named(changes):
    with pytest.raises(UsageError, match=next(iter(changes)).replace("_", " ")):
        TrainingSettings(**changes)


def test_data_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((4, 5), np.float32), labels=np.arange(4))
    np.savez(tmp_path / "b.npz", images=np.zeros((4, 9, 9), np.uint8), labels=np.arange(4) + 8)
    np.savez(tmp_path / "c.npz", images=np.zeros((4, 8, 8), np.uint8))
    arrays, large, bare = (open_dataset(str(tmp_path / f"{name}.npz")) for name in "abc")
    with pytest.raises(DataError, match="holds arrays; training takes images"):
        load_images(arrays)
    with pytest.raises(DataError, match="4 of 4 samples have no label"):
        load_images(bare)
    digits = open_dataset("digits")
    with pytest.raises(DataError, match=r"different sizes \(8x8x1 and 9x9x1\)"):
        check_alike(digits, large, DIGITS, load_images(large))
