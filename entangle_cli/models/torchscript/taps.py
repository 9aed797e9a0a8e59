"""The operator that hands a value from inside the TorchScript interpreter to Python.

A graph carries ``entangle::tap(value, handle, site)`` nodes. The handle says which running call
a value belongs to, so that several models, and several calls, never see each other's values.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch

from entangle_cli.models.torchscript.errors import FAILURES, RunFailure

# receives (site, value) for a tap, (site, None) for the beginning and the end of a module call
Receiver = Callable[[int, object], None]

# (site, how often the site had fired before in the run, position in a list or dictionary)
Firing = tuple[int, int, int]

NAMESPACE = "entangle"
MARK = f"{NAMESPACE}::mark"
# the operator that takes a value of this type of torch's
TAPS = {
    "TensorType": f"{NAMESPACE}::tap",
    "OptionalType": f"{NAMESPACE}::tap_optional",
    "ListType": f"{NAMESPACE}::tap_list",
    "DictType": f"{NAMESPACE}::tap_dict",
}
_SCHEMA = {
    "TensorType": "Tensor",
    "OptionalType": "Tensor?",
    "ListType": "Tensor[]",
    "DictType": "Dict(str, Tensor)",
}

_handles = itertools.count()
_running: dict[int, "_Delivery"] = {}


class _Stopped(Exception):
    """Goes through the interpreter in place of a receiver's exception, which it would disfigure."""


class _Delivery:
    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.failure: BaseException | None = None

    def __call__(self, site: int, value: object) -> None:
        with self:
            self.receiver(site, value)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, failure, traceback) -> None:
        # also KeyboardInterrupt: the interpreter turns whatever passes it into a RuntimeError
        if failure is not None:
            self.failure = failure
            raise _Stopped from None


def new_handle() -> int:
    """A number that no other tapped graph of this process has."""
    return next(_handles)


def call(function: Callable, arguments: Sequence, handle: int, receiver: Receiver) -> object:
    """``function(*arguments)`` while taps with this handle go to ``receiver``.

    What the receiver raises stops the interpreter and is raised again from here, unchanged;
    a failure of the function's own becomes a RunFailure.
    """
    delivery = _Delivery(receiver)
    outer = _running.get(handle)
    _running[handle] = delivery
    try:
        return function(*arguments)
    except (*FAILURES, _Stopped) as error:
        if delivery.failure is None:
            if "KeyboardInterrupt: " in str(error):  # it came between two lines of our own
                raise KeyboardInterrupt from None
            raise RunFailure(error) from None
    finally:
        del _running[handle]
        if outer is not None:
            _running[handle] = outer
    raise delivery.failure


class Firings:
    """Counts how often each site fires in one run, and numbers the tensors it brings."""

    def __init__(self) -> None:
        self._count: dict[int, int] = defaultdict(int)

    def __call__(self, site: int, value: object) -> list[tuple[Firing, torch.Tensor]]:
        """The tensors in ``value``, each with the firing that names it."""
        if value is None:
            return []
        occurrence = self._count[site]
        self._count[site] += 1
        return [((site, occurrence, i), tensor) for i, tensor in enumerate(tensors(value))]


def tensors(value: object) -> Iterator[torch.Tensor]:
    """Every tensor in nested tuples, lists and dictionaries, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for element in value.values():
            yield from tensors(element)
    elif isinstance(value, (list, tuple)):
        for element in value:
            yield from tensors(element)


def _tap(value: object, handle: int, site: int) -> None:
    if value is not None:
        _running[handle](site, value)


def _mark(handle: int, site: int) -> None:
    _running[handle](site, None)


def _define() -> torch.library.Library:
    library = torch.library.Library(NAMESPACE, "DEF")
    # conservative alias analysis = "has side effects": never removed, never moved
    for kind, name in TAPS.items():
        short = name.partition("::")[2]
        schema = f"{short}({_SCHEMA[kind]} value, int handle, int site) -> ()"
        library.define(schema, alias_analysis="CONSERVATIVE")
        library.impl(short, _tap, "CompositeExplicitAutograd")
    library.define("mark(int handle, int site) -> ()", alias_analysis="CONSERVATIVE")
    library.impl("mark", _mark, "CompositeExplicitAutograd")
    return library


# the operators exist as long as this object does
_library = _define()
