from dataclasses import dataclass, replace

import numpy as np
import pytest
from whole_cases import LAYERS, whole_known

from entangle_cli.errors import MeasureError
from entangle_cli.measures.detection import threshold
from entangle_cli.measures.ood.evidence import Evidence, Known
from entangle_cli.measures.ood.fitting import (
    FittedDetector,
    column_name,
    fit_detectors,
    score_inputs,
)
from entangle_cli.measures.ood.interface import Method


@dataclass(frozen=True)
class First:
    """The first class score; refuses more inputs than ``most``."""

    most: int
    left_out: tuple[str, ...] = ()

    def score(self, inputs):
        if inputs.rows > self.most:
            raise MeasureError(f"{inputs.rows} inputs are too many")
        return inputs.logits[:, 0]


def method(fit, scope="logits", name="first"):
    return Method(name, scope, "", frozenset(), fit)


def inputs(count):
    return Evidence(rows=count, logits=np.arange(2.0 * count).reshape(count, 2))


def test_a_threshold_keeps_the_share_of_calibration():
    known = Known(calibration=inputs(99))
    for keep in (0.5, 0.9, 0.95):
        (one,) = fit_detectors([method(lambda *_: First(999))], known, (), keep=keep)
        assert one.threshold == threshold(known.calibration.logits[:, 0], keep=keep)
        assert (known.calibration.logits[:, 0] <= one.threshold).sum() == np.ceil(100 * keep)
        assert one.note == ""


def test_without_calibration_there_is_none():
    (one,) = fit_detectors([method(lambda *_: First(9))], Known(), ())
    assert (one.threshold, one.note) == (None, "")
    assert one.detector == First(9)


def test_too_little_calibration_is_noted_and_the_detector_kept():
    known = Known(calibration=inputs(18))
    (one,) = fit_detectors([method(lambda *_: First(99))], known, ())
    assert one.threshold is None
    assert one.note.startswith("no threshold: 18 calibration scores")
    assert one.detector is not None


def test_calibration_that_cannot_be_scored_is_noted():
    (one,) = fit_detectors([method(lambda *_: First(5))], Known(calibration=inputs(30)), ())
    assert one.note == "no threshold: 30 inputs are too many"


def test_layers_left_out_are_named_before_other_notes():
    fit = method(lambda *_: First(99, ("conv", "fc")), "layers")
    (one,) = fit_detectors([fit], Known(calibration=inputs(3)), ("conv", "fc", "out"))
    assert one.note.startswith("without conv, fc; no threshold: ")


def test_what_cannot_be_fitted_says_why_and_the_rest_goes_on():
    def refuse(known, layers):
        raise MeasureError(f"no {layers[0]}")

    methods = [method(refuse, "layer"), method(lambda *_: First(9), name="second")]
    found = fit_detectors(methods, Known(), ("a", "b"))
    assert [one.key for one in found] == [("first", "a"), ("first", "b"), ("second", "logits")]
    assert [one.note for one in found] == ["no a", "no b", ""]
    scores, reasons = score_inputs(found, inputs(4))
    assert list(scores) == [("second", "logits")]
    assert reasons == {}


def test_a_bug_is_no_note():
    with pytest.raises(ZeroDivisionError):
        fit_detectors([method(lambda *_: 1 / 0)], Known(), ())


def test_scores_that_cannot_be_had_are_reasons():
    found = [FittedDetector("a", "logits", First(3)), FittedDetector("b", "logits", First(9))]
    scores, reasons = score_inputs(found, inputs(4))
    assert list(scores) == [("b", "logits")]
    assert reasons == {("a", "logits"): "4 inputs are too many"}


def test_a_layer_that_is_missing_is_a_reason_of_that_layer_alone():
    from entangle_cli.measures.ood.catalogue import choose_methods

    known, new = whole_known()
    fitted = fit_detectors(choose_methods(("mahalanobis", "msp")), known, LAYERS)
    new = replace(new, channels={"fc": new.channels["fc"]})
    scores, reasons = score_inputs(fitted, new)
    assert set(scores) == {("msp", "logits"), ("mahalanobis", "fc")}
    assert "layer conv" in reasons["mahalanobis", "conv"]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (("msp", "logits"), "msp"),
        (("vim", "features"), "vim"),
        (("knn", "fc 1"), "knn@fc 1"),
        (("fisher_knn", "all layers"), "fisher_knn@all layers"),
    ],
)
def test_columns(key, name):
    assert column_name(key) == name
