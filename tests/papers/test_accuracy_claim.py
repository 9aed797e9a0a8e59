"""Table 1 on digits, small enough for seconds."""

import pytest

from entangle_cli.papers.claims import accuracy
from entangle_cli.papers.pairs import Candidate, PairSizes, choose, pairs
from entangle_cli.papers.verdicts import Verdict

TINY = PairSizes(
    network="mlp",
    runs=2,
    steps=20,
    batch_size=32,
    candidates=(Candidate(-0.01), Candidate(-0.1)),
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
    chosen, trials = choose(settings, train, TINY)
    assert [row["alpha"] for row in trials] == [0.0, -0.01, -0.1]
    assert [row["alpha"] for row in trials if row["chosen"]] == [chosen.alpha]
    assert chosen in TINY.candidates
    assert ("mnist", "test") not in settings.shelf._loaded


@pytest.mark.parametrize(
    ("accuracies", "mixed", "expected"),
    [
        # all cost nothing: the most mixed
        ((0.9, 0.9, 0.9), (0.1, 0.2, 0.3), -0.1),
        ((0.9, 0.9, 0.9), (0.1, 0.3, 0.2), -0.01),
        # a fifth of a point may be lost, more may not
        ((0.9, 0.898, 0.897), (0.1, 0.2, 0.3), -0.01),
        # all cost something: the most accurate
        ((0.9, 0.5, 0.7), (0.1, 0.3, 0.2), -0.1),
    ],
)
def test_the_most_mixed_that_costs_nothing(settings_for, monkeypatch, accuracies, mixed, expected):
    class Made:
        layers = ("fc1",)

        def __init__(self, number):
            self.accuracy, self.value = accuracies[number], mixed[number]

        def entanglement(self, layer):
            return self.value

    order = [0.0, -0.01, -0.1]
    monkeypatch.setattr(
        "entangle_cli.papers.pairs.trained",
        lambda settings, network, data, test, plan: Made(order.index(plan.alpha)),
    )
    settings = settings_for(TINY)
    train = settings.shelf.load("mnist", "train")
    assert choose(settings, train, TINY)[0].alpha == expected
