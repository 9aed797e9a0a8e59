from dataclasses import replace

import numpy as np
import pytest
import torch

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.boundaries import fit_fdbd, fit_nci
from entangle_cli.measures.ood.directions import fit_gradnorm, fit_nnguide, fit_she
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from tests.measures.ood.feature_cases import evidence, of_features, random_known
from tests.reference import ood_features as reference

FITS = {
    "gradnorm": fit_gradnorm,
    "she": fit_she,
    "nnguide": fit_nnguide,
    "fdbd": fit_fdbd,
    "nci": fit_nci,
}
WITH_HEAD = ["nnguide", "fdbd", "nci"]
BLOCK_BYTES = "entangle_cli.measures.ood.evidence.BLOCK_BYTES"


def judged(known, count=12, **options):
    return evidence(np.random.default_rng(known.seed + 100), known.head, count, **options)


def expected(name, known, inputs):
    training = known.training
    weight, bias = known.head.weight.tolist(), known.head.bias.tolist()
    rows, known_rows = inputs.features.tolist(), training.features.tolist()
    if name == "gradnorm":
        return [reference.gradnorm(f, z) for f, z in zip(rows, inputs.logits, strict=True)]
    if name == "she":
        fitted = (known_rows, training.logits.tolist(), training.labels.tolist())
        pairs = zip(rows, inputs.logits.tolist(), strict=True)
        return [reference.she(f, z, *fitted) for f, z in pairs]
    if name == "nnguide":
        return [reference.nnguide(f, known_rows, weight, bias, 100) for f in rows]
    return [getattr(reference, name)(f, known_rows, weight, bias) for f in rows]


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize(("classes", "relu"), [(2, True), (6, True), (6, False)])
def test_scores_are_those_of_the_papers(name, classes, relu):
    known = random_known(classes, classes=classes, relu=relu, count=130)
    inputs = judged(known, relu=relu)
    found = FITS[name](known, ()).score(inputs)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected(name, known, inputs), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_storage_and_blocks_change_nothing(name, kind, monkeypatch, tmp_path):
    exact = random_known(1)
    whole = FITS[name](exact, ()).score(judged(exact))
    np.save(tmp_path / "features.npy", exact.training.features.astype(kind))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    monkeypatch.setattr(BLOCK_BYTES, 1000)
    fitted = FITS[name](replace(exact, training=replace(exact.training, features=mapped)), ())
    inputs = judged(exact, kind=kind)
    np.testing.assert_allclose(fitted.score(inputs), whole, rtol=1e-10)
    one = of_features(inputs.features[5:6], logits=inputs.logits[5:6])
    np.testing.assert_allclose(fitted.score(one), whole[5:6], rtol=1e-10)
    none = of_features(inputs.features[:0], logits=inputs.logits[:0])
    assert fitted.score(none).shape == (0,)


@pytest.mark.parametrize("name", FITS)
def test_a_feature_of_0_has_a_score(name):
    known = random_known(2)
    zero = of_features(np.zeros((1, 12)), logits=known.head.bias[None])
    found = FITS[name](known, ()).score(zero)[0]
    assert found == pytest.approx(expected(name, known, zero)[0])
    if name in ("gradnorm", "she", "nnguide"):
        assert found == 0.0


@pytest.mark.parametrize("name", FITS)
def test_what_is_missing_is_named(name):
    known = random_known(3)
    fitted = FITS[name](known, ())
    with pytest.raises(MeasureError, match=r"^needs the input of the last linear layer$"):
        fitted.score(Evidence(rows=2, logits=np.zeros((2, 4))))
    if name != "gradnorm":
        with pytest.raises(MeasureError, match=r"^needs training data: give --train$"):
            FITS[name](replace(known, training=None), ())
        with pytest.raises(MeasureError, match=r"features of width 5 .* of width 12"):
            fitted.score(of_features(np.ones((2, 5)), logits=np.zeros((2, 4))))
    if name in WITH_HEAD:
        with pytest.raises(MeasureError, match=r"^needs the last linear layer$"):
            FITS[name](replace(known, head=None), ())
    else:
        with pytest.raises(MeasureError, match="no class scores"):
            fitted.score(of_features(np.ones((2, 12))))


def test_gradnorm_is_the_norm_of_the_gradient():
    known = random_known(4)
    inputs = judged(known)
    found = fit_gradnorm(Known(), ()).score(inputs)
    for f, score in zip(inputs.features, found, strict=True):
        weight = torch.tensor(known.head.weight, requires_grad=True)
        logits = weight @ torch.tensor(f) + torch.tensor(known.head.bias)
        (-torch.log_softmax(logits, dim=0).mean()).backward()
        assert score == pytest.approx(-weight.grad.abs().sum().item(), rel=1e-12)


def test_gradnorm_of_uniform_and_of_impossible_classes():
    features = np.ones((3, 2))
    uniform = of_features(features, logits=np.full((3, 4), 8.0))
    np.testing.assert_array_equal(fit_gradnorm(Known(), ()).score(uniform), np.zeros(3))
    sure = np.full((3, 4), -np.inf)
    sure[:, 1] = 0.0
    found = fit_gradnorm(Known(), ()).score(of_features(features, logits=sure, probabilities=True))
    np.testing.assert_array_equal(found, np.full(3, -2 * 1.5))
    single = of_features(features, logits=np.ones((3, 1)))
    np.testing.assert_array_equal(fit_gradnorm(Known(), ()).score(single), np.zeros(3))


def test_she_stores_nothing_for_classes_without_correct_inputs():
    features = np.array([[1.0, 0.0], [3.0, 2.0], [7.0, 7.0], [9.0, 1.0]])
    logits = np.array([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    training = of_features(features, logits=logits, labels=np.array([0, 0, 1, -1]))
    fitted = fit_she(Known(training=training), ())
    np.testing.assert_array_equal(fitted.patterns, [[2.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    assert fitted.missing == 2
    found = fitted.score(of_features(np.array([[1.0, 1.0]] * 2), logits=logits[2:]))
    np.testing.assert_array_equal(found, [-3.0, 0.0])


def test_she_needs_labels_that_fit():
    training = random_known(5).training
    with pytest.raises(MeasureError, match=r"^needs training data with labels: give --train$"):
        fit_she(Known(training=replace(training, labels=None)), ())
    with pytest.raises(MeasureError, match="training label 9 "):
        fit_she(Known(training=replace(training, labels=np.full(40, 9))), ())
    with pytest.raises(MeasureError, match="none of the 40 training inputs is correctly"):
        fit_she(Known(training=replace(training, labels=np.full(40, -1))), ())
    fitted = fit_she(Known(training=training), ())
    with pytest.raises(MeasureError, match="for 3 classes but 4"):
        fitted.score(of_features(np.ones((1, 12)), logits=np.ones((1, 3))))


@pytest.mark.parametrize("neighbors", [1, 7, 40, 100])
def test_nnguide_averages_the_largest_or_the_whole_bank(neighbors):
    known = random_known(6)
    inputs = judged(known)
    fitted = fit_nnguide(known, (), neighbors=neighbors)
    assert fitted.neighbors == min(neighbors, 40)
    arrays = (known.training.features, known.head.weight, known.head.bias, neighbors)
    np.testing.assert_allclose(
        fitted.score(inputs), [reference.nnguide(f, *arrays) for f in inputs.features], rtol=1e-9
    )


def test_the_bank_is_drawn_with_the_seed(monkeypatch):
    known = random_known(7, count=300)
    monkeypatch.setattr("entangle_cli.measures.ood.directions.SMALLEST_BANK", 50)
    banks = [fit_nnguide(replace(known, seed=seed), ()).bank for seed in (1, 1, 2)]
    np.testing.assert_array_equal(banks[0], banks[1])
    assert not np.array_equal(banks[0], banks[2])
    monkeypatch.setattr(BLOCK_BYTES, 1000)
    in_blocks = fit_nnguide(replace(known, seed=1), ()).bank
    np.testing.assert_allclose(in_blocks, banks[0], rtol=1e-12)
    everything = reference_bank(known)
    for row in banks[0]:
        assert np.isclose(everything, row).all(axis=1).any()
    assert len(banks[0]) == 50
    monkeypatch.setattr("entangle_cli.measures.ood.directions.BANK_SHARE", 0.5)
    assert len(fit_nnguide(known, ()).bank) == 150


def reference_bank(known):
    rows = []
    for f in known.training.features:
        size = reference.length(f)
        energy = -reference.energy(f, known.head.weight, known.head.bias)
        rows.append(f / size * energy if size else 0 * f)
    return np.array(rows)


def test_nnguide_refuses_what_would_turn_it_around():
    known = random_known(8)
    head = Head(known.head.weight, known.head.bias - 1000)
    with pytest.raises(MeasureError, match="nnguide needs it positive"):
        fit_nnguide(replace(known, head=head), ())
    with pytest.raises(MeasureError, match="0 neighbors"):
        fit_nnguide(known, (), neighbors=0)


def test_fdbd_leaves_classes_without_a_boundary_out():
    known = random_known(9, classes=3)
    weight = known.head.weight.copy()
    weight[2] = weight[0]
    known = replace(known, head=Head(weight, known.head.bias))
    inputs = judged(known)
    found = fit_fdbd(known, ()).score(inputs)
    np.testing.assert_allclose(found, expected("fdbd", known, inputs), rtol=1e-9)


@pytest.mark.parametrize("classes", [1, 3])
def test_fdbd_needs_a_boundary(classes):
    known = random_known(10)
    head = Head(np.ones((classes, 12)), np.zeros(classes))
    with pytest.raises(MeasureError, match="no boundary between them"):
        fit_fdbd(replace(known, head=head), ())


def test_at_the_mean_scores_are_finite():
    # the mean of these rows is not exactly the row
    features = np.tile(np.full(6, 0.1), (1001, 1))
    head = Head(np.eye(2, 6), np.array([1.0, 0.0]))
    known = Known(training=of_features(features), head=head)
    inputs = of_features(features[:2])
    np.testing.assert_allclose(fit_nci(known, ()).score(inputs), [-1e-4 * 0.6] * 2, rtol=1e-12)
    smallest = 1e-12 * np.sqrt(0.06)
    boundary = fit_fdbd(known, ()).score(inputs)
    np.testing.assert_allclose(boundary, [-(1.0 / np.sqrt(2)) / smallest] * 2, rtol=1e-9)
    zeros = Known(training=of_features(np.zeros((4, 6))), head=head)
    assert np.isfinite(fit_fdbd(zeros, ()).score(of_features(np.zeros((1, 6))))).all()
    np.testing.assert_array_equal(fit_nci(zeros, ()).score(of_features(np.zeros((1, 6)))), [0.0])


def test_higher_is_more_out_of_distribution():
    rng = np.random.default_rng(11)
    labels = np.repeat(np.arange(3), 50)
    features = np.eye(3)[labels] * 6 + rng.random((150, 3)) * 0.2
    head = Head(np.eye(3) * 2, np.zeros(3))
    training = of_features(features, logits=head.logits(features), labels=labels)
    known = Known(training=training, head=head)
    strange = np.array([[0.5, 0.4, 0.45]])
    for name, fit in FITS.items():
        fitted = fit(known, ())
        outside = fitted.score(of_features(strange, logits=head.logits(strange)))
        assert outside[0] > np.quantile(fitted.score(training), 0.99), name
