"""Figures 10 to 12, 21 and 22: t-SNE maps, each beside a number that says what it shows.

A map can be read in many ways, so every statement is measured where the map is made from:

    figures 10, 11   gradients of the loss with class 1 (a targeted attack) of two networks on the
                     same images: their mean cosine, and whether the two sets can be told apart
    figures 12, 21   logits of images of the training distribution and of another one: AUROC of the
                     largest softmax probability, and whether the sets can be told apart
    figure 22        the first hidden layer of images and of adversarial ones made of others (FGSM)

"Told apart" is the entanglement of two sets as two classes, at its minimum over temperature:
1 = not at all, 0 = completely (``measures.two_sample``). Figure 12 is of SVHN and CIFAR-10 in the
paper; figure 21, of MNIST and notMNIST, stands for both here.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entangle_cli.attacks.gradients import input_gradient
from entangle_cli.measures.detection import detection
from entangle_cli.measures.protocol import Protocol
from entangle_cli.measures.two_sample import two_sample
from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.credibility import CredibilitySizes, attacked
from entangle_cli.papers.maps import tsne
from entangle_cli.papers.networks import Trained, logits_and_layers, part
from entangle_cli.papers.pairs import SIZES as PAIR_SIZES
from entangle_cli.papers.pairs import Pairs, PairSizes, first_rows, pairs
from entangle_cli.papers.verdicts import above
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.loop import as_inputs

MODELS = ("baseline", "entangled")
TARGET = 1


@dataclass(frozen=True)
class MapSizes:
    """The pairs of networks, how many images of each kind, and the strength of the attack."""

    pairs: PairSizes
    points: int = 300
    epsilon: float = 0.1


@dataclass(frozen=True)
class _Two:
    """Two sets of points ``(n, d)`` of one network or of two, and what was measured of them."""

    run: int
    model: str
    sets: tuple[np.ndarray, np.ndarray]
    numbers: Row


def gradients(settings: Settings) -> ClaimResult:
    """Figures 10 and 11: networks two by two, both of one loss, on the same images."""
    found = pairs(settings, "mnist", settings.sizes.pairs)
    images = first_rows(settings.shelf.load("mnist", "test"), settings.sizes.points).images
    twos = []
    for number, (one, other) in enumerate(_by_two(settings.sizes.pairs.runs)):
        for model in MODELS:
            side = _side(found, model)
            sets = tuple(_directions(side[i], images) for i in (one, other))
            cosine = {"cosine": float((sets[0] * sets[1]).sum(1).mean())}
            twos.append(_Two(number, model, sets, cosine))
    words = "gradients of two networks"
    result = _result(settings, twos, words, ("network 1", "network 2"), found)
    result.comparisons.insert(
        0,
        above(
            "figures 10, 11: mean cosine of two networks' gradients, baseline less entangled",
            _less(result.rows, "cosine"),
            0.0,
            printed="less aligned when entangled",
        ),
    )
    return result


def logits(settings: Settings) -> ClaimResult:
    """Figures 12 and 21: logits of MNIST and of notMNIST."""
    found = pairs(settings, "mnist", settings.sizes.pairs)
    kinds = [
        first_rows(settings.shelf.load(name, "test"), settings.sizes.points).images
        for name in ("mnist", "notmnist")
    ]
    twos = []
    for number in range(settings.sizes.pairs.runs):
        for model in MODELS:
            network = _side(found, model)[number]
            sets = tuple(logits_and_layers(network, kind)[0].numpy() for kind in kinds)
            scores = [1 - torch.from_numpy(s).softmax(1).amax(1).numpy() for s in sets]
            auroc = {"auroc": detection(scores[0], scores[1]).auroc}
            twos.append(_Two(number, model, sets, auroc))
    result = _result(settings, twos, "logits", ("MNIST", "notMNIST"), found)
    result.comparisons.insert(
        0,
        above(
            "figures 12, 21: AUROC of the largest probability, entangled less baseline",
            [-value for value in _less(result.rows, "auroc")],
            0.0,
            printed="better told apart when entangled",
        ),
    )
    return result


def adversarial(settings: Settings) -> ClaimResult:
    """Figure 22: the first hidden layer of Fashion-MNIST, as it is and attacked."""
    sizes: MapSizes = settings.sizes
    found = pairs(settings, "fashion", sizes.pairs)
    # other images are attacked than are shown as they are: an image lies next to its own copy
    both = first_rows(settings.shelf.load("fashion", "test"), 2 * sizes.points)
    real, data = part(both, slice(0, None, 2)), part(both, slice(1, None, 2))
    twos = []
    for number in range(sizes.pairs.runs):
        for model in MODELS:
            network = _side(found, model)[number]
            moved = attacked(
                network.network, data, sizes.epsilon, "fgsm", CredibilitySizes(sizes.pairs)
            )
            layer = network.layers[0]
            sets = tuple(
                logits_and_layers(network, kind)[1][layer].numpy()
                for kind in (as_inputs(real.images), moved)
            )
            twos.append(_Two(number, model, sets, {"layer": layer}))
    return _result(settings, twos, "the first hidden layer", ("real", "adversarial"), found)


def _result(
    settings: Settings, twos: list[_Two], words: str, kinds: tuple[str, str], found: Pairs
) -> ClaimResult:
    """What every one of these figures has: two-sample entanglement and maps of the first run."""
    rows, coordinates, panels = [], [], []
    for two in twos:
        apart = two_sample(*two.sets, Protocol()).observed
        row = {"run": two.run, "model": two.model, "n": len(two.sets[0]), **two.numbers}
        row |= {"entanglement": apart.entanglement, "knn_accuracy": apart.knn_accuracy}
        rows.append(row)
        if two.run == 0:
            place = tsne(np.concatenate(two.sets), settings.seed)
            panels.append(_panel(two, place, kinds, row))
            coordinates += _coordinates(two, place, kinds)
    figure = FigureDescription(
        tuple(panels), 2, f"t-SNE of {words}, first run; positions between clusters say little."
    )
    compared = above(
        f"entanglement of {words}, {kinds[0]} and {kinds[1]}: baseline less entangled",
        _less(rows, "entanglement"),
        0.0,
        printed="further apart when entangled",
    )
    notes = [f"{found.chosen}"]
    return ClaimResult(rows, [compared], figure, notes, {"map": coordinates})


def _side(found: Pairs, model: str) -> list[Trained]:
    return found.baseline if model == "baseline" else found.entangled


def _by_two(runs: int) -> list[tuple[int, int]]:
    """Networks 0 and 1, 2 and 3, ...: no network is in two pairs."""
    return [(i, i + 1) for i in range(0, runs - 1, 2)]


def _directions(network: Trained, images: Tensor) -> np.ndarray:
    """Gradients towards the target class, flattened to unit length; zero ones stay zero."""
    inputs = as_inputs(images)
    labels = torch.full((len(inputs),), TARGET)
    values = input_gradient(network.network, inputs, labels).values.flatten(1)
    return torch.nn.functional.normalize(values, dim=1).numpy()


def _less(rows: list[Row], key: str) -> list[float]:
    """Baseline less entangled, by run."""
    sides = [[row[key] for row in rows if row["model"] == model] for model in MODELS]
    return [a - b for a, b in zip(*sides, strict=True)]


def _coordinates(two: _Two, place: np.ndarray, kinds: tuple[str, str]) -> list[Row]:
    count = len(two.sets[0])
    return [
        {"model": two.model, "kind": kinds[i >= count], "index": i % count, "x": x, "y": y}
        for i, (x, y) in enumerate(place.tolist())
    ]


def _panel(two: _Two, place: np.ndarray, kinds: tuple[str, str], row: Row) -> Panel:
    count = len(two.sets[0])
    series = tuple(
        Series(kind, part[:, 0].tolist(), part[:, 1].tolist(), "points", color=color)
        for color, (kind, part) in enumerate(
            zip(kinds, (place[:count], place[count:]), strict=True)
        )
    )
    return Panel(f"{two.model}: entanglement {row['entanglement']:.3f}", series, bare=True)


SIZES = {
    name: {
        "quick": MapSizes(of_set["quick"]),
        "paper": MapSizes(of_set["paper"], points=2000),
    }
    for name, of_set in PAIR_SIZES.items()
}
_QUICK = "networks trained to the end, and more than a few of them"
_MNIST = Claim(
    name="figure-10",
    also=("figure-11",),
    title="gradients of two networks on the same images, MNIST",
    run=gradients,
    sizes=SIZES["mnist"],
    minutes={"quick": 5, "paper": 1500},
    version=3,
    quick_cannot=_QUICK,
    needs=("mnist@train", "mnist@test"),
)
CLAIMS = (
    _MNIST,
    replace(
        _MNIST,
        name="figure-21",
        also=("figure-12",),
        title="logits of MNIST and of notMNIST",
        run=logits,
        needs=("mnist@train", "mnist@test", "notmnist@test"),
    ),
    replace(
        _MNIST,
        name="figure-22",
        also=(),
        version=4,
        title="the first hidden layer of real and adversarial images, Fashion-MNIST",
        run=adversarial,
        sizes=SIZES["fashion"],
        needs=("fashion@train", "fashion@test"),
    ),
)
