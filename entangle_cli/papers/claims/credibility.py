"""Figures 9, 18, 19 and 20: does credibility follow accuracy under attack?

Images are attacked at several strengths in four ways. A point of the figure is one attack at one
strength: how many images the deep k-nearest neighbors still label rightly, and how credible they
find their labels. The paper says that the two go together more closely in entangled networks. It
prints no epsilons. The DkNN's own published numbers are those of ``dknn_mnist``.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from entangle_cli.papers.claim import Claim, ClaimResult, Scale, Settings
from entangle_cli.papers.credibility import CredibilitySizes, attack_rows, stage
from entangle_cli.papers.pairs import SIZES as PAIR_SIZES
from entangle_cli.papers.pairs import Pairs, PairSizes, pairs
from entangle_cli.papers.verdicts import Comparison, above, interval
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row

MODELS = ("baseline", "entangled")
ATTACKS = ("fgsm", "bim", "same source", "other source")


def run(settings: Settings, name: str) -> ClaimResult:
    """Attack both networks of every pair and judge what comes of it."""
    sizes: CredibilitySizes = settings.sizes
    found = pairs(settings, name, sizes.pairs, runs=sizes.runs)
    train, test = settings.shelf.load(name, "train"), settings.shelf.load(name, "test")
    rows: list[Row] = []
    settings.progress.start("attacks", 2 * sizes.runs)
    for number in range(sizes.runs):
        scene = stage(train, test, sizes, settings.seed + number)
        for model in MODELS:
            of = {"run": number, "model": model}
            network, against = _side(found, model)[number], sources(found, model, number)
            measured = attack_rows(network, scene, against, sizes, settings.device)
            rows += [of | row for row in measured]
            settings.progress.advance()
    settings.progress.finish()
    lines = [fit(rows, number, model) for number in range(sizes.runs) for model in MODELS]
    caption = (
        f"{name}: every point is one attack at one strength in one run, with the clean images; a "
        "line per model and attack. Credibility with calibration scores of zero trimmed."
    )
    figure = FigureDescription(tuple(_panel(rows, attack) for attack in ATTACKS), 2, caption)
    return ClaimResult(
        rows,
        _compare(rows, lines, sizes.runs),
        figure,
        notes=[f"{found.chosen}; DkNN over {sizes.train_points} training points"],
        tables={"lines": lines},
    )


def _side(found: Pairs, model: str) -> list:
    return found.baseline if model == "baseline" else found.entangled


def sources(found: Pairs, model: str, number: int) -> dict:
    """Which network gives the gradients of each attack on a model."""
    own = _side(found, model)
    rest = _side(found, "entangled" if model == "baseline" else "baseline")
    next_seed = (number + 1) % len(own)
    return {
        "fgsm": (own[number].network, "fgsm"),
        "bim": (own[number].network, "bim"),
        "same source": (own[next_seed].network, "fgsm"),
        "other source": (rest[next_seed].network, "fgsm"),
    }


def fit(rows: list[Row], number: int, model: str) -> Row:
    """Correlation of accuracy and credibility over all attacks, and the line of least squares."""
    points = [row for row in rows if (row["run"], row["model"]) == (number, model)]
    x = np.array([row["accuracy"] for row in points])
    y = np.array([row["credibility"] for row in points])
    slope, start = np.polyfit(x, y, 1) if np.ptp(x) else (0.0, float(y.mean()))
    together = np.corrcoef(x, y)[0, 1] if np.ptp(x) and np.ptp(y) else 0.0
    return {
        "run": number,
        "model": model,
        "points": len(points),
        "correlation": float(together),
        "slope": float(slope),
        "intercept": float(start),
        "distance_from_identity": float(np.abs(y - x).mean()),
    }


def _compare(rows: list[Row], lines: list[Row], runs: int) -> list[Comparison]:
    def of(model: str, key: str) -> list[float]:
        return [line[key] for line in lines if line["model"] == model]

    def gain(key: str) -> list[float]:
        return [b - a for a, b in zip(of("baseline", key), of("entangled", key), strict=True)]

    return [
        above(
            "correlation of credibility and accuracy, baseline", of("baseline", "correlation"), 0.8
        ),
        above(
            "correlation of credibility and accuracy, entangled",
            of("entangled", "correlation"),
            0.8,
        ),
        above(
            "correlation, entangled less baseline",
            gain("correlation"),
            0.0,
            printed="closer to a line",
        ),
        above(
            "distance from the identity line, baseline less entangled",
            [-value for value in gain("distance_from_identity")],
            0.0,
            printed="closer",
        ),
        *_transfer(rows, runs),
    ]


def _transfer(rows: list[Row], runs: int) -> list[Comparison]:
    """Figure 20: inputs made on an entangled network, judged by a plain one."""
    strongest = max(row["epsilon"] for row in rows)

    def accuracy(number: int, attack: str) -> float:
        wanted = (number, "baseline", attack, strongest)
        return next(
            row["model_accuracy"]
            for row in rows
            if (row["run"], row["model"], row["attack"], row["epsilon"]) == wanted
        )

    return [
        above(
            f"figure 20: accuracy of the baseline at epsilon {strongest:g}, inputs of an entangled "
            "source less those of a plain one",
            [accuracy(i, "other source") - accuracy(i, "same source") for i in range(runs)],
            0.0,
            printed="transfers less",
        )
    ]


def _panel(rows: list[Row], attack: str) -> Panel:
    series = []
    for color, model in enumerate(MODELS):
        points = [r for r in rows if r["model"] == model and r["attack"] in ("none", attack)]
        x = [row["accuracy"] for row in points]
        y = [row["credibility"] for row in points]
        series.append(Series(model, x, y, "points", color=color))
        if np.ptp(x):
            slope, start = np.polyfit(x, y, 1)
            ends = [min(x), max(x)]
            series.append(Series("", ends, [start + slope * end for end in ends], color=color))
    series.append(Series("", [0.0, 1.0], [0.0, 1.0], color=7, dashed=True))
    name = f"{attack} (r {interval(_correlations(rows, attack)).mean:.2f})"
    return Panel(name, tuple(series), "DkNN accuracy", "mean credibility")


def _correlations(rows: list[Row], attack: str) -> list[float]:
    runs = sorted({row["run"] for row in rows})
    kept = [row for row in rows if row["attack"] in ("none", attack)]
    return [fit(kept, number, model)["correlation"] for number in runs for model in MODELS]


def _sizes(pairs_by_scale: dict[Scale, PairSizes]) -> dict[Scale, CredibilitySizes]:
    return {
        "quick": CredibilitySizes(pairs_by_scale["quick"]),
        "paper": CredibilitySizes(
            pairs_by_scale["paper"],
            runs=4,
            train_points=60_000,
            test_points=9250,
            epsilons=(0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
            bim_steps=1000,
            bim_step=0.001,
        ),
    }


SIZES = {name: _sizes(of_set) for name, of_set in PAIR_SIZES.items()}
_QUICK = (
    "attacks of 1,000 steps, all training points as neighbors, and a mean over enough networks "
    "for a narrow interval"
)


def _claim(name: str, figure: str, also: tuple[str, ...]) -> Claim:
    return Claim(
        name=figure,
        also=also,
        title=f"DkNN credibility and accuracy under attack on {name}",
        run=partial(run, name=name),
        sizes=SIZES[name],
        minutes={"quick": 4, "paper": 3000},
        version=3,
        quick_cannot=_QUICK,
        needs=(f"{name}@train", f"{name}@test"),
    )


CLAIMS = (
    _claim("mnist", "figure-18", ("figure-9", "figure-20")),
    replace(_claim("fashion", "figure-19", ("figure-9", "figure-20")), title="the same on fashion"),
)
