from dataclasses import replace

import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.measures.ood.logit_scores import fit_energy
from entangle_cli.measures.ood.subspace import default_dimensions, fit_residual, fit_vim
from tests.measures.ood.feature_cases import evidence, of_features, random_known
from tests.reference import ood_features as reference

FITS = {"residual": fit_residual, "vim": fit_vim}


def judged(known, count=12, **options):
    return evidence(np.random.default_rng(known.seed + 100), known.head, count, **options)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("dimensions", [1, 4, 8])
@pytest.mark.parametrize(("classes", "relu"), [(2, True), (5, False), (1, False), (14, True)])
def test_scores_are_those_of_the_paper(name, dimensions, classes, relu):
    known = random_known(classes, classes=classes, width=9, relu=relu)
    known = replace(known, head=Head(known.head.weight, known.head.bias + 3))
    inputs = judged(known, relu=relu)
    found = FITS[name](known, (), dimensions=dimensions).score(inputs)
    arrays = (known.training.features, known.head.weight, known.head.bias)
    expected = [getattr(reference, name)(f, *arrays, dimensions) for f in inputs.features]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_default_dimensions_are_those_of_the_paper():
    widths = {2: 1, 3: 1, 84: 42, 512: 256, 767: 383, 768: 512, 2047: 512, 2048: 1000, 4096: 1000}
    assert {width: default_dimensions(width) for width in widths} == widths
    assert fit_residual(random_known(1, width=9), ()).basis.shape == (9, 5)


def test_the_basis_is_orthonormal_and_hardly_used():
    known = random_known(2, width=6)
    fitted = fit_residual(known, (), dimensions=4)
    np.testing.assert_allclose(fitted.basis.T @ fitted.basis, np.eye(2), atol=1e-12)
    centered = known.training.features - fitted.origin
    assert np.square(centered @ fitted.basis).sum() < np.square(centered).sum() * 2 / 6


def test_the_origin_is_where_the_class_scores_are_nearest_0():
    known = random_known(3, classes=3, width=6)
    fitted = fit_residual(known, ())
    np.testing.assert_allclose(known.head.logits(fitted.origin[None]), np.zeros((1, 3)), atol=1e-12)
    assert fitted.score(of_features(fitted.origin[None]))[0] == pytest.approx(0.0, abs=1e-12)


def test_training_data_have_virtual_logits_like_their_largest_ones():
    known = random_known(4)
    fitted = fit_vim(known, ())
    virtual = fitted.alpha * fitted.residual.score(known.training)
    assert virtual.mean() == pytest.approx(known.training.logits.max(axis=1).mean())
    difference = fitted.score(known.training) - fit_energy(known, ()).score(known.training)
    np.testing.assert_allclose(difference, virtual, atol=1e-9)
    assert virtual.max() > 0.1


def test_moving_off_the_training_data_raises_the_scores():
    rng = np.random.default_rng(5)
    features = np.hstack([rng.normal(size=(200, 4)) * 5, rng.normal(size=(200, 4)) * 0.01])
    head = Head(np.eye(3, 8), np.full(3, 2.0))
    known = Known(training=of_features(features), head=head)
    off = np.zeros((1, 8))
    off[0, -1] = 5.0  # no class score changes
    for fit in FITS.values():
        fitted = fit(known, ())
        inside, outside = fitted.score(of_features(features[:1])), None
        outside = fitted.score(of_features(features[:1] + off))
        assert outside[0] > inside[0] + 1


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_storage_and_blocks_change_nothing(name, kind, monkeypatch, tmp_path):
    exact = random_known(6)
    whole = FITS[name](exact, ()).score(judged(exact))
    np.save(tmp_path / "features.npy", exact.training.features.astype(kind))
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 1000)
    fitted = FITS[name](replace(exact, training=of_features(mapped)), ())
    inputs = judged(exact, kind=kind)
    np.testing.assert_allclose(fitted.score(inputs), whole, rtol=1e-9)
    np.testing.assert_allclose(
        fitted.score(of_features(inputs.features[5:6])), whole[5:6], rtol=1e-9
    )
    assert fitted.score(of_features(inputs.features[:0])).shape == (0,)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("dimensions", [0, -1, 5, 8, 99])
def test_a_principal_space_must_leave_something(name, dimensions):
    known = random_known(7, width=8)
    flat = known.training.features.copy()
    flat[:, 5:] = 0.0
    head = Head(np.hstack([known.head.weight[:, :5], np.zeros((4, 3))]), known.head.bias)
    known = Known(training=of_features(flat), head=head)
    with pytest.raises(MeasureError, match=r"width 8 and rank 5 .* of -?\d+ dimensions"):
        FITS[name](known, (), dimensions=dimensions)
    assert np.isfinite(FITS[name](known, (), dimensions=4).score(known.training)).all()


def test_directions_of_rounding_do_not_count_in_the_rank():
    rng = np.random.default_rng(8)
    features = rng.normal(size=(50, 5)) @ rng.normal(size=(5, 8))  # no coordinate is 0
    head = Head(np.eye(2, 8), np.zeros(2))
    with pytest.raises(MeasureError, match="rank 5 "):
        fit_residual(Known(training=of_features(features), head=head), (), dimensions=5)
    assert fit_residual(Known(training=of_features(features), head=head), ()).basis.shape == (8, 4)


@pytest.mark.parametrize("name", FITS)
def test_training_data_without_any_spread_are_refused(name):
    head = Head(np.eye(2, 8), np.zeros(2))
    for features in (np.zeros((5, 8)), np.ones((5, 8)), np.eye(4, 8)):
        known = Known(training=of_features(features), head=head)
        with pytest.raises(MeasureError, match="give more training data or leave"):
            FITS[name](known, ())
    with pytest.raises(MeasureError, match="rank 1 for a principal space of 0 "):
        FITS[name](
            Known(training=of_features(np.ones((5, 1))), head=Head(np.eye(1), np.ones(1))), ()
        )


def test_vim_refuses_class_scores_that_are_not_positive():
    known = random_known(8)
    head = Head(known.head.weight, known.head.bias - 1000)
    with pytest.raises(MeasureError, match="vim needs both positive"):
        fit_vim(replace(known, head=head), ())


@pytest.mark.parametrize("name", FITS)
def test_what_is_missing_is_named(name, monkeypatch):
    known = random_known(9)
    fit = FITS[name]
    with pytest.raises(MeasureError, match=r"^needs the last linear layer$"):
        fit(replace(known, head=None), ())
    with pytest.raises(MeasureError, match=r"^needs training data: give --train$"):
        fit(replace(known, training=None), ())
    with pytest.raises(MeasureError, match=r"^needs the input of the last linear layer$"):
        fit(replace(known, training=Evidence(rows=3)), ())
    with pytest.raises(MeasureError, match=r"features of width 5 .* of width 12"):
        fit(replace(known, training=of_features(np.ones((9, 5)))), ())
    with pytest.raises(MeasureError, match=r"features of width 5 .* of width 12"):
        fit(known, ()).score(of_features(np.ones((2, 5))))
    monkeypatch.setattr("entangle_cli.measures.ood.subspace.WIDEST", 11)
    with pytest.raises(MeasureError, match="width 12; residual and vim take at most 11"):
        fit(known, ())
