"""Generators that claims share: each trained once, kept below ``networks``, and resumed.

Beside its state a generator's folder holds its snapshots, ``<kind>-step<number>.npz``, as data sets
for ``entangle between``.
"""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from entangle_cli.datasets import limit
from entangle_cli.papers.alone import alone
from entangle_cli.papers.claim import Settings
from entangle_cli.papers.verdicts import Comparison, above
from entangle_cli.report.panels import ImageGrid, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.data import TrainingData, load_images
from entangle_cli.training.generative.run import Place, train_generator
from entangle_cli.training.generative.settings import GeneratorSettings
from entangle_cli.training.generative.snapshots import Snapshots, entanglement_curve

BATCH, BATCHES = 128, 16


@dataclass(frozen=True)
class RealImages:
    """Images to train generators on, and others of the same set to compare with."""

    train: TrainingData
    held: TrainingData

    @property
    def itself(self) -> float:
        """The loss of two sets of real images: what no telling apart gives."""
        half = len(self.held.images) // 2
        other = Snapshots((0,), (self.held.images[half:],), torch.empty(0), [])
        rows = entanglement_curve(self.held.images[:half], other, batch=BATCH, batches=BATCHES)
        return rows[0]["snnl"]


def real_images(settings: Settings, name: str, count: int, held: int) -> RealImages:
    """``count`` images of a training set to train on and ``held`` others of its classes."""
    data = load_images(limit(settings.shelf.open(name, "train"), count + held, seed=0))
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    parts = [order[held:].sort().values, order[:held].sort().values]
    made = [
        TrainingData(data.images[rows], data.labels[rows], data.shape, data.classes)
        for rows in parts
    ]
    return RealImages(*made)


def generated(settings: Settings, made: GeneratorSettings, images: Tensor) -> Snapshots:
    """The snapshots of a generator of these settings, trained if it is not yet."""
    digest = hashlib.sha256(str(tuple(images.shape)).encode())
    digest.update(images.contiguous().numpy().tobytes())
    identity = {"data": digest.hexdigest()[:16]}
    own = {**identity, **made.to_json(), "device": settings.device.partition(":")[0]}
    key = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]
    place = Place(settings.networks / f"generator-{made.kind}-{key}", identity)
    with alone(place.folder):
        found = train_generator(
            made, images, place=place, device=settings.device, progress=settings.progress
        )
    # it stops early only where it is told to, which nobody does here
    assert found is not None
    return found


def curve(real: RealImages, found: Snapshots) -> list[Row]:
    """Real against generated at each snapshot, in batches of 128 (ceiling 0.701)."""
    return entanglement_curve(real.held.images, found, batch=BATCH, batches=BATCHES)


def pictures(images: Tensor, title: str, columns: int) -> ImageGrid:
    """Images ``(n, channels, h, w)`` uint8 as rows of ``columns``."""
    shown = [_picture(image) for image in images]
    rows = (tuple(shown[i : i + columns]) for i in range(0, len(shown), columns))
    return ImageGrid(title, tuple(rows))


def curve_panel(
    title: str, curves: dict[str, list[list[Row]]], *, level: float, level_name: str
) -> Panel:
    """The loss over steps: by kind the mean over runs with the least and the most of them."""
    series = []
    for color, (kind, runs) in enumerate(curves.items()):
        values = np.array([[row["snnl"] for row in rows] for rows in runs])
        series.append(
            Series(
                kind,
                [row["step"] for row in runs[0]],
                values.mean(0).tolist(),
                color=color,
                low=values.min(0).tolist() if len(runs) > 1 else None,
                high=values.max(0).tolist() if len(runs) > 1 else None,
            )
        )
    first = next(iter(curves.values()))[0]
    ends = [first[0]["step"], first[-1]["step"]]
    ceiling = first[0]["ceiling"]
    series.append(Series(level_name, ends, [level] * 2, color=len(curves), dashed=True))
    series.append(Series("ceiling", ends, [ceiling] * 2, color=len(curves) + 1, dashed=True))
    return Panel(title, tuple(series), x_label="step", y_label="SNNL, real and generated")


def rises(who: str, runs: list[list[Row]]) -> list[Comparison]:
    """Whether entanglement rises: to the last snapshot from the first two, untrained and early.

    An untrained generator's images are all gray. Where that is about the mean of the real ones, as
    for photographs, they lie near most of them, and nothing can rise from there.
    """
    found = []
    for place, when in ((0, "untrained"), (1, f"step {runs[0][1]['step']}")):
        quantity = f"{who}: entanglement of real and generated, last step less {when}"
        values = [rows[-1]["entanglement"] - rows[place]["entanglement"] for rows in runs]
        found.append(above(quantity, values, 0.0, printed="rises"))
    return found


def early_peaks(runs: list[list[Row]]) -> str:
    """What a high value does not tell."""
    early = sum(max(row["snnl"] for row in rows) > rows[-1]["snnl"] for rows in runs)
    return (
        f"{early} of {len(runs)} runs were higher at an earlier step than at the last: images that "
        "are all alike and near the mean of real ones lie near many of them"
    )


def _picture(image: Tensor) -> np.ndarray:
    values = image.permute(1, 2, 0).numpy().astype(np.float64) / 255
    return values[..., 0] if values.shape[-1] != 3 else values
