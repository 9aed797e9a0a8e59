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

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from entangle_cli.attacks.sign import Ball, bim, fgsm
from entangle_cli.datasets.sampling import stratified_rows
from entangle_cli.measures.conformal import Zeros
from entangle_cli.measures.dknn import LabelCounts
from entangle_cli.measures.evaluation import Evaluation, evaluate
from entangle_cli.measures.layered_calibration import calibrate
from entangle_cli.papers.layer_neighbors import layers_with_logits, nearest_rows
from entangle_cli.papers.networks import Trained, part
from entangle_cli.papers.pairs import PairSizes, first_rows
from entangle_cli.results import Row
from entangle_cli.training.data import TrainingData
from entangle_cli.training.loop import as_inputs

_BATCH = 256
_ZEROS: dict[str, Zeros] = {"credibility": "trim", "credibility_kept": "keep"}
Key = TypeVar("Key", bound=Hashable)


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


def judged(
    found: Trained, stage: Stage, inputs: Mapping[Key, Tensor], k: int, device: str = "cpu"
) -> dict[Key, dict[str, Evaluation]]:
    """What the neighbors say of the test images as each of ``inputs`` has them ``(n, ...)``.

    The layers searched are the hidden ones and the logits. For each input: by the treatment of
    calibration scores of zero, ``credibility`` and ``credibility_kept`` (see the module).

    Raises:
        MeasureError: fewer training points than neighbors.
    """
    images = torch.cat([as_inputs(stage.calibration.images), *inputs.values()])
    logits, layers = layers_with_logits(found, images, device=device)
    rows = nearest_rows(found, stage.train.images, layers, k, device=device)
    del layers
    labels, classes = stage.train.labels.numpy(), stage.train.classes

    def counts(part: slice) -> dict[str, LabelCounts]:
        return {name: LabelCounts(of[part], labels, classes) for name, of in rows.items()}

    start = len(stage.calibration.images)
    calibrations = {
        key: calibrate(counts(slice(0, start)), stage.calibration.labels.numpy(), k=k, zeros=zeros)
        for key, zeros in _ZEROS.items()
    }
    said: dict[Key, dict[str, Evaluation]] = {}
    for name, pixels in inputs.items():
        part = slice(start, start + len(pixels))
        said[name] = {
            key: evaluate(
                counts(part),
                calibration,
                stage.test.labels.numpy(),
                model_prediction=logits[part].argmax(1).numpy(),
            )
            for key, calibration in calibrations.items()
        }
        start = part.stop
    return said


def means(said: Mapping[str, Evaluation]) -> Row:
    """Accuracies and both credibilities of one of the inputs of `judged`."""
    trimmed = said["credibility"]
    return {
        "n": len(trimmed.joint.prediction),
        "model_accuracy": trimmed.model_accuracy,
        "accuracy": trimmed.accuracy,
        **{key: one.credibility for key, one in said.items()},
    }


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
    found: Trained,
    stage: Stage,
    sources: Mapping[str, tuple[nn.Module, str]],
    sizes: CredibilitySizes,
    device: str = "cpu",
) -> list[Row]:
    """A row for the clean images and one per attack and epsilon.

    ``sources``: by the name of the attack the network that gives the gradients, and the method.
    """
    inputs = {("none", 0.0): as_inputs(stage.test.images)}
    for name, (network, method) in sources.items():
        for epsilon in sizes.epsilons:
            inputs[name, epsilon] = attacked(network, stage.test, epsilon, method, sizes)
    said = judged(found, stage, inputs, sizes.k, device)
    return [
        {"attack": attack, "epsilon": epsilon} | means(of) for (attack, epsilon), of in said.items()
    ]
