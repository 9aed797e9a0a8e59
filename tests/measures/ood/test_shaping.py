from dataclasses import replace

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.measures.ood.logit_scores import fit_energy
from entangle_cli.measures.ood.shaping import (
    fit_ash_b,
    fit_ash_p,
    fit_ash_s,
    fit_dice,
    fit_react,
    fit_scale,
    largest_values,
)
from tests.measures.ood.feature_cases import evidence, of_features, random_known
from tests.reference import ood_features as reference

PER_INPUT = {"ash_p": fit_ash_p, "ash_b": fit_ash_b, "ash_s": fit_ash_s, "scale": fit_scale}
FITS = {"react": fit_react, "dice": fit_dice, **PER_INPUT}


def judged(known, count=20, **options):
    return evidence(np.random.default_rng(known.seed + 100), known.head, count, **options)


def expected(name, known, inputs, percentile):
    weight, bias = known.head.weight.tolist(), known.head.bias.tolist()
    training, rows = known.training.features.tolist(), inputs.features.tolist()
    if name == "react":
        threshold = reference.percentile([x for row in training for x in row], percentile)
        return [reference.react(f, threshold, weight, bias) for f in rows]
    if name == "dice":
        return [reference.dice(f, training, weight, bias, percentile) for f in rows]
    return [reference.energy(reference.shaped(f, name, percentile), weight, bias) for f in rows]


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("percentile", [0, 60, 90, 99])
@pytest.mark.parametrize(("classes", "width"), [(2, 30), (5, 7), (1, 3)])
def test_scores_are_those_of_the_papers(name, percentile, classes, width):
    known = random_known(classes, classes=classes, width=width)
    if name == "react" and percentile == 0:
        with pytest.raises(MeasureError, match="nothing would be left"):
            FITS[name](known, (), percentile=percentile)
        return
    inputs = judged(known)
    found = FITS[name](known, (), percentile=percentile).score(inputs)
    np.testing.assert_allclose(found, expected(name, known, inputs, percentile), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "percentile"), [(name, 85 if name == "scale" else 90) for name in FITS]
)
def test_default_percentiles(name, percentile):
    known = random_known(1)
    inputs = judged(known)
    default = FITS[name](known, ()).score(inputs)
    np.testing.assert_array_equal(
        default, FITS[name](known, (), percentile=float(percentile)).score(inputs)
    )
    energy = fit_energy(known, ()).score(inputs)
    assert np.isfinite(default).all()
    assert (np.abs(default - energy) > 1e-3).mean() > 0.5  # something was reshaped


@pytest.mark.parametrize("name", ["dice", "ash_p"])
def test_keeping_everything_is_the_plain_energy(name):
    known = random_known(2)
    inputs = judged(known)
    np.testing.assert_allclose(
        FITS[name](known, (), percentile=0).score(inputs),
        fit_energy(known, ()).score(inputs),
        rtol=1e-12,
    )


def test_react_cuts_at_the_percentile_of_all_training_values():
    known = random_known(3, count=41)
    fitted = fit_react(known, ())
    assert fitted.threshold == pytest.approx(np.percentile(known.training.features, 90))
    low = of_features(np.full((1, 12), fitted.threshold / 2))
    np.testing.assert_allclose(
        fitted.score(low), [reference.energy(low.features[0], known.head.weight, known.head.bias)]
    )


def test_react_takes_calibration_data_where_there_are_no_training_data():
    known = random_known(4)
    swapped = Known(calibration=known.training, head=known.head)
    assert fit_react(swapped, ()).threshold == fit_react(known, ()).threshold
    other = replace(known, calibration=judged(known))
    assert fit_react(other, ()).threshold == fit_react(known, ()).threshold


def test_react_samples_rows_of_huge_data(monkeypatch):
    known = random_known(5, count=3000, width=6, kind="float32")
    exact = fit_react(known, ()).threshold
    monkeypatch.setattr("entangle_cli.measures.ood.shaping.MOST_VALUES", 1500 * 6)
    sampled = [fit_react(replace(known, seed=seed), ()).threshold for seed in (1, 1, 2)]
    assert sampled[0] == sampled[1]
    assert sampled == pytest.approx([exact] * 3, rel=0.05)
    # at least one row, whatever its width
    monkeypatch.setattr("entangle_cli.measures.ood.shaping.MOST_VALUES", 1)
    of_rows = [reference.percentile(row, 90) for row in known.training.features.tolist()]
    assert np.isclose(of_rows, fit_react(replace(known, seed=3), ()).threshold).any()


def test_react_refuses_a_threshold_that_leaves_nothing():
    features = np.zeros((10, 5))
    features[0, 0] = 3.0  # 98 % zeros
    known = Known(training=of_features(features), head=Head(np.eye(2, 5), np.zeros(2)))
    with pytest.raises(MeasureError, match="90 % of the feature values are 0"):
        fit_react(known, ())


def test_of_equal_values_the_first_are_kept():
    rows = np.array(
        [[1.0, 2.0, 2.0, 2.0, 0.0], [3.0, 3.0, 3.0, 3.0, 3.0], [0.0, 5.0, 1.0, 1.0, 9.0]]
    )
    found = largest_values(rows, 3).astype(int).tolist()
    assert found == [[0, 1, 1, 1, 0], [1, 1, 1, 0, 0], [0, 1, 1, 0, 1]]
    assert largest_values(rows[:, :4], 2).astype(int).tolist()[0] == [0, 1, 1, 0]
    assert largest_values(rows, 5).all()


def test_at_least_one_value_is_kept():
    known = random_known(6, width=3)  # 3 - round(2.7) = 0
    assert fit_ash_p(known, ()).kept == 1


@pytest.mark.parametrize("name", PER_INPUT)
def test_a_feature_of_0_has_the_energy_of_the_bias(name):
    known = random_known(7)
    found = FITS[name](known, ()).score(of_features(np.zeros((2, 12))))
    bias = reference.energy([0.0] * 12, known.head.weight.tolist(), known.head.bias.tolist())
    np.testing.assert_allclose(found, [bias, bias])


@pytest.mark.parametrize("name", PER_INPUT)
def test_negative_features_are_scaled_while_the_largest_sum_to_more_than_0(name):
    known = random_known(8, relu=False)
    inputs = judged(known, relu=False)
    assert (inputs.features < 0).any()
    found = FITS[name](known, (), percentile=70).score(inputs)
    np.testing.assert_allclose(found, expected(name, known, inputs, 70), rtol=1e-12)


@pytest.mark.parametrize("name", ["ash_s", "scale"])
def test_features_without_a_positive_sum_are_not_scaled(name):
    known = random_known(9)
    with pytest.raises(MeasureError, match="12 of its 12 are negative"):
        FITS[name](known, ()).score(of_features(-np.ones((1, 12))))
    # a sum that is all but 0 scales to nothing
    tiny = np.full((1, 12), -1e300)
    tiny[0, 0] = 1e-300
    assert np.isfinite(fit_ash_s(known, ()).score(of_features(tiny)))


def test_constant_features_have_one_score():
    known = random_known(10)
    for name, fit in FITS.items():
        found = fit(known, ()).score(of_features(np.full((5, 12), 1.5)))
        assert np.ptp(found) == 0.0, name


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_storage_and_blocks_change_nothing(name, kind, monkeypatch, tmp_path):
    exact = random_known(11)
    whole = FITS[name](exact, ()).score(judged(exact))
    np.save(tmp_path / "features.npy", exact.training.features.astype(kind))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    known = replace(exact, training=of_features(mapped))
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 1000)
    fitted = FITS[name](known, ())
    inputs = judged(exact, kind=kind)
    np.testing.assert_allclose(fitted.score(inputs), whole, rtol=1e-12)
    one = of_features(inputs.features[5:6])
    np.testing.assert_allclose(fitted.score(one), whole[5:6], rtol=1e-12)
    assert fitted.score(of_features(inputs.features[:0])).shape == (0,)


@pytest.mark.parametrize("name", FITS)
def test_what_is_missing_is_named(name):
    known = random_known(12)
    with pytest.raises(MeasureError, match=r"^needs the last linear layer$"):
        FITS[name](replace(known, head=None), ())
    fitted = FITS[name](known, ())
    with pytest.raises(MeasureError, match=r"^needs the input of the last linear layer$"):
        fitted.score(Evidence(rows=2))
    with pytest.raises(MeasureError, match=r"features of width 5 .* of width 12"):
        fitted.score(of_features(np.ones((2, 5))))
    with pytest.raises(MeasureError, match="features of row 1 are not finite"):
        fitted.score(of_features(np.array([[1.0] * 12, [np.inf] * 12])))
    with pytest.raises(MeasureError, match="percentile 100"):
        FITS[name](known, (), percentile=100.0)


@pytest.mark.parametrize("name", ["react", "dice"])
def test_fitted_ones_need_training_data(name):
    known = random_known(13)
    for training in (None, of_features(np.empty((0, 12)))):
        with pytest.raises(MeasureError, match=r"^needs training data: give --train$"):
            FITS[name](Known(training=training, head=known.head), ())
    with pytest.raises(MeasureError, match=r"^needs the input of the last linear layer$"):
        FITS[name](Known(training=Evidence(rows=3), head=known.head), ())


@pytest.mark.parametrize(
    "head",
    [
        Head(np.eye(2), np.zeros(3)),
        Head(np.zeros(2), np.zeros(2)),
        Head(np.eye(2), np.full(2, np.nan)),
    ],
)
def test_a_broken_layer_is_refused(head):
    with pytest.raises(MeasureError, match="last linear layer"):
        fit_ash_p(Known(head=head), ())
