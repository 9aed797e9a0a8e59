"""Figures 1, 2 and 13: the loss moves 200 points of the plane, and so does the triplet loss.

*Random*: points of a standard normal distribution, each with one of four classes at random. Both
losses are minimized and maximized over the coordinates. *Modes*: four classes of two opposite
clusters each, eight in a circle, minimized alone.

The paper gives no step size, temperature or margin. Here: plain gradient descent with step 10 on
the mean loss; triplets of distances (not squared, which grow without bound) with margin 1. The soft
nearest neighbor loss is minimized at T = 1 for points of unit variance, and maximized at its
minimum over temperature: at a fixed one it has no maximum, a few points are driven off for ever.
Random classes are as mixed as can be from the start: maximizing it leaves them where they are.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entangle_cli.measures.temperature import entanglement
from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.verdicts import Comparison, above, below
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row
from entangle_cli.training.soft_nearest_neighbors import SoftNearestNeighborLoss
from entangle_cli.training.triplet import TripletLoss

POINTS, CLASSES = 200, 4
TEMPERATURE = 1.0
RADIUS = 4.0
# the optimizations, by what is moved, by which loss, and whether it goes down or up
MOVES = (
    ("random", "snnl", "min"),
    ("random", "snnl", "max"),
    ("random", "triplet", "min"),
    ("random", "triplet", "max"),
    ("modes", "snnl", "min"),
    ("modes", "triplet", "min"),
)


@dataclass(frozen=True)
class Sizes:
    """Runs with points of their own, steps of gradient descent and their size."""

    runs: int
    steps: int
    rate: float = 10.0


def run(settings: Settings) -> ClaimResult:
    """Move the points in every way, once per run; the figure shows the first run."""
    sizes: Sizes = settings.sizes
    rows: list[Row] = []
    spreads: dict[tuple[str, ...], list[Row]] = {}
    panels = []
    settings.progress.start("moving points", sizes.runs * (len(MOVES) + 2))
    for number in range(sizes.runs):
        starts = {
            "random": random_points(settings.seed + number),
            "modes": modes(settings.seed + number),
        }
        clouds = {(kind, "start", ""): start[0] for kind, start in starts.items()}
        clouds |= {
            move: moved(*starts[move[0]], move, sizes, settings.seed + number) for move in MOVES
        }
        for key, points in clouds.items():
            labels = starts[key[0]][1]
            spread = describe(points, labels, two_modes=key[0] == "modes")
            spreads.setdefault(key, []).append(spread)
            if number == 0:
                rows += _coordinates(key, points, labels)
                panels.append(_panel(key, points, labels, spread))
            settings.progress.advance()
    settings.progress.finish()
    table = [
        {"points": key[0], "loss": key[1], "goal": key[2], "run": i} | spread
        for key, found in spreads.items()
        for i, spread in enumerate(found)
    ]
    caption = (
        "One run. Classes are colors. Top: random points and what the soft nearest neighbor loss "
        "(snnl) and the triplet loss make of them. Below: classes of two modes."
    )
    figure = FigureDescription(tuple(_ordered(panels)), columns=4, caption=caption)
    return ClaimResult(rows, _compare(spreads), figure, tables={"spread": table})


def random_points(seed: int) -> tuple[Tensor, Tensor]:
    """Points ``(200, 2)`` of a standard normal distribution, and random classes."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(POINTS, 2, generator=generator)
    return points, torch.randint(0, CLASSES, (POINTS,), generator=generator)


def modes(seed: int) -> tuple[Tensor, Tensor]:
    """Points around eight centers in a circle, opposite ones of one class."""
    generator = torch.Generator().manual_seed(seed)
    mode = torch.arange(POINTS) % (2 * CLASSES)
    angle = mode * (2 * math.pi / (2 * CLASSES))
    centers = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    return centers + torch.randn(POINTS, 2, generator=generator), mode % CLASSES


def moved(
    points: Tensor, labels: Tensor, move: tuple[str, str, str], sizes: Sizes, seed: int
) -> Tensor:
    """The points after ``sizes.steps`` steps along or against the gradient of a loss."""
    _, name, goal = move
    policy = TEMPERATURE if goal == "min" else "minimum"
    criterion: nn.Module = SoftNearestNeighborLoss(temperature=policy)
    if name == "triplet":
        criterion = TripletLoss(squared=False, seed=seed)
    place = points.clone().requires_grad_()
    optimizer = torch.optim.SGD([place], lr=sizes.rate)
    for _ in range(sizes.steps):
        optimizer.zero_grad()
        loss = criterion(place, labels)
        (loss if goal == "min" else -loss).backward()
        optimizer.step()
    return place.detach()


def describe(points: Tensor, labels: Tensor, *, two_modes: bool) -> Row:
    """How mixed and how spread points are.

    ``radius_variation``: standard deviation over mean of the distances from the center; 0 for a
    ring, 0.35 for a filled disk, 0.52 for a normal distribution. ``poles``: length of the mean of
    ``exp(2 i angle)``; 0 for a ring, 1 for points in two opposite directions, which the radius does
    not tell from one. ``modes_kept``: see `kept`.
    """
    measured = entanglement(points.numpy(), labels.numpy())
    centered = points - points.mean(0)
    radius = centered.norm(dim=1)
    angles = 2 * torch.atan2(centered[:, 1], centered[:, 0])
    row = {
        "entanglement": measured.entanglement,
        "knn_accuracy": measured.knn_accuracy,
        "mean_distance": float(torch.pdist(points).mean()),
        "radius_variation": float(radius.std() / radius.mean()),
        "poles": float(torch.stack([angles.cos().mean(), angles.sin().mean()]).norm()),
        "modes_kept": None,
    }
    if two_modes:
        mode = torch.arange(POINTS) % (2 * CLASSES)
        row["modes_kept"] = sum(kept(points, mode, c, c + CLASSES) for c in range(CLASSES)) * 2
    return row


def kept(points: Tensor, mode: Tensor, one: int, other: int) -> bool:
    """Whether two modes are apart: their gap is wider than any point is from its next fellow."""
    a, b = points[mode == one], points[mode == other]
    gap = float(torch.cdist(a, b).min())
    inside = [torch.cdist(part, part).fill_diagonal_(math.inf).amin(1).max() for part in (a, b)]
    return gap > float(max(inside))


def _compare(spreads: dict[tuple[str, ...], list[Row]]) -> list[Comparison]:
    def of(loss: str, goal: str, key: str, kind: str = "random") -> list[float]:
        return [row[key] for row in spreads[kind, loss, goal]]

    def more(one: list[float], other: list[float]) -> list[float]:
        return [a - b for a, b in zip(one, other, strict=True)]

    wider = more(*(of(loss, "max", "mean_distance") for loss in ("triplet", "snnl")))
    modes_kept = more(*(of(loss, "min", "modes_kept", "modes") for loss in ("snnl", "triplet")))
    accuracy, separated = of("snnl", "min", "knn_accuracy"), of("triplet", "min", "entanglement")
    mixed, radius = of("snnl", "max", "entanglement"), of("triplet", "max", "radius_variation")
    return [
        above("figure 1: 1-NN accuracy, snnl minimized", accuracy, 0.95, printed="classes apart"),
        below("figure 2: entanglement, triplet minimized", separated, 0.1, printed="classes apart"),
        above("figure 2: entanglement, snnl maximized", mixed, 0.9, printed="classes mixed"),
        above("figure 2: mean distance, triplet less snnl maximized", wider, 0.0, printed="wider"),
        below(
            "figure 2: variation of the radius, triplet maximized (0.35: a filled disk)",
            radius,
            0.35,
            printed="a ring",
        ),
        below(
            "figure 2: share in two opposite directions, triplet maximized (0: a ring, 1: poles)",
            of("triplet", "max", "poles"),
            0.5,
            printed="a ring",
        ),
        above(
            "figure 13: modes kept of 8, snnl less triplet minimized",
            modes_kept,
            0.0,
            printed="snnl keeps them",
        ),
    ]


def _coordinates(key: tuple[str, str, str], points: Tensor, labels: Tensor) -> list[Row]:
    kind, loss, goal = key
    return [
        {"points": kind, "loss": loss, "goal": goal, "index": i, "class": c, "x": x, "y": y}
        for i, (c, (x, y)) in enumerate(zip(labels.tolist(), points.tolist(), strict=True))
    ]


def _panel(key: tuple[str, str, str], points: Tensor, labels: Tensor, spread: Row) -> Panel:
    kind, loss, goal = key
    words = "start" if loss == "start" else f"{loss} {goal}imized"
    series = tuple(
        Series(
            "", points[labels == c, 0].tolist(), points[labels == c, 1].tolist(), "points", color=c
        )
        for c in range(CLASSES)
    )
    return Panel(f"{kind}: {words}, entanglement {spread['entanglement']:.2f}", series, bare=True)


def _ordered(panels: list[Panel]) -> list[Panel]:
    """Random points first, then those with modes; the start of each before what became of it."""
    return sorted(
        panels, key=lambda panel: (panel.title.startswith("modes"), "start" not in panel.title)
    )


_QUICK = (
    "nothing more than paper can: the paper's temperature, margin and step size are not "
    "printed, so only the kind of change is compared"
)
CLAIMS = (
    Claim(
        name="figure-1",
        also=("figure-2", "figure-13"),
        title="the loss and the triplet loss move 200 points of the plane",
        run=run,
        sizes={"quick": Sizes(runs=4, steps=700), "paper": Sizes(runs=20, steps=1500)},
        minutes={"quick": 1, "paper": 20},
        quick_cannot=_QUICK,
        version=2,
    ),
)
