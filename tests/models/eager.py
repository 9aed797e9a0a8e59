"""The slow, obvious reference: an eager run in which everything is cloned as it appears.

Forward hooks clone every output of every call of every module; a function mode clones the result
of every functional call. In-place operations can therefore not reach back into what was noted.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# names of the kinds of functional results -> names of the Python functions that make them
FUNCTIONS = {
    "relu": {"relu", "relu_"},
    "gelu": {"gelu"},
    "tanh": {"tanh"},
    "silu": {"silu"},
    "maxpool": {"max_pool2d", "boolean_dispatch", "adaptive_max_pool2d", "amax"},
    "avgpool": {"adaptive_avg_pool2d"},
    "gap": {"adaptive_avg_pool2d", "mean"},
    "add": {"add", "__add__", "__iadd__", "__radd__"},
    "concat": {"cat"},
}
ROW = re.compile(r"(?P<path>[^>:]+)(:(?P<call>\d+))?(>(?P<kind>\w+))?")
# the product with a matrix that no module owns is known by its function
UNOWNED = {"linear#1": ("function", "matmul")}


def tensors(value: object) -> Iterator[Tensor]:
    """The tensors inside nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


@dataclass
class Recording:
    """What happened: ``calls`` by module path, and all events in order.

    An event is ("enter", path, None), ("exit", path, None) or ("function", name, value).
    """

    calls: dict[str, list[list[Tensor]]] = field(default_factory=lambda: defaultdict(list))
    events: list[tuple[str, str, Tensor | None]] = field(default_factory=list)
    weighted: set[str] = field(default_factory=set)
    outputs: list[Tensor] = field(default_factory=list)

    def value(self, row: str) -> np.ndarray:
        """The value that a layer name stands for: ``path``, ``path:2`` or ``path:2>kind``."""
        found = ROW.fullmatch(row)
        path, call, kind = found["path"], int(found["call"] or 0), found["kind"]
        if kind is None:
            return self.calls[path][call][0].numpy()
        return self._last_function(path, call, FUNCTIONS[kind]).numpy()

    def _last_function(self, path: str, call: int, functions: set[str]) -> Tensor:
        """The last call of ``functions`` between a module call and the next module with weights."""
        anchor = UNOWNED.get(path, ("exit", path))
        exits = [i for i, event in enumerate(self.events) if event[:2] == anchor]
        result = None
        for what, name, value in self.events[exits[call] + 1 :]:
            if what == "enter" and name in self.weighted:
                break
            if what == "function" and name in functions:
                result = value
        assert result is not None, f"no {functions} after {path}:{call}"
        return result

    def everything(self) -> list[np.ndarray]:
        """All values that any module or function returned."""
        modules = [t for calls in self.calls.values() for call in calls for t in call]
        return [t.numpy() for t in modules + [e[2] for e in self.events if e[2] is not None]]


class _Functions(TorchFunctionMode):
    def __init__(self, recording: Recording):
        super().__init__()
        self.recording = recording

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        for value in tensors(result):
            self.recording.events.append(("function", name, value.clone()))
        return result


def _hook(path: str, module: nn.Module, recording: Recording) -> list:
    def enter(module, args):
        recording.events.append(("enter", path, None))

    def leave(module, args, output):
        # cloning is itself a function call, which is not part of the network
        with torch._C.DisableTorchFunction():
            recording.calls[path].append([t.clone() for t in tensors(output)])
        recording.events.append(("exit", path, None))

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


def record(
    network: nn.Module, inputs: tuple[Tensor, ...], apart: Collection[str] = ()
) -> Recording:
    """Run the network once and note everything; ``apart`` are modules that see no data."""
    recording, handles = Recording(), []
    for path, module in network.named_modules():
        if path:
            handles += _hook(path, module, recording)
            if any(p.ndim >= 2 for p in module.parameters(recurse=False)) and path not in apart:
                recording.weighted.add(path)
    with torch.inference_mode(), _Functions(recording):
        outputs = network(*inputs)
    for handle in handles:
        handle.remove()
    recording.outputs = [t.clone() for t in tensors(outputs)]
    return recording
