"""Table 1 with figures 7, 8 and 15: accuracy and entanglement of baseline and entangled networks.

The paper's CNN (two convolutions, three linear layers) is trained with and without entangled hidden
layers on MNIST and on Fashion-MNIST. Figure 7 is the search for alpha, figure 8 the cross-entropy
on training and test data (there on SVHN), figure 15 the entanglement of every layer over training.
Printed accuracies are of four runs; the row "average" of SVHN repeats CIFAR-10's and is no target.
"""

from dataclasses import dataclass
from functools import partial

from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.pairs import MARGIN, SIZES, Pairs, pairs
from entangle_cli.papers.verdicts import Comparison, above, below, interval, near
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row

# entangled networks that lose more are no improvement
MOST_LOST = 0.003


@dataclass(frozen=True)
class Printed:
    """Accuracies of table 1: baseline and entangled, the best and the mean of four runs."""

    best: tuple[float, float]
    mean: tuple[float, float]


PRINTED = {
    "mnist": Printed(best=(0.9883, 0.9923), mean=(0.9882, 0.9916)),
    "fashion": Printed(best=(0.9042, 0.9148), mean=(0.9025, 0.9106)),
}


def run(settings: Settings, name: str) -> ClaimResult:
    """Train the pairs of a data set and compare what they are in the end."""
    found = pairs(settings, name, settings.sizes)
    rows = [
        {"run": i, "model": model, "alpha": alpha} | row
        for i in range(len(found.baseline))
        for model, alpha, one in _both(found, i)
        for row in one.rows
    ]
    histories = [
        {"run": i, "model": model} | row
        for i in range(len(found.baseline))
        for model, _, one in _both(found, i)
        for row in one.history
    ]
    shown = settings.scale == "paper"
    figure = FigureDescription(
        (_accuracies(found), _losses(found), _trials(found), *_layers(found)),
        columns=3,
        caption=(
            f"{name}: accuracy and cross-entropy over training (means of the runs), the search for "
            "alpha on held-out training data, and the entanglement of every hidden layer on 256 "
            "test samples."
        ),
    )
    return ClaimResult(
        rows,
        _compare(found, PRINTED[name], shown=shown),
        figure,
        notes=[
            f"{found.chosen} on {settings.sizes.held_out} held-out training samples "
            f"(means of {settings.sizes.search_runs} networks)"
        ],
        tables={"trials": found.chosen.rows, "history": histories, "table": _table(found)},
    )


def _both(found: Pairs, i: int) -> list[tuple]:
    return [
        ("baseline", 0.0, found.baseline[i]),
        ("entangled", found.chosen.alpha, found.entangled[i]),
    ]


def _table(found: Pairs) -> list[Row]:
    rows = []
    for model, networks in (("baseline", found.baseline), ("entangled", found.entangled)):
        accuracies = [one.accuracy for one in networks]
        whole = interval(accuracies)
        rows.append(
            {
                "model": model,
                "runs": whole.runs,
                "best": max(accuracies),
                "mean": whole.mean,
                "low": whole.low,
                "high": whole.high,
            }
        )
    gains = interval(_differences(found, "accuracy"))
    paired = {"model": "entangled less baseline", "runs": gains.runs, "best": None}
    return [*rows, paired | {"mean": gains.mean, "low": gains.low, "high": gains.high}]


def _differences(found: Pairs, key: str) -> list[float]:
    """Entangled less baseline, by run, at the last step."""
    return [
        b.rows[-1][key] - a.rows[-1][key]
        for a, b in zip(found.baseline, found.entangled, strict=True)
    ]


def _compare(found: Pairs, printed: Printed, *, shown: bool) -> list[Comparison]:
    gain = round(printed.mean[1] - printed.mean[0], 4)
    differences = _differences(found, "accuracy")
    return [
        *_levels(found, printed, shown=shown),
        above(
            "table 1: accuracy, entangled less baseline (paired)", differences, 0.0, printed=gain
        ),
        above(
            "accuracy not lost: entangled less baseline, at most 0.3 points below",
            differences,
            -MOST_LOST,
            printed=gain,
        ),
        below(
            "figure 8: test cross-entropy, entangled less baseline",
            _differences(found, "cross_entropy"),
            0.0,
            printed="lower (SVHN)",
        ),
        *(
            above(
                f"figure 15: entanglement of {layer}, entangled less baseline",
                _differences(found, f"entanglement {layer}"),
                0.0,
                printed="more mixed",
            )
            for layer in found.layers
        ),
    ]


def _levels(found: Pairs, printed: Printed, *, shown: bool) -> list[Comparison]:
    """The accuracies themselves, which only training as long as the paper's can reach."""
    rows = []
    for i, side in enumerate((found.baseline, found.entangled)):
        accuracies = [one.accuracy for one in side]
        for words, values, target in (
            ("mean", accuracies, printed.mean[i]),
            ("best", [max(accuracies)], printed.best[i]),
        ):
            name = f"table 1: {words} accuracy, {('baseline', 'entangled')[i]}"
            rows.append(near(name, values, target, tolerance=0.003, shown=shown))
    return rows


def _curve(networks: list, key: str, name: str, color: int, *, dashed: bool = False) -> Series:
    """The mean over runs at each checkpoint, with its interval."""
    steps = [row["step"] for row in networks[0].rows]
    found = [interval([one.rows[i][key] for one in networks]) for i in range(len(steps))]
    ends = {}
    if found[0].low is not None:
        ends = {"low": [one.low for one in found], "high": [one.high for one in found]}
    return Series(name, steps, [one.mean for one in found], color=color, dashed=dashed, **ends)


def _accuracies(found: Pairs) -> Panel:
    curves = (
        _curve(found.baseline, "accuracy", "baseline", 0),
        _curve(found.entangled, "accuracy", "entangled", 1),
    )
    return Panel("test accuracy", curves, "step", "accuracy")


def _losses(found: Pairs) -> Panel:
    series = []
    for color, (name, networks) in enumerate(
        (("baseline", found.baseline), ("entangled", found.entangled))
    ):
        series.append(_curve(networks, "cross_entropy", f"{name}, test", color))
        history = networks[0].history
        steps = [row["step"] for row in history]
        means = [
            interval([one.history[i]["cross_entropy"] for one in networks]).mean
            for i in range(len(steps))
        ]
        series.append(Series(f"{name}, training batches", steps, means, color=color, dashed=True))
    return Panel("cross-entropy", tuple(series), "step", "cross-entropy")


def _trials(found: Pairs) -> Panel:
    rows = [row for row in found.chosen.rows if row["alpha"] != 0]
    lost: dict[float, list[float]] = {}
    for row in rows:
        # thousandths and points: short numbers at the axes
        lost.setdefault(1000 * row["alpha"], []).append(100 * row["difference"])
    alphas = list(lost)
    each = [(alpha, value) for alpha in alphas for value in lost[alpha]]
    series = (
        Series("networks", [a for a, _ in each], [value for _, value in each], "points"),
        Series("mean", alphas, [sum(lost[a]) / len(lost[a]) for a in alphas], color=1),
        Series("allowed", [alphas[0], alphas[-1]], [-100 * MARGIN] * 2, color=7, dashed=True),
    )
    y = "held-out accuracy less baseline's, points"
    return Panel("search for alpha", series, "alpha, thousandths", y)


def _layers(found: Pairs) -> list[Panel]:
    panels = []
    for layer in found.layers:
        key = f"entanglement {layer}"
        curves = (
            _curve(found.baseline, key, "baseline", 0),
            _curve(found.entangled, key, "entangled", 1),
        )
        panels.append(Panel(f"entanglement of {layer}", curves, "step", "entanglement"))
    return panels


_QUICK = (
    "the printed accuracies, which take 14,000 steps; figure 8 late in training, where the "
    "baseline overfits"
)


def _claim(name: str, also: tuple[str, ...], minutes: float) -> Claim:
    return Claim(
        name=f"table-1-{name}",
        also=also,
        title=f"accuracy and entanglement, baseline and entangled CNN on {name}",
        run=partial(run, name=name),
        sizes=SIZES[name],
        minutes={"quick": minutes, "paper": 3000},
        version=3,
        quick_cannot=_QUICK,
        needs=(f"{name}@train", f"{name}@test"),
    )


CLAIMS = (
    _claim("mnist", ("table-1", "figure-8", "figure-15"), 20),
    _claim("fashion", ("table-1", "figure-8"), 14),
)
