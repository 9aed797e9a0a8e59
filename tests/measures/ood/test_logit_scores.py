import math

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.logit_scores import (
    fit_energy,
    fit_entropy,
    fit_gen,
    fit_max_logit,
    fit_msp,
)
from tests.reference import ood_logits as reference

FITS = {
    "msp": fit_msp,
    "max_logit": fit_max_logit,
    "energy": fit_energy,
    "entropy": fit_entropy,
    "gen": fit_gen,
}
OF_PROBABILITIES = ["msp", "entropy", "gen"]


def score(name, logits, **options):
    evidence = Evidence(rows=len(logits), logits=logits, **options)
    return FITS[name](Known(), ()).score(evidence)


def random_logits(seed, classes, count=30):
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=rng.choice([0.1, 3.0, 30.0]), size=(count, classes))
    logits[0] = logits[1]
    logits[2, : classes // 2 + 1] = logits[2].max()  # ties of the largest
    logits[3] = 7.0
    return logits


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 130])
def test_scores_are_those_of_the_papers(name, classes):
    for seed in range(3):
        logits = random_logits(seed, classes)
        expected = [getattr(reference, name)(row) for row in logits.tolist()]
        found = score(name, logits)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_probabilities_give_the_same_as_their_logits(name):
    logits = random_logits(5, 12) / 10
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        score(name, np.log(p), probabilities=True), score(name, logits), rtol=1e-9
    )


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_a_probability_of_0_counts_nothing(name):
    with np.errstate(divide="ignore"):
        logs = np.log([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    found = score(name, logs, probabilities=True)
    without = score(name, logs[:1, :2], probabilities=True)
    assert found[0] == pytest.approx(without[0], rel=1e-15)
    assert found[1] == 0.0


def test_known_values():
    equal = np.full((1, 4), -3.0)
    assert score("msp", equal)[0] == pytest.approx(0.75)
    assert score("entropy", equal)[0] == pytest.approx(math.log(4))
    assert score("gen", equal)[0] == pytest.approx(4 * (3 / 16) ** 0.1)
    assert score("energy", equal)[0] == pytest.approx(3 - math.log(4))
    assert score("max_logit", equal)[0] == 3.0


def test_higher_is_more_out_of_distribution():
    confident, unsure = [9.0, 0.0, 0.0], [0.3, 0.1, 0.0]
    for name in FITS:
        inside, outside = score(name, np.array([confident, unsure]))
        assert inside < outside, name


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_confident_inputs_are_not_tied(name):
    leads = np.array([[0.0, -40.0], [0.0, -80.0], [0.0, -600.0]])
    found = score(name, leads)
    assert found[0] > found[1] > found[2] > 0
    np.testing.assert_allclose(found, [getattr(reference, name)(z) for z in leads], rtol=1e-9)


def test_gen_looks_at_the_largest_only():
    logits = random_logits(1, 9)
    for largest in (1, 4, 9, 50):
        found = fit_gen(Known(), (), gamma=0.5, largest=largest).score(
            Evidence(rows=len(logits), logits=logits)
        )
        expected = [reference.gen(row, 0.5, largest) for row in logits.tolist()]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", FITS)
def test_storage_and_blocks_change_nothing(name, monkeypatch, tmp_path):
    logits = random_logits(2, 6).astype(np.float16)
    whole = score(name, logits.astype(np.float64))
    np.save(tmp_path / "logits.npy", logits)
    mapped = np.load(tmp_path / "logits.npy", mmap_mode="r")
    np.testing.assert_array_equal(score(name, mapped), whole)
    np.testing.assert_array_equal(score(name, logits.astype(np.float32)), whole)
    np.testing.assert_allclose(score(name, logits[4:5]), whole[4:5], rtol=1e-14)
    assert score(name, logits[:0]).shape == (0,)
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 6 * 7)
    np.testing.assert_allclose(score(name, logits), whole, rtol=1e-14)


@pytest.mark.parametrize("name", FITS)
def test_huge_scores_overflow_to_probabilities_of_0(name):
    found = score(name, np.array([[1e308, -1e308, 0.0]]))
    assert found[0] == (-1e308 if name in ("max_logit", "energy") else 0.0)


@pytest.mark.parametrize("name", ["max_logit", "energy"])
def test_probabilities_have_no_energy(name):
    with pytest.raises(MeasureError, match="gives probabilities, not logits: no energy"):
        score(name, np.log([[0.5, 0.5]]), probabilities=True)


@pytest.mark.parametrize("name", FITS)
def test_bad_class_scores_are_refused(name):
    fit = FITS[name](Known(), ())
    with pytest.raises(MeasureError, match="no class scores"):
        fit.score(Evidence(rows=3))
    with pytest.raises(MeasureError, match="row 1 are not finite"):
        score(name, np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(MeasureError, match=r"shape \(3,\)"):
        score(name, np.zeros(3))
    with pytest.raises(MeasureError, match="for 5 inputs"):
        fit.score(Evidence(rows=5, logits=np.zeros((3, 2))))


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_an_input_of_no_possible_class_is_refused(name):
    with pytest.raises(MeasureError, match="row 1 has probability 0"):
        score(name, np.array([[0.0, -np.inf], [-np.inf, -np.inf]]), probabilities=True)


@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"gamma": np.nan}, {"largest": 0}])
def test_gen_refuses_impossible_options(options):
    with pytest.raises(MeasureError, match="gen with gamma"):
        fit_gen(Known(), (), **options)
