import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from whole_cases import LAYERS, whole_known

from entangle_cli.errors import MeasureError
from entangle_cli.measures.ood.catalogue import METHODS
from entangle_cli.measures.ood.evidence import Head
from entangle_cli.measures.ood.fitting import FittedDetector, fit_detectors
from entangle_cli.measures.ood.logit_scores import MSP
from entangle_cli.measures.ood.state import from_state, to_state

KNOWN, INPUTS = whole_known(3)
FITTED = fit_detectors(METHODS, KNOWN, LAYERS)


def through_json(value):
    arrays = []
    text = json.dumps(to_state(value, arrays), allow_nan=False)
    return from_state(json.loads(text), arrays)


@pytest.mark.parametrize("one", FITTED, ids=lambda one: "@".join(one.key))
def test_every_detector_comes_back_with_the_same_scores(one):
    back = through_json(one)
    assert (back.key, back.threshold, back.note) == (one.key, one.threshold, one.note)
    assert type(back.detector) is type(one.detector)
    np.testing.assert_array_equal(back.detector.score(INPUTS), one.detector.score(INPUTS))


def test_what_was_not_fitted_comes_back_too():
    one = FittedDetector("vim", "features", None, note="needs training data")
    assert through_json(one) == one


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -3, 0.1, 1e-300, math.inf, -math.inf, "text\n", (), (1, ("a", None)),
     {"a": 1.5, "b": (True,)}, np.float64(0.1), np.int64(3)],
)  # fmt: skip
def test_plain_values(value):
    back = through_json(value)
    assert back == value
    assert type(back) is type(value.item() if isinstance(value, np.generic) else value)


def test_nan():
    assert math.isnan(through_json(float("nan")))


def test_equal_arrays_are_kept_once():
    array = np.arange(6.0)
    arrays = []
    state = to_state((array, array.copy(), array.reshape(2, 3), array.astype(np.float32)), arrays)
    assert len(arrays) == 3
    for back, shape in zip(from_state(state, arrays), [(6,), (6,), (2, 3), (6,)], strict=True):
        assert back.shape == shape


def test_arrays_come_back_as_they_are():
    for array in (np.zeros((0, 3)), np.array(2), np.array([math.nan, -0.0]), np.array([True])):
        back = through_json((array,))[0]
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


def test_anything_else_is_not_written():
    @dataclass(frozen=True)
    class Other:
        value: int

    for value in (Other(1), object(), [1], {1, 2}, lambda: None):
        with pytest.raises(TypeError, match="is no part of a fitted detector"):
            to_state(value, [])


ARRAYS = [np.zeros((2, 3)), np.zeros(2)]
HEAD = {"kind": "Head", "fields": {"weight": {"array": 0}, "bias": {"array": 1}}}


def test_the_head_that_the_hostile_cases_change_is_sound():
    assert isinstance(from_state(HEAD, ARRAYS), Head)
    assert from_state({"kind": "MSP", "fields": {}}, []) == MSP()


def deep(depth):
    state = 1
    for _ in range(depth):
        state = {"tuple": [state]}
    return state


@pytest.mark.parametrize(
    "state",
    [
        HEAD | {"kind": "Popen"},
        HEAD | {"kind": "__class__"},
        HEAD | {"kind": ["Head"]},
        HEAD | {"fields": []},
        HEAD | {"fields": {"weight": {"array": 0}}},
        HEAD | {"fields": {"weight": {"array": 0}, "bias": {"array": 1}, "more": 1}},
        HEAD | {"fields": {"weight": {"array": 0}, "bias": 3.0}},
        HEAD | {"fields": {"weight": "rows", "bias": {"array": 1}}},
        {"kind": "GEN", "fields": {"gamma": "0.1", "largest": 3}},
        {"kind": "GEN", "fields": {"gamma": 0.1, "largest": 3.5}},
        {"kind": "GEN", "fields": {"gamma": 0.1, "largest": None}},
        {"kind": "Head"},
        {},
        [],
        [1, 2],
        {"array": 2},
        {"array": -1},
        {"array": True},
        {"array": 0.0},
        {"array": "0"},
        {"array": None},
        {"tuple": 3},
        {"number": "1"},
        {"number": []},
        {"dict": [["a"]]},
        {"dict": [[["a"], 1]]},
        {"dict": 3},
    ],
    ids=str,
)
def test_hostile_states_are_refused_in_one_line(state):
    refused(state)


def test_a_state_deeper_than_the_stack_is_refused():
    refused(deep(100_000))


def refused(state):
    with pytest.raises(MeasureError, match="cannot be read back") as caught:
        from_state(state, ARRAYS)
    assert "\n" not in str(caught.value)
