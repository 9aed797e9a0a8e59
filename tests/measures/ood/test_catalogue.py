import numpy as np
import pytest
from whole_cases import LAYERS, whole_known

from entangle_cli.errors import MeasureError
from entangle_cli.measures.detection import detection
from entangle_cli.measures.ood.catalogue import METHODS, NAMES, choose_methods
from entangle_cli.measures.ood.evidence import Known
from entangle_cli.measures.ood.fitting import fit_detectors, score_inputs

KNOWN, INPUTS = whole_known()
ALONE = ("msp", "max_logit", "energy", "entropy", "gen")


def test_every_pair_of_name_and_scope_is_there_once():
    assert len({(method.name, method.scope) for method in METHODS}) == len(METHODS)
    keys = [(m.name, place) for m in METHODS for place, _ in m.places(LAYERS)]
    assert len(set(keys)) == len(keys)
    assert set(NAMES) == {method.name for method in METHODS}


def test_places():
    places = {m.scope: m.places(LAYERS) for m in METHODS}
    assert places == {
        "logits": [("logits", ())],
        "features": [("features", ())],
        "layer": [("conv", ("conv",)), ("fc", ("fc",))],
        "layers": [("all layers", LAYERS)],
    }
    assert all(m.places(()) == [] for m in METHODS if m.scope == "layer")


def test_every_detector_is_fitted_and_knows_far_from_near():
    fitted = fit_detectors(choose_methods(("all",)), KNOWN, LAYERS)
    assert [one.note for one in fitted if one.detector is None] == []
    scores, reasons = score_inputs(fitted, INPUTS)
    assert reasons == {}
    aurocs = {}
    for one in fitted:
        values = scores[one.key]
        assert values.shape == (40,)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
        aurocs[one.key] = detection(values[:20], values[20:]).auroc
    # the far inputs are far in the layers; class scores alone may well be sure of them
    for name in ("knn", "knn_euclidean", "mahalanobis"):
        assert aurocs[name, "fc"] > 0.8, aurocs
    assert aurocs["fisher_knn", "all layers"] > 0.8


def test_by_name_or_glob_in_the_order_of_the_catalogue():
    assert [m.name for m in choose_methods(("energy", "msp"))] == ["msp", "energy"]
    assert [m.name for m in choose_methods(("ash_*",))] == ["ash_p", "ash_b", "ash_s"]
    assert [m.scope for m in choose_methods(("dknn_count",))] == ["layer", "layers"]
    assert choose_methods(("all",)) == METHODS
    assert choose_methods(("*", "msp")) == METHODS


def test_a_second_search_is_by_request_alone():
    default = {method.name for method in choose_methods(())}
    assert set(NAMES) - default == {"knn_euclidean", "lid"}
    assert not any("euclidean" in method.needs for method in choose_methods(()))


@pytest.mark.parametrize("pattern", ["nothing", "MSP", "", "knn ", "[", "all*x"])
def test_an_unknown_name_is_refused(pattern):
    with pytest.raises(MeasureError, match=r"is unknown.*; there are msp, "):
        choose_methods(("msp", pattern))


def test_the_nearest_name_is_suggested():
    with pytest.raises(MeasureError, match="did you mean 'mahalanobis'"):
        choose_methods(("mahalonobis",))


def test_what_a_detector_needs_beside_logits_is_named():
    found = fit_detectors(METHODS, Known(), LAYERS)
    assert {one.name for one in found if one.detector is not None} >= set(ALONE)
    for one in found:
        if one.name not in ALONE and one.detector is None:
            assert "need" in one.note, one
            assert "\n" not in one.note


def test_needs_are_what_is_looked_at():
    bare = {"rows": 40, "logits": INPUTS.logits, "features": INPUTS.features}
    fitted = fit_detectors(METHODS, KNOWN, LAYERS)
    for method in METHODS:
        ones = [one for one in fitted if one.name == method.name]
        parts = dict(bare, points=INPUTS.points)
        if "channels" in method.needs:
            parts["channels"] = INPUTS.channels
        metrics = method.needs & {"cosine", "euclidean"}
        parts["neighbors"] = {metric: INPUTS.neighbors[metric] for metric in metrics}
        scores, reasons = score_inputs(ones, type(INPUTS)(**parts))
        assert reasons == {}, method.name
        assert len(scores) == len(ones)
