"""Figures 4, 5 and 17: how hard real and generated images are to tell apart while a GAN learns.

Batches of 128 pixels-as-points, half real and half generated, as two classes: exact minimum over
temperature, ceiling 0.701. Types of GAN: non-saturating, with gradient penalty, and for MNIST hinge
as a third. The networks are smaller than the paper's, and trained for fewer steps.

The real images are not those that the generators were trained on.
"""

from dataclasses import dataclass

import numpy as np
import torch

from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.generators import (
    RealImages,
    curve,
    curve_panel,
    early_peaks,
    generated,
    pictures,
    real_images,
    rises,
)
from entangle_cli.papers.maps import tsne
from entangle_cli.report.panels import FigureDescription, ImageGrid, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.generative.settings import GANS, GeneratorSettings, Kind
from entangle_cli.training.generative.snapshots import Snapshots

# of a data set, the types of GAN whose curves the paper draws
TYPES: dict[str, tuple[Kind, ...]] = {"cifar10": ("nonsaturating", "wgan-gp"), "mnist": GANS}
SHOWN, MAPPED = 32, 256
COLUMNS = 8


@dataclass(frozen=True)
class Sizes:
    """Runs with seeds of their own, images trained on and held out, and the generator."""

    data: str
    runs: int
    steps: int
    images: int
    held: int = 1024
    width: int = 16
    rate: float = 1e-3
    snapshots: int = 8


def run_curves(settings: Settings) -> ClaimResult:
    """Figures 5 and 17: every type of GAN, over the steps of its training."""
    sizes: Sizes = settings.sizes
    real = real_images(settings, sizes.data, sizes.images, sizes.held)
    curves: dict[str, list[list[Row]]] = {}
    last: dict[str, Snapshots] = {}
    for kind in TYPES[sizes.data]:
        for number in range(sizes.runs):
            found = generated(settings, _made(sizes, kind, settings.seed + number), _train(real))
            curves.setdefault(kind, []).append(curve(real, found))
            last.setdefault(kind, found)
    comparisons = [
        one for kind, runs in curves.items() for one in rises(f"{sizes.data}, {kind}", runs)
    ]
    level = real.itself
    panels: list[Panel | ImageGrid] = [
        curve_panel(sizes.data, curves, level=level, level_name="real and real")
    ]
    panels += [
        pictures(found.images[-1][:SHOWN], f"{kind}, step {found.steps[-1]}", COLUMNS)
        for kind, found in last.items()
    ]
    return ClaimResult(
        _rows(sizes, curves),
        comparisons,
        FigureDescription(tuple(panels), columns=len(panels), caption=_caption(curves, level)),
        notes=[
            f"two sets of real images: SNNL {level:.3f}",
            early_peaks([rows for runs in curves.values() for rows in runs]),
        ],
    )


def run_maps(settings: Settings) -> ClaimResult:
    """Figure 4: real and generated images at stages of the training, mapped into the plane."""
    sizes: Sizes = settings.sizes
    real = real_images(settings, sizes.data, sizes.images, sizes.held)
    runs, panels, grids, points = [], list[Panel](), list[ImageGrid](), list[Row]()
    for number in range(sizes.runs):
        found = generated(
            settings, _made(sizes, "nonsaturating", settings.seed + number), _train(real)
        )
        runs.append(curve(real, found))
        if number == 0:
            for place in (0, len(found.steps) // 4, len(found.steps) - 1):
                panel, rows = _map(real, found, runs[0][place], place, settings.seed)
                panels.append(panel)
                points += rows
                shown = found.images[place][:SHOWN]
                grids.append(pictures(shown, f"step {found.steps[place]}", COLUMNS))
    caption = (
        "Top: t-SNE of pixels of real and of generated images, one run; the numbers above are "
        "measured in pixel space, not in the map. Below: generated images of the same steps."
    )
    figure = FigureDescription((*panels, *grids), columns=len(panels), caption=caption)
    rows = _rows(sizes, {"nonsaturating": runs})
    return ClaimResult(
        rows, rises(sizes.data, runs), figure, [early_peaks(runs)], tables={"map": points}
    )


def _made(sizes: Sizes, kind: Kind, seed: int) -> GeneratorSettings:
    # a third of them in the first eighth of the steps, where most happens
    shares = np.linspace(0, 1, sizes.snapshots) ** 1.5
    return GeneratorSettings(
        kind=kind,
        steps=sizes.steps,
        learning_rate=sizes.rate,
        width=sizes.width,
        snapshots=tuple(dict.fromkeys(round(float(share) * sizes.steps) for share in shares)),
        samples=sizes.held,
        seed=seed,
    )


def _train(real: RealImages) -> torch.Tensor:
    return real.train.images


def _map(
    real: RealImages, found: Snapshots, measured: Row, place: int, seed: int
) -> tuple[Panel, list[Row]]:
    sets = {"real": real.held.images[:MAPPED], "generated": found.images[place][:MAPPED]}
    both = torch.cat(list(sets.values())).flatten(1).float() / 255
    where = tsne(both.numpy(), seed)
    names = [name for name, images in sets.items() for _ in images]
    rows = [
        {"step": found.steps[place], "set": name, "x": float(x), "y": float(y)}
        for name, (x, y) in zip(names, where, strict=True)
    ]
    series = tuple(
        Series(
            name,
            [row["x"] for row in rows if row["set"] == name],
            [row["y"] for row in rows if row["set"] == name],
            kind="points",
            color=color,
        )
        for color, name in enumerate(sets)
    )
    title = f"step {found.steps[place]}: SNNL {measured['snnl']:.3f} of {measured['ceiling']:.3f}"
    return Panel(title, series, bare=True), rows


def _rows(sizes: Sizes, curves: dict[str, list[list[Row]]]) -> list[Row]:
    return [
        {"data": sizes.data, "gan": kind, "run": number} | row
        for kind, runs in curves.items()
        for number, rows in enumerate(runs)
        for row in rows
    ]


def _caption(curves: dict[str, list[list[Row]]], level: float) -> str:
    runs = len(next(iter(curves.values())))
    return (
        f"Soft nearest neighbor loss of real and generated images as two classes of pixels, "
        f"batches of 128, means of {runs} runs with their range. Two sets of real images give "
        f"{level:.3f}. Right: images of the first run after the last step."
    )


_QUICK = "images as good as those of longer trained and larger networks"
_MNIST = {
    "quick": Sizes("mnist", runs=2, steps=500, images=10000),
    "paper": Sizes("mnist", runs=5, steps=20000, images=58976, width=64, rate=2e-4),
}
_CIFAR = {
    "quick": Sizes("cifar10", runs=2, steps=500, images=8000),
    "paper": Sizes("cifar10", runs=5, steps=50000, images=48976, width=64, rate=2e-4),
}
CLAIMS = (
    Claim(
        name="figure-4",
        title="t-SNE of real and generated CIFAR-10 images at stages of a GAN's training",
        run=run_maps,
        sizes=_CIFAR,
        minutes={"quick": 2, "paper": 600},
        needs=("cifar10@train",),
        quick_cannot=_QUICK,
    ),
    Claim(
        name="figure-5",
        title="real and generated CIFAR-10 images grow together while GANs learn",
        run=run_curves,
        sizes=_CIFAR,
        minutes={"quick": 4, "paper": 3000},
        needs=("cifar10@train",),
        quick_cannot=_QUICK,
    ),
    Claim(
        name="figure-17",
        title="real and generated MNIST images grow together while GANs learn",
        run=run_curves,
        sizes=_MNIST,
        minutes={"quick": 4, "paper": 1500},
        needs=("mnist@train",),
        quick_cannot=_QUICK,
    ),
)
