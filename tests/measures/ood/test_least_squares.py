import numpy as np
import pytest

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood import least_squares
from entangle_cli.measures.ood.evidence import Head
from entangle_cli.measures.ood.least_squares import recover_head


def case(seed, *, count=200, width=12, classes=4, offset=0.0):
    rng = np.random.default_rng(seed)
    head = Head(rng.normal(size=(classes, width)), rng.normal(size=classes))
    features = rng.normal(size=(count, width)) * rng.uniform(0.1, 3, width) + offset
    return head, features


def by_lstsq(features, logits):
    """Weight and bias by the singular values of features with a column of ones."""
    ones = np.column_stack([features, np.ones(len(features))]).astype(np.float64)
    solved = np.linalg.lstsq(ones, np.asarray(logits, np.float64), rcond=None)[0]
    return solved[:-1].T, solved[-1]


@pytest.mark.parametrize("seed", range(5))
def test_weight_and_bias_come_back(seed):
    head, features = case(seed)
    found, unseen = recover_head(features, head.logits(features))
    assert unseen == 0
    np.testing.assert_allclose(found.weight, head.weight, atol=1e-9)
    np.testing.assert_allclose(found.bias, head.bias, atol=1e-9)
    assert found.weight.dtype == found.bias.dtype == np.float64


@pytest.mark.parametrize("seed", range(5))
def test_rounded_values_give_what_least_squares_gives(seed):
    head, features = case(seed)
    features = features.astype(np.float32)
    logits = head.logits(features).astype(np.float16)
    found, _ = recover_head(features, logits)
    weight, bias = by_lstsq(features, logits)
    np.testing.assert_allclose(found.weight, weight, atol=1e-7)
    np.testing.assert_allclose(found.bias, bias, atol=1e-7)


def test_dead_units_are_counted_and_have_no_weight():
    head, features = case(1)
    features[:, [2, 7]] = 0.0
    features[:, 4] = 5.0
    found, unseen = recover_head(features, head.logits(features))
    assert unseen == 3
    np.testing.assert_allclose(found.weight[:, [2, 4, 7]], 0, atol=1e-12)
    np.testing.assert_allclose(found.logits(features), head.logits(features), atol=1e-9)


def test_twins_share_their_weight():
    head, features = case(2)
    features[:, 3] = features[:, 9]
    found, unseen = recover_head(features, head.logits(features))
    assert unseen == 1
    both = head.weight[:, 3] + head.weight[:, 9]
    np.testing.assert_allclose(found.weight[:, [3, 9]], np.stack([both, both], 1) / 2, atol=1e-9)


def test_far_from_the_origin():
    head, features = case(3, offset=1e4)
    features = features.astype(np.float32)
    found, unseen = recover_head(features, head.logits(features).astype(np.float32))
    assert unseen == 0
    # float32 holds the class scores, of size 1e4, to about 1e-3
    np.testing.assert_allclose(found.weight, head.weight, atol=1e-2)
    relative = found.logits(features) - head.logits(features)
    assert np.abs(relative).max() < 1e-2


def test_block_by_block_is_the_same(monkeypatch):
    head, features = case(4)
    whole, _ = recover_head(features, head.logits(features))
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 12 * 7)
    parts, _ = recover_head(features, head.logits(features))
    np.testing.assert_allclose(parts.weight, whole.weight, atol=1e-12)


def test_what_is_not_affine_is_refused_with_the_residual():
    head, features = case(5)
    for logits in (np.maximum(head.logits(features), 0), head.logits(features**2)):
        with pytest.raises(MeasureError, match=r"not an affine function .*residual 0\.\d+"):
            recover_head(features, logits)


def test_the_residual_decides_at_its_limit():
    head, features = case(6, count=4000)
    logits = head.logits(features)
    noise = np.random.default_rng(0).normal(size=logits.shape) * logits.std()
    for share, accepted in ((0.5, True), (2.0, False)):
        noisy = logits + share * least_squares.WORST_RESIDUAL * noise
        if accepted:
            recover_head(features, noisy)
        else:
            with pytest.raises(MeasureError, match="not an affine function"):
                recover_head(features, noisy)


def test_another_layer_is_refused():
    head, features = case(7)
    with pytest.raises(MeasureError, match="not an affine function"):
        recover_head(features[:, :6], head.logits(features))


@pytest.mark.parametrize("count", [1, 5, 12, 13])
def test_too_few_inputs_are_refused(count):
    head, features = case(8, count=count)
    with pytest.raises(MeasureError, match=f"{count} inputs for 12 features"):
        recover_head(features, head.logits(features))


def test_one_more_is_enough_for_an_exact_answer():
    head, features = case(9, count=14)
    found, _ = recover_head(features, head.logits(features))
    np.testing.assert_allclose(found.weight, head.weight, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_class_scores_that_never_vary_show_nothing(kind):
    _, features = case(10)
    logits = np.tile(np.array([0.1, 0.7, -3.3, 0.0], kind), (200, 1))
    for given in (logits, np.zeros_like(logits)):
        with pytest.raises(MeasureError, match="the same for every input"):
            recover_head(features, given)


def test_constant_features_are_refused():
    head, features = case(11)
    with pytest.raises(MeasureError, match=r"residual 1 of their spread"):
        recover_head(np.ones_like(features), head.logits(features))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    head, features = case(12)
    logits = head.logits(features)
    broken = features.copy()
    broken[3, 4] = value
    with pytest.raises(MeasureError, match="not finite"):
        recover_head(broken, logits)
    logits[3, 1] = value
    with pytest.raises(MeasureError, match="not finite"):
        recover_head(features, logits)
