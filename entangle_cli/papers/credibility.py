"""The deep k-nearest neighbors of a trained network, and attacks on it at several strengths.

*Conventions*: pixels in [0, 1], epsilons in the same unit, attacks move away from the true label.
Accuracies and credibilities are means over a set of test images that is disjoint from the
calibration set. ``credibility`` trims calibration scores of zero, as the published numbers do (see
``measures.conformal``); ``credibility_kept`` is the definition of the paper's algorithm.

    fgsm, bim        the gradient of the network itself
    same source      FGSM on a network trained with the same loss from another seed
    other source     FGSM on a network of the other loss and another seed: for an entangled network
                     the attacker knows only that of a plain one (zero knowledge), for a plain one
                     the source is entangled (figure 20)

Reference: arXiv 1803.04765, algorithm 1; arXiv 1902.01889, section 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from entangle_cli.attacks.sign import Ball, bim, fgsm
from entangle_cli.datasets.sampling import stratified_rows
from entangle_cli.measures.dknn import label_counts, neighbor_labels
from entangle_cli.measures.evaluation import Evaluation, evaluate
from entangle_cli.measures.layered_calibration import LayeredCalibration, calibrate
from entangle_cli.neighbors.exact import ExactIndex
from entangle_cli.papers.networks import Trained, logits_and_layers, part
from entangle_cli.papers.pairs import PairSizes, first_rows
from entangle_cli.results import Row
from entangle_cli.training.data import TrainingData
from entangle_cli.training.loop import as_inputs

LOGITS = "logits"
_BATCH = 256


@dataclass(frozen=True)
class CredibilitySizes:
    """``runs`` of the pairs; training points to search, neighbors, calibration and test images."""

    pairs: PairSizes
    runs: int = 2
    train_points: int = 4000
    k: int = 75
    calibration: int = 750
    test_points: int = 400
    epsilons: tuple[float, ...] = (0.05, 0.1, 0.15, 0.25)
    bim_steps: int = 20
    bim_step: float = 0.02


@dataclass(frozen=True)
class Stage:
    """The data of an experiment: points to search, calibration and test images."""

    train: TrainingData
    calibration: TrainingData
    test: TrainingData


def stage(train: TrainingData, test: TrainingData, sizes: CredibilitySizes, seed: int) -> Stage:
    """Calibration and test images, both drawn from the test data in its class balance."""
    count = min(sizes.calibration, len(test.images) // 2)
    drawn = stratified_rows(test.labels.numpy(), len(test.labels), count, seed)
    rest = np.setdiff1d(np.arange(len(test.labels)), drawn)
    judged = stratified_rows(
        test.labels.numpy()[rest], len(rest), min(sizes.test_points, len(rest)), seed
    )
    return Stage(
        first_rows(train, sizes.train_points),
        part(test, torch.from_numpy(drawn)),
        part(test, torch.from_numpy(rest[judged])),
    )


class Judge:
    """A network with its calibrated neighbors; the layers searched are the hidden ones and logits.

    Raises:
        MeasureError: fewer training points than neighbors.
    """

    def __init__(self, found: Trained, stage: Stage, k: int, device: str = "cpu") -> None:
        self.found, self.stage, self.k, self.device = found, stage, k, device
        layers = self._layers(stage.train.images)[1]
        self._indices = {name: ExactIndex(points.numpy()) for name, points in layers.items()}
        counts = self._counts(self._layers(stage.calibration.images)[1])
        labels = stage.calibration.labels.numpy()
        self._calibrations: Mapping[str, LayeredCalibration] = {
            "credibility": calibrate(counts, labels, k=k, zeros="trim"),
            "credibility_kept": calibrate(counts, labels, k=k, zeros="keep"),
        }

    @cached_property
    def clean(self) -> Row:
        """The test images as they are."""
        return self.judge(as_inputs(self.stage.test.images))

    def judge(self, pixels: Tensor) -> Row:
        """Means over images ``(n, ...)`` in the order of the test images: see the module."""
        row: Row = {"n": len(pixels)}
        for key, said in self.said(pixels).items():
            row |= {"model_accuracy": said.model_accuracy, "accuracy": said.accuracy}
            row[key] = said.credibility
        return row

    def said(self, pixels: Tensor) -> dict[str, Evaluation]:
        """The same image by image, for each treatment of calibration scores of zero."""
        logits, layers = self._layers(pixels)
        counts, labels = self._counts(layers), self.stage.test.labels.numpy()
        predicted = logits.argmax(1).numpy()
        return {
            key: evaluate(counts, calibration, labels, model_prediction=predicted)
            for key, calibration in self._calibrations.items()
        }

    def _layers(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits, layers = logits_and_layers(self.found, images, device=self.device)
        return logits, layers | {LOGITS: logits}

    def _counts(self, layers: dict[str, Tensor]) -> dict[str, np.ndarray]:
        labels, classes = self.stage.train.labels.numpy(), self.stage.train.classes
        counts = {}
        for name, points in layers.items():
            neighbors = self._indices[name].query(points.numpy(), k=self.k)
            counts[name] = label_counts(neighbor_labels(neighbors.indices, labels), classes)
        return counts


def attacked(
    network: nn.Module, data: TrainingData, epsilon: float, method: str, sizes: CredibilitySizes
) -> Tensor:
    """Pixels ``(n, c, h, w)`` moved by up to ``epsilon`` against a network, by fgsm or bim."""
    device = next(network.parameters()).device
    low, high = torch.zeros((), device=device), torch.ones((), device=device)
    ball = Ball(torch.tensor(epsilon, device=device), low, high)
    moved = []
    for start in range(0, len(data.images), _BATCH):
        rows = slice(start, start + _BATCH)
        inputs = as_inputs(data.images[rows], str(device))
        labels = data.labels[rows].to(device)
        if method == "fgsm":
            found = fgsm(network, inputs, labels, ball)
        else:
            found = bim(
                network, inputs, labels, ball, step_size=sizes.bim_step, steps=sizes.bim_steps
            )
        moved.append(found.inputs.cpu())
    return torch.cat(moved)


def attack_rows(
    judge: Judge, sources: Mapping[str, tuple[nn.Module, str]], sizes: CredibilitySizes
) -> list[Row]:
    """A row for the clean images and one per attack and epsilon.

    ``sources``: by the name of the attack the network that gives the gradients, and the method.
    """
    rows = [{"attack": "none", "epsilon": 0.0} | judge.clean]
    for name, (network, method) in sources.items():
        for epsilon in sizes.epsilons:
            pixels = attacked(network, judge.stage.test, epsilon, method, sizes)
            rows.append({"attack": name, "epsilon": epsilon} | judge.judge(pixels))
    return rows
