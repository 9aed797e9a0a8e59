import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.logit_fitted import fit_kl_matching, fit_temperature_msp
from tests.reference import ood_logits as reference


def calibration(logits, labels=None, **options):
    logits = np.asarray(logits)
    labels = None if labels is None else np.asarray(labels)
    return Known(calibration=Evidence(rows=len(logits), logits=logits, labels=labels, **options))


def given(logits, **options):
    return Evidence(rows=len(logits), logits=np.asarray(logits), **options)


def noisy_case(seed, classes=4, count=60, scale=3.0):
    """Class scores that are right more often than not, some labels unknown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) * scale
    logits[np.arange(count), labels] += scale
    labels[: count // 6] = -1
    return logits, labels


@pytest.mark.parametrize("scale", [0.2, 1.0, 8.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_minimizes_the_loss(scale, classes):
    logits, labels = noisy_case(int(scale), classes, scale=scale)
    fitted = fit_temperature_msp(calibration(logits, labels), ())
    found = minimize_scalar(
        lambda log_t: reference.loss(logits.tolist(), labels.tolist(), np.exp(log_t)),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert 0.05 < fitted.temperature < 20
    assert fitted.temperature == pytest.approx(np.exp(found.x), rel=1e-5)
    assert fitted.points == (labels >= 0).sum()
    expected = [reference.msp(row / fitted.temperature) for row in logits]
    np.testing.assert_allclose(fitted.score(given(logits)), expected, rtol=1e-9)


def test_the_temperature_scales_with_the_scores():
    logits, labels = noisy_case(3)
    one = fit_temperature_msp(calibration(logits, labels), ())
    two = fit_temperature_msp(calibration(2 * logits, labels), ())
    assert two.temperature == pytest.approx(2 * one.temperature, rel=1e-9)


def test_the_temperature_stays_in_its_range():
    separable = np.eye(3) * 2
    assert fit_temperature_msp(calibration(separable, [0, 1, 2]), ()).temperature == 0.05
    # as often wrong as by chance, or more: uniform probabilities are best
    assert fit_temperature_msp(calibration(separable, [1, 2, 0]), ()).temperature == 20.0


@pytest.mark.parametrize("logits", [np.full((4, 3), 2.5), np.eye(4, 3) * 1e5 + [1e6, 0, 0]])
def test_the_temperature_stays_1_where_the_loss_does_not_depend_on_it(logits):
    assert fit_temperature_msp(calibration(logits, [0, 0, 0, 0]), ()).temperature == 1.0


def test_inputs_whose_true_class_is_impossible_are_left_out():
    logits, labels = noisy_case(1)
    with_impossible = np.vstack([logits, [[-np.inf, 0.0, 0.0, 0.0]]])
    found = fit_temperature_msp(
        calibration(with_impossible, np.append(labels, 0), probabilities=True), ()
    )
    expected = fit_temperature_msp(calibration(logits, labels), ())
    assert found.points == expected.points
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-9)
    with pytest.raises(MeasureError, match="every calibration input has probability 0"):
        fit_temperature_msp(calibration(with_impossible[-1:], [0], probabilities=True), ())


@pytest.mark.parametrize(
    "known",
    [Known(), calibration(np.eye(2)), calibration(np.eye(2), [-1, -1])],
)
def test_a_temperature_needs_labels(known):
    with pytest.raises(MeasureError, match="needs calibration data with labels: give --calib"):
        fit_temperature_msp(known, ())


def test_a_temperature_needs_labels_that_fit():
    with pytest.raises(MeasureError, match="calibration label 2 "):
        fit_temperature_msp(calibration(np.eye(2), [0, 2]), ())
    with pytest.raises(MeasureError, match="calibration labels of shape"):
        fit_temperature_msp(calibration(np.eye(2), [0, 1, 1]), ())


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_templates_and_divergence_are_those_of_the_paper(classes):
    rng = np.random.default_rng(classes)
    fitting, judged = rng.normal(size=(2, 40, classes)) * 2
    fitted = fit_kl_matching(calibration(fitting), ())
    made = reference.templates(fitting.tolist())
    np.testing.assert_allclose(fitted.templates, made, rtol=1e-12)
    assert fitted.missing == 0
    expected = [reference.kl_matching(row, made) for row in judged.tolist()]
    np.testing.assert_allclose(fitted.score(given(judged)), expected, rtol=1e-9, atol=1e-15)


def test_a_class_that_is_never_predicted_is_never_the_nearest():
    fitting = [[2.0, 0.0, -1.0], [0.0, 2.0, -1.0], [3.0, 1.0, 0.0]]
    fitted = fit_kl_matching(calibration(fitting), ())
    assert fitted.missing == 1
    np.testing.assert_array_equal(fitted.templates[2], [0.0, 0.0, 1.0])
    judged = [[0.0, 0.0, 5.0], [0.0, 0.0, 30.0], [0.0, 0.0, 2000.0]]
    found = fitted.score(given(judged))
    made = reference.templates(fitting)
    expected = [reference.kl_matching(row, made) for row in judged]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found[1] > found[0] > 1
    assert found[2] == 0.0  # that one-hot vector itself


def test_an_input_that_no_template_allows_is_farther_than_any_other():
    with np.errstate(divide="ignore"):
        logs = np.log([[1.0, 0.0], [0.0, 1.0]])
        fitted = fit_kl_matching(calibration(logs, probabilities=True), ())
        judged = np.log([[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_array_equal(fitted.score(given(judged, probabilities=True)), [0.0, 745.0])
    nearly = fit_kl_matching(calibration([[744.0, 0.0], [742.0, 0.0]]), ())
    far = nearly.score(given([[-744.0, 0.0]]))
    assert 700 < far[0] < 745


def test_an_input_equal_to_its_template_scores_0():
    logits = np.array([[1.3, 0.2, -4.0]] * 3)
    assert fit_kl_matching(calibration(logits), ()).score(given(logits)) == pytest.approx(
        0, abs=1e-15
    )


def test_blocks_change_nothing(monkeypatch):
    logits, labels = noisy_case(2)
    known = calibration(logits.astype(np.float32), labels)
    fits = (fit_temperature_msp, fit_kl_matching)
    whole = [fit(known, ()).score(given(logits)) for fit in fits]
    monkeypatch.setattr("entangle_cli.measures.ood.evidence.BLOCK_BYTES", 8 * 4 * 7)
    for fit, expected in zip(fits, whole, strict=True):
        fitted = fit(known, ())
        np.testing.assert_allclose(fitted.score(given(logits)), expected, rtol=1e-9)
        np.testing.assert_allclose(fitted.score(given(logits[:1])), expected[:1], rtol=1e-9)


def test_templates_need_calibration_data_of_the_same_classes():
    for known in (Known(), calibration(np.empty((0, 3)))):
        with pytest.raises(MeasureError, match="needs calibration data: give --calib"):
            fit_kl_matching(known, ())
    with pytest.raises(MeasureError, match="no class scores"):
        fit_kl_matching(Known(calibration=Evidence(rows=2)), ())
    fitted = fit_kl_matching(calibration(np.eye(3)), ())
    with pytest.raises(MeasureError, match="for 2 classes but 3"):
        fitted.score(given(np.eye(2)))
