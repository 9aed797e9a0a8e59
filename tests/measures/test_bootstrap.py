import numpy as np
import pytest
from scipy.stats import norm

from entangle_cli.errors import MeasureError
from entangle_cli.measures import bootstrap
from entangle_cli.measures.bootstrap import (
    bootstrap_intervals,
    differences,
    intervals,
    resampled_aurocs,
)
from entangle_cli.measures.detection import detection
from tests.reference import detection as reference


def by_repetition(inside, outside, samples, seed):
    """The AUROC of resamples that are written out, input by input."""
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(samples):
        rows = draw.integers(0, len(inside), len(inside))
        columns = draw.integers(0, len(outside), len(outside))
        values.append(float(reference.auroc(inside[rows].tolist(), outside[columns].tolist())))
    return values


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (12, 1), (20, 33)])
def test_every_resample_is_the_auroc_of_inputs_drawn_with_replacement(ties, n, m):
    generator = np.random.default_rng(n)
    inside = {"a": generator.normal(size=n), "b": generator.normal(size=n)}
    outside = {"a": generator.normal(1, 1, m), "b": generator.normal(-1, 1, m)}
    if ties:
        inside = {key: values.round() for key, values in inside.items()}
        outside = {key: values.round() for key, values in outside.items()}
    found = resampled_aurocs(inside, outside, samples=40, seed=9)
    for key in inside:
        assert found[key] == pytest.approx(by_repetition(inside[key], outside[key], 40, 9))


def test_infinite_scores_are_resampled_like_others():
    generator = np.random.default_rng(0)
    inside, outside = generator.integers(-2, 3, 30) * 1.0, generator.integers(-2, 3, 20) * 1.0
    with np.errstate(over="ignore"):
        endless = [np.where(np.abs(s) == 2, 1e308 * s, s) for s in (inside, outside)]
    assert np.isinf(endless[0]).any()
    finite = resampled_aurocs({0: inside}, {0: outside}, samples=50, seed=1)[0]
    infinite = resampled_aurocs({0: endless[0]}, {0: endless[1]}, samples=50, seed=1)[0]
    assert np.array_equal(finite, infinite)


def test_all_detectors_see_the_same_resamples():
    generator = np.random.default_rng(1)
    inside, outside = generator.normal(size=50), generator.normal(1, 1, 40)
    found = resampled_aurocs(
        {"score": inside, "monotone": np.exp(inside), "negated": -inside},
        {"score": outside, "monotone": np.exp(outside), "negated": -outside},
        samples=60,
        seed=0,
    )
    assert np.array_equal(found["score"], found["monotone"])
    assert found["score"] == pytest.approx(1 - found["negated"], abs=1e-12)
    assert differences(found, "score")["monotone"] == (0, 0)


def test_a_detector_has_the_same_resamples_in_any_company_and_any_block(monkeypatch):
    generator = np.random.default_rng(2)
    inside, outside = generator.normal(size=30), generator.normal(size=30)
    alone = resampled_aurocs({1: inside}, {1: outside}, samples=70, seed=5)[1]
    monkeypatch.setattr(bootstrap, "_BLOCK_INPUTS", 90)
    both = resampled_aurocs({0: outside, 1: inside}, {1: outside, 0: inside}, samples=70, seed=5)
    assert list(both) == [0, 1]
    assert np.array_equal(both[1], alone)
    other = resampled_aurocs({1: inside}, {1: outside}, samples=70, seed=6)[1]
    assert not np.array_equal(other, alone)


def test_intervals_are_percentiles_and_hold_the_auroc():
    generator = np.random.default_rng(3)
    inside, outside = {"x": generator.normal(size=300)}, {"x": generator.normal(1, 1, 300)}
    values = resampled_aurocs(inside, outside, samples=200, seed=0)
    low, high = bootstrap_intervals(inside, outside, samples=200, level=0.9, seed=0)["x"]
    assert np.sum(values["x"] < low) == np.sum(values["x"] > high) == 10
    assert low < detection(inside["x"], outside["x"]).auroc < high
    narrow, wide = intervals(values, level=0.5)["x"], intervals(values, level=0.99)["x"]
    assert wide[0] < low < narrow[0] < narrow[1] < high < wide[1]


def test_the_width_is_that_of_the_standard_error():
    generator = np.random.default_rng(4)
    inside, outside = generator.normal(size=400), generator.normal(1, 1, 300)
    low, high = bootstrap_intervals({0: inside}, {0: outside}, samples=2000, seed=0)[0]
    # DeLong et al. 1988: the variance of the AUROC from the placements of each input
    beaten = (outside[None, :] > inside[:, None]).astype(float)
    error = np.sqrt(beaten.mean(1).var(ddof=1) / 400 + beaten.mean(0).var(ddof=1) / 300)
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * error, rel=0.1)


def test_the_interval_covers_the_true_value_as_often_as_it_says():
    generator = np.random.default_rng(5)
    truth = norm.cdf(1 / np.sqrt(2))
    rounds, covered = 400, 0
    for seed in range(rounds):
        inside, outside = {0: generator.normal(size=80)}, {0: generator.normal(1, 1, 80)}
        low, high = bootstrap_intervals(inside, outside, samples=200, level=0.9, seed=seed)[0]
        covered += low <= truth <= high
    assert 0.9 - 0.06 < covered / rounds < 0.9 + 0.05


def test_a_paired_difference_finds_what_two_intervals_hide():
    generator = np.random.default_rng(6)
    inside, outside = generator.normal(size=500), generator.normal(1, 1, 500)
    noise = 0.3 * generator.normal(size=(2, 500))
    resampled = resampled_aurocs(
        {"plain": inside, "noisy": inside + noise[0]},
        {"plain": outside, "noisy": outside + noise[1]},
        seed=0,
    )
    single = intervals(resampled)
    assert single["noisy"][1] > single["plain"][0]
    assert list(differences(resampled, "noisy")) == ["plain"]
    low, high = differences(resampled, "noisy")["plain"]
    assert 0 < low < high
    mirrored = differences(resampled, "plain")["noisy"]
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)


def test_what_has_no_variation_has_no_width():
    apart = bootstrap_intervals({0: np.arange(9)}, {0: np.arange(10, 15)}, samples=50, seed=0)
    assert apart == {0: (1, 1)}
    constant = bootstrap_intervals({0: np.zeros(9)}, {0: np.zeros(4)}, samples=50, seed=0)
    assert constant == {0: (0.5, 0.5)}
    single = bootstrap_intervals({0: [1.0]}, {0: [0.0]}, samples=50, seed=0)
    assert single == {0: (0, 0)}


def test_no_detectors_no_intervals():
    assert bootstrap_intervals({}, {}, seed=0) == {}


class Heard:
    def __init__(self):
        self.said = []

    def start(self, task, total):
        self.said.append(total)

    def advance(self, amount=1):
        self.said[0] -= amount

    def finish(self):
        self.said.append("finished")


def test_progress_counts_resamples():
    heard = Heard()
    sides = {0: np.arange(5)}, {0: np.arange(5)}
    resampled_aurocs(*sides, samples=45, seed=0, progress=heard)
    assert heard.said == [0, "finished"]


@pytest.mark.parametrize(
    ("inside", "outside", "options", "message"),
    [
        ({"a": [1.0]}, {}, {}, "'a' has scores on one side only"),
        ({}, {"a": [1.0], "b": [1.0]}, {}, "'a' has scores on one side only"),
        ({"a": [1.0], "b": [1.0, 2.0]}, {"a": [1.0], "b": [1.0]}, {}, "'b' has scores of 2 and 1"),
        ({"a": [1.0], "b": [1.0]}, {"a": [1.0], "b": [1.0, 2.0]}, {}, "'b' has scores of 1 and 2"),
        ({"a": []}, {"a": [1.0]}, {}, "no in-distribution scores of a"),
        ({"a": [1.0]}, {"a": [np.nan]}, {}, "1 of 1 out-of-distribution scores of a are NaN"),
        ({"a": [1.0]}, {"a": [1.0]}, {"level": 1.0}, "level 1.0; give"),
        ({"a": [1.0]}, {"a": [1.0]}, {"level": 95}, "level 95; give"),
        ({"a": [1.0]}, {"a": [1.0]}, {"samples": 39}, "39 resamples .* 95 %; .* at least 40"),
        ({"a": [1.0]}, {"a": [1.0]}, {"samples": 0}, "0 resamples"),
    ],
)
def test_what_cannot_be_resampled_is_refused(inside, outside, options, message):
    sides = [{key: np.array(v) for key, v in side.items()} for side in (inside, outside)]
    with pytest.raises(MeasureError, match=message):
        bootstrap_intervals(*sides, seed=0, **options)


def test_the_fewest_resamples_have_one_in_each_tail():
    values = {0: np.arange(40) / 39}
    low, high = intervals(values)[0]
    assert 0 < low < 1 / 39
    assert 38 / 39 < high < 1
    with pytest.raises(MeasureError, match="39 resamples"):
        intervals({0: np.arange(39.0)})
    with pytest.raises(MeasureError, match="at least 1"):
        resampled_aurocs({}, {}, samples=0, seed=0)


def test_a_baseline_that_was_not_scored_is_refused():
    with pytest.raises(MeasureError, match="no detector 'knn' to compare with"):
        differences({"mds": np.arange(40.0)}, "knn")
