"""Fitted detectors as plain data: a JSON tree that refers to arrays by number, and back.

Only dataclasses of this package are made again, by name from a fixed list: reading a state runs no
code of the state's own. Whether the numbers make sense together is not checked: a state is trusted
to be one that `to_state` made, or to be refused here.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any, get_type_hints

import numpy as np

from entangle_cli.errors import MeasureError
from entangle_cli.measures import conformal, evaluation
from entangle_cli.measures.ood import (
    boundaries,
    directions,
    distances,
    dknn_scores,
    evidence,
    fisher,
    fitting,
    gaussian,
    logit_fitted,
    logit_scores,
    penultimate,
    probabilities,
    shaping,
    soft_neighbors,
    subspace,
)

_MODULES: tuple[ModuleType, ...] = (
    boundaries,
    conformal,
    directions,
    distances,
    dknn_scores,
    evaluation,
    evidence,
    fisher,
    fitting,
    gaussian,
    logit_fitted,
    logit_scores,
    penultimate,
    probabilities,
    shaping,
    soft_neighbors,
    subspace,
)
_KIND, _ARRAY, _TUPLE, _INFINITE = "kind", "array", "tuple", "number"
_ACCEPTED = {np.ndarray: np.ndarray, float: (float, int), int: int, bool: bool, str: str}
_NUMBERS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def _classes() -> dict[str, type]:
    return {
        name: value
        for module in _MODULES
        for name, value in vars(module).items()
        if isinstance(value, type) and is_dataclass(value)
    }


CLASSES = _classes()


def to_state(value: Any, arrays: list[np.ndarray]) -> Any:
    """``value`` as JSON data; its arrays are appended to ``arrays``.

    Raises:
        TypeError: something that is neither plain data, nor an array, nor a dataclass of the list.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and str(value) in _NUMBERS:
        return {_INFINITE: str(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {_ARRAY: _place(np.asarray(value), arrays)}
    if isinstance(value, tuple):
        return {_TUPLE: [to_state(one, arrays) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[key, to_state(one, arrays)] for key, one in value.items()]}
    if type(value).__name__ not in CLASSES:
        raise TypeError(f"{type(value).__name__} is no part of a fitted detector")
    content = {f.name: to_state(getattr(value, f.name), arrays) for f in fields(value)}
    return {_KIND: type(value).__name__, "fields": content}


def _place(array: np.ndarray, arrays: list[np.ndarray]) -> int:
    """The number of an array; equal ones, as the labels that many detectors hold, have one."""
    for number, other in enumerate(arrays):
        if other is array or _equal(other, array):
            return number
    arrays.append(array)
    return len(arrays) - 1


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    # most arrays of one shape differ at once, and they may be large
    start = slice(64)
    same = one.flat[start].tobytes() == other.flat[start].tobytes()
    return same and one.tobytes() == other.tobytes()


def from_state(state: Any, arrays: Sequence[np.ndarray]) -> Any:
    """What `to_state` was given.

    Raises:
        MeasureError: the data is not what `to_state` makes.
    """
    try:
        return _read(state, arrays)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MeasureError(f"fitted detectors cannot be read back ({error}); fit again") from None


def _read(state: Any, arrays: Sequence[np.ndarray]) -> Any:
    if state is None or isinstance(state, (bool, int, float, str)):
        return state
    if _ARRAY in state:
        number = state[_ARRAY]
        if type(number) is not int or not 0 <= number < len(arrays):
            raise IndexError(f"array {number} of {len(arrays)}")
        return arrays[number]
    if _TUPLE in state:
        return tuple(_read(one, arrays) for one in state[_TUPLE])
    if _INFINITE in state:
        return _NUMBERS[state[_INFINITE]]
    if "dict" in state:
        return {key: _read(one, arrays) for key, one in state["dict"]}
    content = {name: _read(one, arrays) for name, one in state["fields"].items()}
    return _made(CLASSES[state[_KIND]], content)


def _made(kind: type, content: dict[str, Any]) -> Any:
    """A ``kind``; what it declares as a number, a text or an array must be one."""
    declared = get_type_hints(kind)
    for name, value in content.items():
        wanted = _ACCEPTED.get(declared[name])
        if wanted is not None and not isinstance(value, wanted):
            raise TypeError(f"{kind.__name__}.{name} is {type(value).__name__}")
    return kind(**content)
