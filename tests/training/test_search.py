"""Proposals of a Gaussian process, and a search that goes on where it stopped."""

import json
import math
import sys
from dataclasses import replace

import pytest
import torch

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import UsageError
from entangle_cli.training import proposals
from entangle_cli.training.data import load_images
from entangle_cli.training.proposals import SearchSettings, SearchSpace, need_optuna, propose
from entangle_cli.training.search import Journal, best, evaluation, hold_out, search
from entangle_cli.training.settings import TrainingSettings

DIGITS = load_images(open_dataset("digits@train"))
SETTINGS = SearchSettings(trials=14, batch=4, first=6)
SPACE = SETTINGS.space


@pytest.fixture(autouse=True)
def _optuna():
    pytest.importorskip("optuna")


def valley(settings):
    """Accuracy is 1 at a place of alpha below 0 and at a learning rate of 1e-3."""
    away = (SPACE.place_of(settings.alpha) + 0.6) ** 2 + (
        math.log10(settings.learning_rate) + 3
    ) ** 2
    return {"validation_accuracy": 1 - away / 4, "failed": None}


def run(path, settings=SETTINGS, evaluate=valley, **changes):
    training = TrainingSettings(**changes)
    return search(settings, training, evaluate, Journal(path, {"network": "mlp"}))


def test_alpha_and_its_place_are_one_to_one_and_have_both_signs():
    space = SearchSpace(alpha=(1e-3, 2.0))
    for place in (-1, -0.5, -1e-3, 0, 1e-3, 0.5, 1):
        assert space.place_of(space.alpha_of(place)) == pytest.approx(place, abs=1e-12)
        assert math.copysign(1, space.alpha_of(place)) == math.copysign(1, place)
    assert space.alpha_of(1) == pytest.approx(2)
    assert space.alpha_of(-1) == pytest.approx(-2)
    assert space.alpha_of(0) == 0
    # whatever rounding does, a place is one that may be asked for
    assert abs(space.place_of(-2.0000000000000004)) == 1


def test_a_search_finds_the_best_and_tries_both_signs(tmp_path):
    trials = run(tmp_path / "j", replace(SETTINGS, trials=20))
    assert [t["trial"] for t in trials] == list(range(20))
    assert {math.copysign(1, t["alpha"]) for t in trials[:6]} == {-1, 1}
    assert best(trials)["validation_accuracy"] > 0.99
    # which the trials drawn at random do not reach
    assert best(trials[:6])["validation_accuracy"] < 0.98
    for trial in trials:
        assert 1e-4 * 0.999 < trial["learning_rate"] < 1e-2 * 1.001
        assert "initial_temperature" not in trial


def test_the_first_temperature_is_searched_where_temperatures_are_learned(tmp_path):
    seen = []

    def evaluate(settings):
        seen.append(settings.initial_temperature)
        return valley(settings)

    trials = run(
        tmp_path / "j", replace(SETTINGS, trials=3), evaluate, temperature="learned", steps=7
    )
    assert seen == [trial["initial_temperature"] for trial in trials]
    assert len(set(seen)) == 3
    assert all(0.999 < value < 1001 for value in seen)


@pytest.mark.parametrize("stops", [1, 9])
def test_a_search_that_was_cut_ends_with_the_same_trials(tmp_path, stops):
    whole = run(tmp_path / "whole")
    count = 0

    def dying(settings):
        nonlocal count
        count += 1
        if count > stops:
            raise KeyboardInterrupt
        return valley(settings)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", evaluate=dying)
    assert run(tmp_path / "cut") == whole
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()


def test_more_trials_go_on_and_fewer_are_the_first_ones(tmp_path):
    whole = run(tmp_path / "whole")
    part = run(tmp_path / "part", replace(SETTINGS, trials=5))
    assert part == whole[:5]
    assert run(tmp_path / "part") == whole
    assert run(tmp_path / "part", replace(SETTINGS, trials=5)) == whole[:5]
    other = run(tmp_path / "other", replace(SETTINGS, seed=1))
    assert [t["alpha"] for t in other] != [t["alpha"] for t in whole]


def test_proposals_of_a_batch_differ_and_leave_the_global_generator_alone():
    done = [
        {"alpha": a, "learning_rate": 1e-3, "validation_accuracy": 1 - a * a}
        for a in (-0.3, -0.1, 0.0, 0.01, 0.2, 0.5, 0.9, -1.0)
    ]
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    found = propose(SETTINGS, ("alpha", "learning_rate"), 2, done)
    assert torch.equal(before, torch.random.get_rng_state())
    assert len({p["alpha"] for p in found}) == 4
    assert found == propose(SETTINGS, ("alpha", "learning_rate"), 2, done)


def test_another_search_is_refused_and_what_differs_is_named(tmp_path):
    run(tmp_path / "j", replace(SETTINGS, trials=1))
    with pytest.raises(UsageError, match="steps 1000 then, 9 now"):
        run(tmp_path / "j", steps=9)
    wider = replace(SETTINGS, space=SearchSpace(alpha=(1e-3, 9.0)))
    with pytest.raises(UsageError, match=r"alpha range \[0.001, 1.0\] then, \[0.001, 9.0\] now"):
        run(tmp_path / "j", wider)
    again = Journal(tmp_path / "j", {"network": "mlp"}, overwrite=True)
    assert len(search(wider, TrainingSettings(), valley, again)) == 14


@pytest.mark.parametrize("content", ["", "{", "[]\n{"])
def test_a_damaged_journal_is_refused(tmp_path, content):
    (tmp_path / "j").write_text(content)
    with pytest.raises(UsageError, match="cannot be read; remove it, or give --overwrite"):
        run(tmp_path / "j")


def test_without_optuna_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(proposals, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs Optuna: pip install"):
        need_optuna()
    with pytest.raises(UsageError, match="needs Optuna: pip install"):
        run(tmp_path / "j")
    assert not (tmp_path / "j").exists()


def test_networks_are_trained_and_judged_on_what_is_held_out(tmp_path):
    train, held = hold_out(DIGITS, 0.2, seed=4)
    assert len(train.images) + len(held[0]) == len(DIGITS.images)
    assert not {image.numpy().tobytes() for image in held[0][:20]} & {
        image.numpy().tobytes() for image in train.images
    }
    evaluate = evaluation("mlp", train, held)
    asked = TrainingSettings(steps=60, batch_size=64, learning_rate=3e-3, record_every=60)
    found, again = evaluate(asked), evaluate(asked)
    assert found == again
    assert found["validation_accuracy"] > 0.7
    assert found["failed"] is None
    assert set(found) >= {"entanglement fc1>relu", "entanglement fc2>relu", "cross_entropy"}


def test_a_trial_that_cannot_be_trained_counts_as_accuracy_0():
    train, held = hold_out(DIGITS, 0.5, seed=0)
    asked = TrainingSettings(steps=9, learning_rate=1e30, record_every=60)
    found = evaluation("mlp", train, held)(asked)
    assert found["validation_accuracy"] == 0
    assert "not finite" in found["failed"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_too_little_to_hold_out_is_named(share):
    with pytest.raises(UsageError, match="give more samples"):
        hold_out(DIGITS, share, seed=0)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: SearchSpace(alpha=(0.0, 1.0)), "alpha from 0 to 1"),
        (lambda: SearchSpace(learning_rate=(1e-2, 1e-3)), "learning rate from 0.01 to 0.001"),
        (lambda: SearchSettings(trials=0), "trials 0"),
        (lambda: SearchSettings(batch=0), "batch 0"),
        (lambda: SearchSettings(seed=-1), "seed -1"),
    ],
)
def test_settings_that_cannot_be_are_named(made, named):
    with pytest.raises(UsageError, match=named):
        made()


def test_the_journal_is_lines_of_json_that_say_what_was_tried(tmp_path):
    run(tmp_path / "j", replace(SETTINGS, trials=2))
    first, *trials = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert first["network"] == "mlp"
    assert "alpha" not in first
    assert [trial["trial"] for trial in trials] == [0, 1]
    assert "optuna" in sys.modules
