"""Networks that claims share are trained once, and go on where they were cut."""

from dataclasses import replace

import pytest
import torch

from entangle_cli.errors import DataError, UsageError
from entangle_cli.papers.networks import logits_and_layers, split, trained
from entangle_cli.papers.shelf import Shelf
from entangle_cli.training import run as run_module
from entangle_cli.training.loop import Training, as_inputs
from entangle_cli.training.settings import TrainingSettings

PLAN = TrainingSettings(steps=12, batch_size=16)


def mnist(settings):
    train, test = (settings.shelf.load("mnist", part) for part in ("train", "test"))
    return train, (test.images, test.labels)


def weights(found):
    return torch.cat([p.flatten() for p in found.network.parameters()])


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps that are really taken."""
    taken = []
    advance = Training.advance
    monkeypatch.setattr(Training, "advance", lambda self: (taken.append(1), advance(self))[1])
    return taken


def test_trained_once(settings_for, steps):
    settings = settings_for(None)
    first = trained(settings, "mlp", *mnist(settings), PLAN)
    again = trained(settings, "mlp", *mnist(settings), PLAN)
    assert len(steps) == 12
    assert torch.equal(weights(first), weights(again))
    assert first.rows == again.rows
    assert first.accuracy == first.rows[-1]["accuracy"]
    assert not first.network.training
    # nothing but the state: checkpoints are not exported
    (folder,) = (path for path in settings.networks.iterdir() if path.is_dir())
    assert [path.name for path in folder.iterdir()] == ["train.state"]


def test_other_settings_are_another_network(settings_for, steps):
    settings = settings_for(None)
    trained(settings, "mlp", *mnist(settings), PLAN)
    train, test = mnist(settings)
    other = test[0][:100], test[1][:100]
    trained(settings, "mlp", train, other, PLAN)
    trained(settings, "mlp", train, test, TrainingSettings(steps=12, batch_size=16, seed=1))
    assert len(steps) == 36


def test_cut_it_goes_on(settings_for, monkeypatch):
    settings = settings_for(None)
    whole = trained(settings, "mlp", *mnist(settings), PLAN)
    elsewhere = replace(settings, networks=settings.networks / "elsewhere")
    advance = Training.advance

    def cut(self):
        if self.step == 7:
            raise KeyboardInterrupt
        advance(self)

    monkeypatch.setattr(Training, "advance", cut)
    original = run_module.Run.__init__

    def every_five(self, *args, **options):
        original(self, *args, **options)
        object.__setattr__(self, "save_every", 5)

    monkeypatch.setattr(run_module.Run, "__init__", every_five)
    with pytest.raises(KeyboardInterrupt):
        trained(elsewhere, "mlp", *mnist(elsewhere), PLAN)
    taken = []
    monkeypatch.setattr(Training, "advance", lambda self: (taken.append(1), advance(self))[1])
    rest = trained(elsewhere, "mlp", *mnist(elsewhere), PLAN)
    assert len(taken) == 12 - 5
    assert torch.equal(weights(whole), weights(rest))


def test_layers_are_those_of_the_images(settings_for):
    settings = settings_for(None)
    found = trained(settings, "mlp", *mnist(settings), PLAN)
    images = settings.shelf.load("mnist", "test").images[:30]
    logits, layers = logits_and_layers(found, images)
    with torch.no_grad():
        assert torch.allclose(logits, found.network(as_inputs(images)), atol=1e-6)
        first = torch.relu(found.network.fc1(as_inputs(images).flatten(1)))
    assert torch.allclose(layers["fc1>relu"], first, atol=1e-6)


def test_a_split_loses_nothing(settings_for):
    train = settings_for(None).shelf.load("mnist", "train")
    rest, held = split(train, 100, 3)
    assert len(held.images) == 100
    assert len(rest.images) == len(train.images) - 100
    both = torch.cat([rest.images, held.images]).flatten(1)
    assert torch.equal(both.sort(0).values, train.images.flatten(1).sort(0).values)


def test_the_shelf_says_what_is_missing(data_folder, tmp_path):
    shelf = Shelf(data_folder)
    assert shelf.missing(("mnist@train", "nowhere@test", "nowhere@train")) == ["nowhere"]
    assert Shelf(None).missing(("mnist@train",)) == ["mnist"]
    with pytest.raises(UsageError, match="nowhere: not found below"):
        shelf.open("nowhere", "test")
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DataError):
        Shelf(tmp_path).open("mnist", "train")


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("mnist", "train", 60_000),
        ("mnist", "test", 10_000),
        ("notmnist", "test", 10_000),
        ("cifar10", "test", 10_000),
        ("svhn", "test", 10_000),
    ],
)
def test_the_shelf_reads_real_data_sets(shared, name, split, count):
    data = Shelf(shared / "data").open(name, split)
    assert (len(data), data.name) == (count, f"{name}@{split}")
