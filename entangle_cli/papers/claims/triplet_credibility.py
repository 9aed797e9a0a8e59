"""Figure 14: credibility and accuracy under FGSM, with hidden layers mixed by either loss.

Three networks a run, of the same first weights and batches: plain, with the soft nearest neighbor
loss maximized, and with the triplet loss maximized (of layers at unit length, as it has no bound
otherwise), both with the same alpha. The paper says that only the first of the two makes
credibility follow accuracy.
"""

from entangle_cli.papers.claim import Claim, ClaimResult, Settings
from entangle_cli.papers.claims.credibility import SIZES, fit
from entangle_cli.papers.credibility import CredibilitySizes, attack_rows, stage
from entangle_cli.papers.networks import Trained, trained
from entangle_cli.papers.pairs import Pairs, limited, pairs, training_settings
from entangle_cli.papers.triplets import TripletTraining
from entangle_cli.papers.verdicts import above
from entangle_cli.report.panels import FigureDescription, Panel, Series
from entangle_cli.results import Row

MODELS = ("baseline", "snnl maximized", "triplet maximized")


def run(settings: Settings) -> ClaimResult:
    """Attack the three networks of every run with FGSM and judge what comes of it."""
    sizes: CredibilitySizes = settings.sizes
    found = pairs(settings, "mnist", sizes.pairs, runs=sizes.runs)
    train, test = (settings.shelf.load("mnist", part) for part in ("train", "test"))
    rows: list[Row] = []
    for number in range(sizes.runs):
        scene = stage(train, test, sizes, settings.seed + number)
        for model, network in _networks(settings, found, number).items():
            own = {"run": number, "model": model}
            attack = {"fgsm": (network.network, "fgsm")}
            measured = attack_rows(network, scene, attack, sizes, settings.device)
            rows += [own | row for row in measured]
    lines = [fit(rows, number, model) for number in range(sizes.runs) for model in MODELS]

    def less(key: str) -> list[float]:
        sides = [[line[key] for line in lines if line["model"] == m] for m in MODELS[1:]]
        return [a - b for a, b in zip(*sides, strict=True)]

    compared = [
        above(
            "correlation of credibility and accuracy, snnl less triplet maximized",
            less("correlation"),
            0.0,
            printed="closer to a line",
        ),
        above(
            "distance from the identity line, triplet less snnl maximized",
            [-value for value in less("distance_from_identity")],
            0.0,
            printed="closer",
        ),
    ]
    figure = FigureDescription((_panel(rows),), 1, "MNIST, FGSM at several strengths, all runs.")
    notes = [f"{found.chosen}, the same alpha for the triplet loss"]
    return ClaimResult(rows, compared, figure, notes, {"lines": lines})


def _networks(settings: Settings, found: Pairs, number: int) -> dict[str, Trained]:
    sizes: CredibilitySizes = settings.sizes
    train, test = (settings.shelf.load("mnist", part) for part in ("train", "test"))
    triplet = trained(
        settings,
        f"{sizes.pairs.network}-triplet",
        limited(train, sizes.pairs),
        (test.images, test.labels),
        training_settings(sizes.pairs, found.chosen.alpha, settings.seed + number),
        network=sizes.pairs.network,
        trainer=TripletTraining,
    )
    networks = (found.baseline[number], found.entangled[number], triplet)
    return dict(zip(MODELS, networks, strict=True))


def _panel(rows: list[Row]) -> Panel:
    series = [
        Series(
            model,
            [row["accuracy"] for row in rows if row["model"] == model],
            [row["credibility"] for row in rows if row["model"] == model],
            "points",
            color=color,
        )
        for color, model in enumerate(MODELS)
    ]
    series.append(Series("", [0.0, 1.0], [0.0, 1.0], color=7, dashed=True))
    return Panel("FGSM", tuple(series), "DkNN accuracy", "mean credibility")


CLAIMS = (
    Claim(
        name="figure-14",
        title="credibility and accuracy with the triplet loss maximized, MNIST",
        run=run,
        sizes=SIZES["mnist"],
        minutes={"quick": 4, "paper": 1500},
        version=3,
        quick_cannot="more than a few networks, and an alpha chosen for the triplet loss itself",
        needs=("mnist@train", "mnist@test"),
    ),
)
