"""Small generators: their losses, their curves, and going on where they stopped."""

import csv
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from entangle_cli.datasets import open_dataset
from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.training.data import load_images
from entangle_cli.training.generative.loop import GeneratorTraining
from entangle_cli.training.generative.losses import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    real_and_generated,
)
from entangle_cli.training.generative.networks import Discriminator, Generator
from entangle_cli.training.generative.run import Place, train_generator
from entangle_cli.training.generative.settings import GANS, KINDS, GeneratorSettings
from entangle_cli.training.generative.snapshots import (
    Snapshots,
    class_shares,
    entanglement_curve,
    noise_grid,
    present,
    write_snapshot,
)
from entangle_cli.training.soft_nearest_neighbors import (
    SoftNearestNeighborLoss,
    soft_nearest_neighbor_loss,
)

DIGITS = load_images(open_dataset("digits@train"))
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (4, 9, 13)]


def settings(kind="nonsaturating", **changes):
    made = GeneratorSettings(
        kind=kind, steps=8, batch_size=16, latent=4, width=4, samples=20, record_every=2
    )
    if kind == "space":
        made = replace(made, metric="cosine", temperature=0.5)
    return replace(made, **changes)


def weights(training):
    return torch.cat(
        [torch.nn.utils.parameters_to_vector(m.parameters()) for m in training._modules().values()]
        if training.criterion.log_inverse is not None
        else [torch.nn.utils.parameters_to_vector(training.generator.parameters())]
    ).detach()


@pytest.mark.parametrize("shape", SHAPES)
def test_both_networks_take_every_shape_and_use_every_weight(shape):
    generator, discriminator = Generator(shape, 5, 3), Discriminator(shape, 10, 3)
    images = generator(torch.randn(6, 5))
    assert images.shape == (6, *shape)
    assert images.abs().max() <= 1
    placed = discriminator(images)
    assert placed.shape == (6, 10)
    (placed.square().sum() + images.sum()).backward()
    for network in (generator, discriminator):
        assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("kind", GANS)
def test_losses_against_their_formulas(kind):
    real, fake = torch.tensor([0.3, -2.0, 1.5]), torch.tensor([1.2, -0.4, -3.0])
    x, g = real.double().numpy(), fake.double().numpy()
    critic, maker = {
        "nonsaturating": (
            np.mean(np.log1p(np.exp(-x))) + np.mean(np.log1p(np.exp(g))),
            np.mean(np.log1p(np.exp(-g))),
        ),
        "hinge": (np.maximum(0, 1 - x).mean() + np.maximum(0, 1 + g).mean(), -g.mean()),
        "wgan-gp": (g.mean() - x.mean(), -g.mean()),
    }[kind]
    assert float(discriminator_loss(kind, real, fake)) == pytest.approx(critic, rel=1e-6)
    assert float(generator_loss(kind, fake)) == pytest.approx(maker, rel=1e-6)


@pytest.mark.parametrize("kind", GANS)
def test_gradients_of_the_losses(kind):
    generator = torch.Generator().manual_seed(1)
    scores = [
        torch.randn(5, dtype=torch.float64, generator=generator, requires_grad=True)
        for _ in range(2)
    ]
    assert torch.autograd.gradcheck(lambda a, b: discriminator_loss(kind, a, b), scores)
    assert torch.autograd.gradcheck(lambda b: generator_loss(kind, b), scores[1:])
    # scores so high that a probability would be 0 or 1 still have finite losses
    for far in (torch.full((3,), 1e4), torch.full((3,), -1e4)):
        assert math.isfinite(float(discriminator_loss(kind, far, -far)))


def test_the_penalty_of_a_linear_critic_is_known():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    images = torch.rand(6, 1, 1, 2), torch.rand(6, 1, 1, 2)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, *images, torch.rand(6))
    assert penalty.item() == pytest.approx((5 - 1) ** 2, rel=1e-6)
    penalty.backward()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(weight.grad, torch.tensor([4.8, 6.4]))


def test_the_penalty_of_a_flat_critic_is_finite_and_so_is_its_gradient():
    weight = torch.zeros(4, requires_grad=True)
    images = torch.rand(3, 1, 2, 2)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, images, images, torch.rand(3))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-4)
    assert torch.isfinite(weight.grad).all()


def test_real_and_generated_is_the_loss_with_two_classes():
    real, fake = torch.rand(7, 1, 2, 3), torch.rand(5, 1, 2, 3)
    found, temperature = real_and_generated(SoftNearestNeighborLoss(temperature=0.3), real, fake)
    points = torch.cat([real, fake]).flatten(1)
    labels = torch.tensor([0] * 7 + [1] * 5)
    expected = soft_nearest_neighbor_loss(points, labels, temperature=0.3)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    assert temperature == 0.3
    with pytest.raises(MeasureError, match="of 6 numbers, generated ones of 4"):
        real_and_generated(SoftNearestNeighborLoss(), real, fake[..., :2])


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", ["median", "minimum", "learned", 0.5])
def test_gradients_of_real_and_generated(temperature, metric):
    generator = torch.Generator().manual_seed(3)
    points = [
        torch.randn(n, 3, dtype=torch.float64, generator=generator, requires_grad=True)
        for n in (5, 4)
    ]
    criterion = SoftNearestNeighborLoss(temperature=temperature, metric=metric, initial=0.7)
    assert torch.autograd.gradcheck(lambda a, b: real_and_generated(criterion, a, b)[0], points)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", ["median", "minimum", "learned", 0.5])
@pytest.mark.parametrize(
    "degenerate",
    ["all images alike", "generated alike", "one of each", "a real image is generated", "black"],
)
def test_degenerate_batches_have_finite_losses_and_gradients(degenerate, temperature, metric):
    generator = torch.Generator().manual_seed(5)
    real, fake = (torch.rand(6, 4, generator=generator) for _ in range(2))
    if degenerate == "all images alike":
        real, fake = torch.ones(6, 4), torch.ones(6, 4)
    elif degenerate == "generated alike":
        fake = fake[:1].repeat(6, 1)
    elif degenerate == "one of each":
        real, fake = real[:1], fake[:1]
    elif degenerate == "a real image is generated":
        fake[0] = real[0]
    else:
        real, fake = real * 0, fake * 0
    fake.requires_grad_()
    criterion = SoftNearestNeighborLoss(temperature=temperature, metric=metric)
    loss, found = real_and_generated(criterion, real, fake)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(fake.grad).all()
    assert float(torch.as_tensor(found).detach()) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_moves_its_networks_and_keeps_the_global_generator(kind):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    training = GeneratorTraining(DIGITS.images, settings(kind))
    assert (training.discriminator is None) == (kind == "pixels")
    modules = {k: m for k, m in training._modules().items() if k != "criterion"}
    start = {k: torch.nn.utils.parameters_to_vector(m.parameters()) for k, m in modules.items()}
    start = {k: v.detach().clone() for k, v in start.items()}
    for _ in range(3):
        training.advance()
    assert torch.equal(before, torch.random.get_rng_state())
    for name, module in modules.items():
        now = torch.nn.utils.parameters_to_vector(module.parameters())
        assert not torch.equal(start[name], now), name
    assert [row["step"] for row in training.history] == [0, 2]
    row = training.history[-1]
    assert ("snnl" in row) == (kind not in GANS)
    assert (row["discriminator"] is None) == (kind == "pixels")


@pytest.mark.parametrize(
    ("kind", "temperature"), [(kind, None) for kind in KINDS] + [("pixels", "learned")]
)
def test_a_run_that_was_stopped_ends_with_the_same_bytes(tmp_path, kind, temperature):
    made = settings(kind)
    if temperature:
        made = replace(made, temperature=temperature)
    whole = train_generator(made, DIGITS.images)
    place = Place(tmp_path, {"data": "digits"}, save_every=3)
    for stops in (1, 4):
        seen = iter(range(100))
        now = replace(place, folder=tmp_path / str(stops))
        stopped = train_generator(
            made, DIGITS.images, place=now, stopping=lambda s=stops, n=seen: next(n) >= s
        )
        assert stopped is None
        found = train_generator(made, DIGITS.images, place=now)
        assert found.steps == whole.steps == made.snapshot_steps
        assert all(map(torch.equal, found.images, whole.images))
        assert torch.equal(found.grid, whole.grid)
        assert found.losses == whole.losses
        assert len(list(now.folder.iterdir())) == len(whole.steps) + 1


def test_a_killed_run_goes_on_and_its_files_are_the_same(tmp_path, monkeypatch):
    made = settings("hinge")
    places = [Place(tmp_path / name, {}, save_every=3) for name in ("whole", "killed")]
    whole = train_generator(made, DIGITS.images, place=places[0])
    advance = GeneratorTraining.advance

    def dying(self):
        if self.step == 5:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(GeneratorTraining, "advance", dying)
    with pytest.raises(KeyboardInterrupt):
        train_generator(made, DIGITS.images, place=places[1])
    monkeypatch.undo()
    # a snapshot that is damaged meanwhile is written anew
    next(places[1].folder.glob("hinge-step*.npz")).write_bytes(b"")
    again = train_generator(made, DIGITS.images, place=places[1])
    for one, other in zip(whole.files, again.files, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_another_run_in_the_folder_is_refused(tmp_path):
    place = Place(tmp_path, {"data": "digits"})
    train_generator(settings(), DIGITS.images, place=place)
    with pytest.raises(UsageError, match="latent 4 then, 5 now"):
        train_generator(settings(latent=5), DIGITS.images, place=place)
    with pytest.raises(UsageError, match="data 'digits' then, 'letters' now"):
        train_generator(
            settings(), DIGITS.images, place=replace(place, identity={"data": "letters"})
        )
    again = replace(place, overwrite=True)
    assert train_generator(settings(latent=5), DIGITS.images, place=again).steps


def test_seeds_differ_and_repeat():
    runs = [train_generator(settings(seed=seed), DIGITS.images) for seed in (0, 0, 1)]
    assert torch.equal(runs[0].images[-1], runs[1].images[-1])
    assert not torch.equal(runs[0].images[-1], runs[2].images[-1])


def test_floats_in_0_to_1_are_the_same_images():
    exact = DIGITS.images.float() / 255
    for one, other in zip(
        *(train_generator(settings(), images).images for images in (DIGITS.images, exact)),
        strict=True,
    ):
        assert (one.int() - other.int()).abs().max() <= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "vae"},
        {"steps": 0},
        {"batch_size": 1},
        {"critic_steps": 0},
        {"learning_rate": 0.0},
        {"penalty": -1.0},
        {"seed": -1},
        {"snapshots": (0, 9)},
    ],
)
def test_settings_that_cannot_be_are_named(changes):
    word = {"kind": "generator"}.get(next(iter(changes)), next(iter(changes)).replace("_", " "))
    with pytest.raises(UsageError, match=word):
        settings(**changes)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (9, 64), (9, 1, 3, 8)])
def test_images_that_cannot_be_are_named(shape):
    with pytest.raises(UsageError, match=re.escape(f"images of shape {shape}")):
        GeneratorTraining(torch.zeros(shape), settings())


def test_the_smallest_images_that_can_be(tmp_path):
    made = settings("wgan-gp", steps=2)
    assert train_generator(made, torch.rand(2, 2, 4, 5)).images[-1].shape == (20, 2, 4, 5)


def test_a_loss_that_is_not_finite_stops_the_run():
    with pytest.raises(MeasureError, match="loss is not finite; give a lower learning rate"):
        train_generator(settings("wgan-gp", learning_rate=1e30), DIGITS.images)


def test_a_generator_that_ascends_its_entanglement_becomes_harder_to_tell_apart():
    made = settings(
        "pixels", steps=150, batch_size=64, latent=2, width=16, learning_rate=3e-3, samples=128
    )
    found = train_generator(made, DIGITS.images)
    curve = entanglement_curve(DIGITS.images[:128], found, batch=64, batches=4)
    assert [row["step"] for row in curve] == list(made.snapshot_steps)
    assert curve[0]["boundary"] == "zero"
    assert curve[0]["entanglement"] == 0
    assert curve[-1]["entanglement"] > 0.6
    assert curve[0]["ceiling"] == pytest.approx(math.log(63 / 31))
    assert {row["n"] for row in curve} == {64}


def test_two_halves_of_the_real_images_are_at_the_ceiling():
    halves = DIGITS.images[:128], DIGITS.images[128:256]
    found = Snapshots((0,), (halves[1],), torch.zeros(1, 1, 1, 8, 8), [])
    row = entanglement_curve(halves[0], found, batch=128, batches=4)[0]
    assert row["ceiling"] == pytest.approx(0.701, abs=5e-4)
    assert row["entanglement"] > 0.85
    with pytest.raises(MeasureError, match="give 2 to 40"):
        entanglement_curve(halves[0][:20], found)


def test_between_reads_the_series(tmp_path, entangle_between):
    place = Place(tmp_path / "gan", {})
    found = train_generator(settings(), DIGITS.images, place=place)
    rows = entangle_between("digits@test", str(place.folder / "nonsaturating-step*.npz"))
    assert [row["step"] for row in rows] == list(found.steps)
    assert {row["n_b"] for row in rows} == {20}


@pytest.fixture
def entangle_between(tmp_path):
    from entangle_cli.commands.options import RunOptions
    from entangle_cli.measures.protocol import Protocol
    from entangle_cli.project import Project
    from entangle_cli.runs.between.run import BetweenOptions, run_between
    from entangle_cli.runs.shared.console import Terminal

    def run(one, *others):
        options, terminal = RunOptions(output=tmp_path / "out"), Terminal(quiet=True)
        asked = BetweenOptions(Protocol(batch_size=32, batches=2))
        return run_between(one, others, Project(), options, asked, terminal).rows

    return run


@pytest.mark.parametrize("shape", [(5, 1, 4, 6), (5, 3, 4, 6)])
def test_snapshots_are_read_as_they_were_written(tmp_path, shape):
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    write_snapshot(tmp_path / "deep" / "a.npz", images)
    read = open_dataset(str(tmp_path / "deep" / "a.npz"))
    assert np.array_equal(np.stack(read.images(np.arange(5))), images.permute(0, 2, 3, 1).numpy())


def test_the_grid_spans_two_numbers_of_the_noise():
    noise = noise_grid(3, 4).reshape(3, 3, 4)
    assert torch.equal(noise[:, 0, 0], noise[0, :, 1])
    assert noise[1, 1].abs().max() < 1e-6
    assert noise[..., 2:].abs().max() == 0
    # a third of the noise lies beyond each of the outer thirds' middles' half
    assert float(torch.special.ndtr(noise[0, 0, 0])) == pytest.approx(1 / 6, abs=1e-6)
    assert noise_grid(2, 1).shape == (4, 1)


def test_class_shares_by_the_nearest_real_image():
    real = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([2, 0, 2])
    generated = torch.tensor([[0.9, 0.1], [0.1, 0.1], [0.1, 0.8], [0.0, 0.0]])
    shares = class_shares(generated, real, labels, 4)
    assert shares == [0.25, 0, 0.75, 0]
    assert present(shares) == 2
    assert present(shares, 0.5) == 1
    assert class_shares(DIGITS.images[:50], DIGITS.images, DIGITS.labels, 10) == [
        int((DIGITS.labels[:50] == c).sum()) / 50 for c in range(10)
    ]
    with pytest.raises(MeasureError, match="of one size"):
        class_shares(generated, DIGITS.images, DIGITS.labels, 10)


def test_the_documented_generator_runs_and_between_reads_it(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text()
    code = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[-1]
    line = re.findall(r"^entangle between .*$", text, re.MULTILINE)[-1].removeprefix("entangle ")
    made = code.replace("steps=200", "steps=10")
    assert made != code
    (tmp_path / "generate.py").write_text(made)
    shown = [
        subprocess.run(words, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        for words in (
            f"{sys.executable} generate.py",
            f"{sys.executable} -m entangle_cli {line} --format csv",
        )
    ]
    assert [done.returncode for done in shown] == [0, 0], [done.stderr for done in shown]
    printed = [row.split() for row in shown[0].stdout.splitlines()]
    rows = list(csv.DictReader(shown[1].stdout.splitlines()))
    assert [row["step"] for row in rows] == [row[0] for row in printed] == [*"02468", "10"]
    # the same images, and batches drawn alike
    for row, (_, snnl, _, ceiling) in zip(rows, printed, strict=True):
        assert float(row["ceiling"]) == pytest.approx(float(ceiling), rel=1e-9)
        assert float(row["snnl"]) == pytest.approx(float(snnl), abs=0.1)
