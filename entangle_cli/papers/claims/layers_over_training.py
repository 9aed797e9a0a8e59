"""Figures 3 and 16: the loss of a ResNet's layers on CIFAR-10 while it is trained.

A ResNet of 15 layers (see ``training.resnet``) trained with cross-entropy alone; its layers are
measured on 256 test images, always the same, at the minimum over temperature, with cosine
distances as the paper uses for large layers. *Figure 3*: within the last block. *Figure 16*: the
output of each block.
"""

from dataclasses import dataclass

import numpy as np

from entangle_cli.datasets import limit
from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.networks import trained
from entangle_cli.papers.verdicts import Comparison, above, below
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.data import load_images
from entangle_cli.training.resnet import ResNet15
from entangle_cli.training.settings import TrainingSettings

BLOCKS = ResNet15.hidden_layers
_LAST = BLOCKS[-1]
INSIDE = (
    f"{_LAST}.norm1>relu",
    f"{_LAST}.conv1",
    f"{_LAST}.norm2>relu",
    f"{_LAST}.conv2",
    _LAST,
)


@dataclass(frozen=True)
class Sizes:
    """Runs with seeds of their own, steps, batch, and how much of the data is used."""

    runs: int
    steps: int
    batch: int
    images: int
    test: int
    rate: float = 2e-3
    checkpoints: int = 9


def run(settings: Settings) -> ClaimResult:
    """Train, and measure every layer at the checkpoints."""
    sizes: Sizes = settings.sizes
    train, test = (
        load_images(limit(settings.shelf.open("cifar10", split), count, seed=0))
        for split, count in (("train", sizes.images), ("test", sizes.test))
    )
    runs = []
    for number in range(sizes.runs):
        training = TrainingSettings(
            steps=sizes.steps,
            batch_size=sizes.batch,
            learning_rate=sizes.rate,
            layers=tuple(dict.fromkeys((*BLOCKS, *INSIDE))),
            metric="cosine",
            seed=settings.seed + number,
            record_every=sizes.steps,
        )
        tested = (test.images, test.labels)
        found = trained(
            settings, "resnet15", train, tested, training, checkpoints=sizes.checkpoints
        )
        runs.append(found.rows)
    accuracy = [rows[-1]["accuracy"] for rows in runs]
    panels = (
        _panel("figure 3: within the last block", INSIDE, runs),
        _panel("figure 16: output of each block", BLOCKS, runs),
    )
    caption = (
        f"Soft nearest neighbor loss (cosine) of 256 test images, minimized over temperature; "
        f"means of {len(runs)} runs, test accuracy {100 * np.mean(accuracy):.1f} % at the end."
    )
    return ClaimResult(
        _rows(runs), _compare(runs), FigureDescription(panels, columns=2, caption=caption)
    )


def _compare(runs: list[list[Row]]) -> list[Comparison]:
    def of(layer: str, place: int) -> np.ndarray:
        return np.array([rows[place][f"snnl {layer}"] for rows in runs])

    first, last, before = BLOCKS[0], _LAST, INSIDE[0]
    middle = BLOCKS[len(BLOCKS) // 2]
    return [
        below(
            "figure 3: loss of the last block's output, last step less first",
            list(of(last, -1) - of(last, 0)),
            0.0,
            printed="falls",
        ),
        below(
            "figure 3: its output less its first layer, after training",
            list(of(last, -1) - of(before, -1)),
            0.0,
            printed="separated within the block",
        ),
        below(
            "figure 16: last block less first block, after training",
            list(of(last, -1) - of(first, -1)),
            0.0,
            printed="later blocks lower",
        ),
        above(
            f"figure 16: what the loss falls in training, {last} less {middle}",
            list((of(last, 0) - of(last, -1)) - (of(middle, 0) - of(middle, -1))),
            0.0,
            printed="most in the last",
        ),
    ]


def _rows(runs: list[list[Row]]) -> list[Row]:
    return [
        {
            "run": number,
            "step": row["step"],
            "layer": layer,
            "snnl": row[f"snnl {layer}"],
            "entanglement": row[f"entanglement {layer}"],
            "accuracy": row["accuracy"],
        }
        for number, rows in enumerate(runs)
        for row in rows
        for layer in dict.fromkeys((*BLOCKS, *INSIDE))
    ]


def _panel(title: str, layers: tuple[str, ...], runs: list[list[Row]]) -> Panel:
    steps = [row["step"] for row in runs[0]]
    series = []
    for color, layer in enumerate(layers):
        values = np.array([[row[f"snnl {layer}"] for row in rows] for rows in runs])
        series.append(Series(layer, steps, values.mean(0).tolist(), color=color))
    return Panel(title, tuple(series), x_label="step", y_label="SNNL")


CLAIMS = (
    Claim(
        name="figure-3",
        also=("figure-16",),
        title="the last block of a ResNet separates the classes of CIFAR-10 while it is trained",
        run=run,
        sizes={
            "quick": Sizes(runs=3, steps=300, batch=64, images=8000, test=1000),
            "paper": Sizes(runs=4, steps=41000, batch=128, images=50000, test=10000, rate=1e-3),
        },
        minutes={"quick": 5, "paper": 3000},
        needs=("cifar10@train", "cifar10@test"),
        quick_cannot="the loss of a network trained to its end: its accuracy stays far below",
    ),
)
