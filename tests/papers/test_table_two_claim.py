"""Table 2 on digits, and training on attacked inputs."""

import pytest
import torch

from entangle_cli.papers.adversarial import AdversarialTraining, InnerAttack, moved_within
from entangle_cli.papers.claims import adversarial_training as claim
from entangle_cli.training.loop import as_inputs
from entangle_cli.training.networks import build_network
from entangle_cli.training.settings import TrainingSettings

ATTACK = InnerAttack(epsilon=0.2, steps=2, step_size=0.1, warm_up=4)
TINY = claim.Sizes(2, 20, 32, 1e-3, ATTACK, InnerAttack(epsilon=0.2, steps=2), 64, 64)


def training(settings, attack=ATTACK):
    data = settings.shelf.load("mnist", "train")
    network = build_network("digits", data.shape, data.classes, 0)
    plan = TrainingSettings(steps=8, batch_size=16)
    return AdversarialTraining(network, data.images, data.labels, plan, attack=attack)


def test_the_claim_from_data_to_comparison(settings_for):
    found = claim.run(settings_for(TINY))
    # two runs of two models, four layers at four temperatures and at the minimum
    assert len(found.rows) == 2 * 2 * 4 * 5
    by = {(r["run"], r["model"], r["layer"], r["temperature"]): r["snnl"] for r in found.rows}
    for (run, model, layer, _), value in by.items():
        assert by[run, model, layer, "minimum"] <= value + 1e-9
    assert {row["model"] for row in found.tables["accuracies"]} == {"baseline", "pgd"}
    assert any(one.printed == 0.82 for one in found.comparisons)


def test_what_is_trained_on_is_attacked_more_as_the_ball_grows(settings_for):
    work = training(settings_for(TINY))
    rows = work.batch(0)
    plain = as_inputs(work.images[rows])
    moved = []
    for step in (0, 1, 3, 7):
        work.step = step
        moved.append(float((work.seen(rows)[0] - plain).abs().max()))
    assert moved == pytest.approx([0.05, 0.1, 0.2, 0.2], abs=1e-6)


def test_the_attack_raises_the_loss(settings_for):
    work = training(settings_for(TINY))
    rows = work.batch(0)
    inputs, labels = as_inputs(work.images[rows]), work.labels[rows]
    moved = moved_within(work.network, inputs, labels, ATTACK)
    loss = torch.nn.functional.cross_entropy
    with torch.no_grad():
        assert loss(work.network(moved), labels) > loss(work.network(inputs), labels)


def test_stopped_and_resumed_it_ends_the_same(settings_for):
    settings = settings_for(TINY)
    whole = training(settings)
    for _ in range(8):
        whole.advance()
    first = training(settings)
    for _ in range(3):
        first.advance()
    state = first.state()
    rest = training(settings)
    rest.restore(state)
    while rest.step < 8:
        rest.advance()
    for a, b in zip(whole.network.parameters(), rest.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_pooled_layers_end_in_the_networks_own_logits(settings_for):
    data = settings_for(TINY).shelf.load("mnist", "test")
    network = build_network("digits", data.shape, data.classes, 0)
    inputs = as_inputs(data.images[:5])
    layers = claim.pooled_layers(network, inputs)
    assert torch.equal(layers["logits"], network(inputs))
    assert list(layers) == list(claim.PRINTED)
