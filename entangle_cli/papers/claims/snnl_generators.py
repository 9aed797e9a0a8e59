"""Figures 6 and 23: generators of digits that only the soft nearest neighbor loss trains.

*Figure 6*: a generator with two numbers of noise maximizes the loss of real and generated images in
pixel space, without a discriminator. *Figure 23*: a network places images in a space of 10 numbers
and minimizes the loss there, the generator maximizes it.

Which classes a generator makes is told by the nearest real images and by a classifier of real ones.

Temperatures are ours, as the paper prints none. In pixels 0.03 times the median squared distance;
at the minimum over temperature two sets that lie apart have no gradient, and nothing is learned. In
the space 0.5 with cosine distances: unbounded ones are won by the discriminator for good.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.generators import (
    RealImages,
    curve,
    curve_panel,
    generated,
    pictures,
    real_images,
    rises,
)
from entangle_cli.papers.networks import trained
from entangle_cli.papers.verdicts import Comparison, above
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.generative.settings import GeneratorSettings, Kind
from entangle_cli.training.generative.snapshots import Snapshots, class_shares, present
from entangle_cli.training.loop import as_inputs
from entangle_cli.training.settings import TrainingSettings

DATA = "mnist"
SHOWN, COLUMNS = 64, 8
# a class is there if this share of images is of it
_AT_LEAST = 0.01


@dataclass(frozen=True)
class Sizes:
    """Runs with seeds of their own, images trained on and held out, and the generator."""

    runs: int
    steps: int
    images: int
    batch: int
    rate: float
    latent: int
    width: int = 16
    held: int = 1024
    classifier_steps: int = 300


def run_pixels(settings: Settings) -> ClaimResult:
    """Figure 6: the loss in pixel space, and images over two numbers of noise."""
    found, grid, result = _run(settings, "pixels", "figure 6")
    rows, columns = grid.shape[:2]
    sheet = pictures(grid.reshape(rows * columns, *grid.shape[2:]), "over its two numbers", columns)
    panels = (*result.figure.panels, sheet)
    caption = (
        "Left: loss of real and generated images in batches of 128, minimized over temperature. "
        "Right: images of the first run over its two numbers of noise, at quantiles of the normal "
        f"distribution, after step {found.steps[-1]}."
    )
    figure = FigureDescription(panels, columns=len(panels), caption=caption)
    return ClaimResult(result.rows, result.comparisons, figure, result.notes, result.tables)


def run_space(settings: Settings) -> ClaimResult:
    """Figure 23: the loss in a learned space, for both that play for it."""
    found, _, result = _run(settings, "space", "figure 23")
    stages = [round(share * (len(found.steps) - 1)) for share in (0, 0.2, 0.6, 1)]
    grids = [
        pictures(found.images[place][:SHOWN], f"step {found.steps[place]}", COLUMNS)
        for place in stages
    ]
    steps = [row["step"] for row in found.losses]
    roles = Panel(
        "in the learned space",
        (
            Series("discriminator, descends", steps, [r["discriminator"] for r in found.losses]),
            Series("generator, ascends", steps, [-r["generator"] for r in found.losses], color=1),
        ),
        x_label="step",
        y_label="SNNL of the step's batch, T = 0.5",
    )
    panels = (*result.figure.panels, roles, *grids)
    caption = (
        "Loss of real and generated images in pixel space, minimized over temperature, and in the "
        "learned space of 10 numbers (cosine), as each network sees it. Images of the first run."
    )
    figure = FigureDescription(panels, columns=3, caption=caption)
    return ClaimResult(result.rows, result.comparisons, figure, result.notes, result.tables)


def _run(settings: Settings, kind: Kind, figure: str) -> tuple[Snapshots, Tensor, ClaimResult]:
    sizes: Sizes = settings.sizes
    real = real_images(settings, DATA, sizes.images, sizes.held)
    classify = _classifier(settings, real)
    curves, shares, first, losses = [], list[Row](), None, list[Row]()
    for number in range(sizes.runs):
        made = _made(sizes, kind, settings.seed + number)
        found = generated(settings, made, real.train.images)
        first = first or found
        curves.append(curve(real, found))
        shares += _shares(found, real, classify, number)
        losses += [{"run": number} | row for row in found.losses]
    level = real.itself
    panel = curve_panel("in pixel space", {kind: curves}, level=level, level_name="real and real")
    rows = [{"run": i} | row for i, run in enumerate(curves) for row in run]
    result = ClaimResult(
        rows,
        _compare(figure, curves, shares, sizes.runs),
        FigureDescription((panel,)),
        notes=[f"two sets of real images: SNNL {level:.3f}", _closer(curves, level)],
        tables={"losses": losses, "classes": shares},
    )
    return first, first.grid, result


def _made(sizes: Sizes, kind: Kind, seed: int) -> GeneratorSettings:
    in_space = kind == "space"
    return GeneratorSettings(
        kind=kind,
        steps=sizes.steps,
        batch_size=sizes.batch,
        learning_rate=sizes.rate,
        latent=sizes.latent,
        width=sizes.width,
        temperature=0.5 if in_space else "median",
        metric="cosine" if in_space else "euclidean",
        samples=sizes.held,
        seed=seed,
    )


def _classifier(settings: Settings, real: RealImages) -> torch.nn.Module:
    training = TrainingSettings(
        steps=settings.sizes.classifier_steps, seed=settings.seed, record_every=100
    )
    test = (real.held.images, real.held.labels)
    found = trained(settings, "cnn", real.train, test, training)
    settings.note(f"the classifier of real images is right on {100 * found.accuracy:.1f} %")
    return found.network


def _shares(
    found: Snapshots, real: RealImages, classify: torch.nn.Module, number: int
) -> list[Row]:
    """By snapshot and class the share of images, told in both ways."""
    rows = []
    for step, images in zip(found.steps, found.images, strict=True):
        near = class_shares(images, real.train.images, real.train.labels, real.train.classes)
        with torch.no_grad():
            device = next(classify.parameters()).device
            said = classify(as_inputs(images, str(device))).argmax(1).cpu()
        counts = torch.bincount(said, minlength=real.train.classes).tolist()
        rows += [
            {
                "run": number,
                "step": step,
                "class": place,
                "nearest": share,
                "classifier": count / len(images),
            }
            for place, (share, count) in enumerate(zip(near, counts, strict=True))
        ]
    return rows


def _compare(
    figure: str, curves: list[list[Row]], shares: list[Row], runs: int
) -> list[Comparison]:
    def classes(key: str) -> list[float]:
        last = max(row["step"] for row in shares)
        return [
            present([r[key] for r in shares if (r["run"], r["step"]) == (i, last)], _AT_LEAST)
            for i in range(runs)
        ]

    return [
        *rises(f"{figure}, pixels", curves),
        above(
            f"{figure}: classes of 10 that images are nearest to (1 % or more)",
            classes("nearest"),
            5.0,
            printed="most classes",
        ),
        above(
            f"{figure}: classes of 10 that a classifier sees (1 % or more)",
            classes("classifier"),
            5.0,
            printed="most classes",
        ),
    ]


def _closer(curves: list[list[Row]], level: float) -> str:
    """What the loss cannot tell: means of real images lie nearer to them than others do."""
    over = sum(rows[-1]["snnl"] > level for rows in curves)
    return (
        f"{over} of {len(curves)} generators end above the loss of two sets of real images: images "
        "between real ones lie nearer to these than they lie to each other"
    )


_QUICK = "images as sharp as those of longer trained and larger networks"
CLAIMS = (
    Claim(
        name="figure-6",
        title="a generator of digits that maximizes the loss in pixel space, without discriminator",
        run=run_pixels,
        sizes={
            "quick": Sizes(runs=4, steps=1000, images=10000, batch=128, rate=2e-3, latent=2),
            "paper": Sizes(
                runs=5, steps=20000, images=58976, batch=512, rate=1e-3, latent=2, width=64
            ),
        },
        minutes={"quick": 2, "paper": 900},
        needs=("mnist@train",),
        quick_cannot=_QUICK,
    ),
    Claim(
        name="figure-23",
        title="a generator against a discriminator that minimizes the loss in a learned space",
        run=run_space,
        sizes={
            "quick": Sizes(runs=3, steps=800, images=10000, batch=64, rate=1e-3, latent=32),
            "paper": Sizes(
                runs=5, steps=20000, images=58976, batch=256, rate=2e-4, latent=64, width=64
            ),
        },
        minutes={"quick": 3, "paper": 900},
        needs=("mnist@train",),
        quick_cannot=_QUICK,
    ),
)
