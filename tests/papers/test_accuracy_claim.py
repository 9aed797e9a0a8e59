"""Table 1 on digits, small enough for seconds."""

from dataclasses import replace

import pytest

from entangle_cli.papers.claims import accuracy
from entangle_cli.papers.pairs import PairSizes, choose, pairs, within_margin
from entangle_cli.papers.verdicts import Verdict

TINY = PairSizes(
    network="mlp",
    runs=2,
    steps=20,
    batch_size=32,
    alphas=(-0.01, -0.1),
    search_runs=2,
    search_steps=10,
    held_out=100,
    checkpoints=3,
)


def test_the_claim_from_data_to_comparison(settings_for):
    found = accuracy.run(settings_for(TINY), "mnist")
    assert {row["model"] for row in found.rows} == {"baseline", "entangled"}
    # two runs of two models, three checkpoints each
    assert len(found.rows) == 12
    table = {row["model"]: row for row in found.tables["table"]}
    finals = [r["accuracy"] for r in found.rows if r["step"] == 20 and r["model"] == "baseline"]
    assert table["baseline"]["mean"] == pytest.approx(sum(finals) / 2)
    assert table["baseline"]["best"] == max(finals)
    named = {one.quantity: one for one in found.comparisons}
    gain = named["table 1: accuracy, entangled less baseline (paired)"]
    assert gain.measured == pytest.approx(
        table["entangled"]["mean"] - table["baseline"]["mean"], abs=1e-12
    )
    # printed levels take 14,000 steps: quick has no say in them
    assert named["table 1: mean accuracy, baseline"].verdict is Verdict.cannot_show


def test_pairs_share_their_first_weights(settings_for):
    found = pairs(settings_for(TINY), "mnist", TINY)
    for plain, mixed in zip(found.baseline, found.entangled, strict=True):
        assert plain.rows[0] == mixed.rows[0]
        assert plain.rows[-1] != mixed.rows[-1]


def test_alpha_is_chosen_without_the_test_data(settings_for):
    settings = settings_for(TINY)
    train = settings.shelf.load("mnist", "train")
    chosen = choose(settings, train, TINY)
    # two networks of each alpha that was tried, the baseline's first
    assert [row["alpha"] for row in chosen.rows][:4] == [0.0, 0.0, -0.01, -0.01]
    assert {row["alpha"] for row in chosen.rows if row["chosen"]} == {chosen.alpha}
    assert chosen.alpha in TINY.alphas
    assert ("mnist", "test") not in settings.shelf._loaded


ALPHAS = (-0.01, -0.02, -0.03)


@pytest.mark.parametrize(
    ("differences", "expected", "free", "tried"),
    [
        # none costs more than allowed: the strongest
        (((0.0, 0.0), (0.001, 0.0), (0.0, 0.002)), -0.03, True, 3),
        # the mean decides, and a fifth of a point may be lost
        (((0.0, 0.0), (-0.01, 0.006), (-0.01, 0.005)), -0.02, True, 3),
        # the first that costs more ends the search, whatever comes after
        (((0.0, 0.0), (-0.004, -0.001), (0.01, 0.01)), -0.01, True, 2),
        # already the weakest costs more: it is taken, and said so
        (((-0.01, 0.0), (0.01, 0.01), (0.01, 0.01)), -0.01, False, 1),
    ],
)
def test_the_strongest_alpha_of_a_fixed_sequence(
    settings_for, monkeypatch, differences, expected, free, tried
):
    made = []

    class Made:
        layers = ("fc1",)

        def __init__(self, plan):
            made.append((plan.alpha, plan.seed))
            number = plan.seed - made[0][1]
            base = (0.9, 0.8)[number]
            self.accuracy = base
            if plan.alpha != 0:
                self.accuracy += differences[ALPHAS.index(plan.alpha)][number]

        def entanglement(self, layer):
            return 0.5

    monkeypatch.setattr(
        "entangle_cli.papers.pairs.trained",
        lambda settings, network, data, test, plan: Made(plan),
    )
    settings = settings_for(TINY)
    train = settings.shelf.load("mnist", "train")
    found = choose(settings, train, replace(TINY, alphas=ALPHAS))
    assert (found.alpha, found.free) == (expected, free)
    # baseline and candidates, of the same two seeds each
    assert len(made) == 2 * (1 + tried)
    assert len({seed for _, seed in made}) == 2
    # the seeds of the final networks are others
    assert min(seed for _, seed in made) >= TINY.runs
    assert ("strongest" in str(found)) is free


def test_the_margin_itself_is_allowed():
    assert within_margin([-0.002])
    assert within_margin([-0.004, 0.0])
    assert not within_margin([-0.0021])
