"""Hidden layers of any network, read while it runs.

A layer is written ``NAME``, the output of the module of that name, or ``NAME>relu``, that output
after the activation (for networks that apply it as a function). Globs take all that they match. The
logits, and whatever is the very same tensor as another layer, are left out of what a glob finds. A
module that runs several times in one pass gives ``NAME``, ``NAME#2`` and so on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entangle_cli.errors import MeasureError
from entangle_cli.text import plain, suggestion

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
_MODULES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU)
_MODULES += (nn.Tanh, nn.Sigmoid, nn.Mish, nn.Hardswish, nn.Softplus)


@dataclass(frozen=True)
class Tap:
    """One layer: the module to listen to, and the activation to apply to what it says."""

    name: str
    module: str
    activation: str | None = None


def find_taps(network: nn.Module, patterns: Sequence[str], example: Tensor) -> tuple[Tap, ...]:
    """The layers that ``patterns`` name, found out by running ``network`` on ``example``.

    Without patterns: those in the network's own ``hidden_layers``, else the outputs of its
    activation modules.

    Raises:
        MeasureError: a pattern that nothing answers to, or that names the logits.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    chosen = list(patterns) or list(getattr(network, "hidden_layers", ()))
    if not chosen:
        chosen = [name for name, module in modules.items() if isinstance(module, _MODULES)]
    if not chosen:
        raise MeasureError(
            "the network has no activation modules to take hidden layers from; name layers, such "
            f"as {_examples(modules)}"
        )
    matched = {pattern: _matches(pattern, modules) for pattern in chosen}
    every = dict.fromkeys(name for names in matched.values() for name in names)
    with torch.no_grad():
        logits, outputs = _run(network, list(every), example)
    found: dict[tuple[int, str | None], Tap] = {}
    for pattern, names in matched.items():
        wanted, activation = _split(pattern)
        for name in names:
            reason = _unusable(outputs.get(name), logits, len(example))
            if reason and name == wanted:
                raise MeasureError(f"layer {plain(pattern)}: {reason}; name a hidden layer")
            for tap, value in _taps_of(name, activation, [] if reason else outputs[name]):
                found.setdefault((id(value), activation), tap)
    if not found:
        raise MeasureError(
            f"no hidden layer matches {', '.join(map(plain, chosen))}; there are "
            f"{_examples(modules)}"
        )
    return tuple(dict.fromkeys(found.values()))


def run_tapped(
    network: nn.Module, taps: Sequence[Tap], inputs: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The network's output on ``inputs``, and by name the layers ``(n, ...)`` of that pass.

    Raises:
        MeasureError: a layer that was there when it was chosen did not run.
    """
    output, outputs = _run(network, list(dict.fromkeys(tap.module for tap in taps)), inputs)
    layers = {}
    for tap in taps:
        for number, value in enumerate(outputs.get(tap.module, ()), 1):
            if _shown(tap.module, tap.activation, number) == tap.name:
                layers[tap.name] = ACTIVATIONS[tap.activation](value) if tap.activation else value
        if tap.name not in layers:
            raise MeasureError(f"layer {plain(tap.name)}: did not run this time; name others")
    return output, layers


def _run(
    network: nn.Module, names: Sequence[str], inputs: Tensor
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    outputs: dict[str, list[Tensor]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: object, output: Tensor) -> None:
            outputs.setdefault(name, []).append(output)

        return hook

    handles = [network.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    try:
        return network(inputs), outputs
    finally:
        for handle in handles:
            handle.remove()


def _taps_of(
    name: str, activation: str | None, values: Sequence[Tensor]
) -> list[tuple[Tap, Tensor]]:
    return [
        (Tap(_shown(name, activation, number), name, activation), value)
        for number, value in enumerate(values, 1)
    ]


def _split(pattern: str) -> tuple[str, str | None]:
    name, found, activation = pattern.rpartition(">")
    if not found:
        return pattern, None
    if activation not in ACTIVATIONS:
        raise MeasureError(
            f"layer {plain(pattern)}: unknown activation{suggestion(activation, ACTIVATIONS)}; "
            f"after '>' give {', '.join(ACTIVATIONS)}"
        )
    return name, activation


def _matches(pattern: str, modules: dict[str, nn.Module]) -> list[str]:
    wanted, _ = _split(pattern)
    if wanted in modules:
        return [wanted]
    found = [name for name in modules if fnmatchcase(name, wanted)]
    if not found:
        raise MeasureError(
            f"no layer matches {plain(pattern)}{suggestion(wanted, modules)}; "
            f"there are {_examples(modules)}"
        )
    return found


def _unusable(values: list[Tensor] | None, logits: Tensor, rows: int) -> str | None:
    if values is None:
        return "does not run"
    for value in values:
        if value is logits:
            return "is the logit layer, which the loss leaves out"
        if not isinstance(value, Tensor) or value.shape[:1] != (rows,):
            return "gives no tensor with a row per sample"
    return None


def _shown(module: str, activation: str | None, number: int) -> str:
    name = module + (f">{activation}" if activation else "")
    return name if number == 1 else f"{name}#{number}"


def _examples(modules: dict[str, nn.Module]) -> str:
    leaves = [name for name, module in modules.items() if not list(module.children())]
    return ", ".join(map(plain, leaves[:8])) + ", ..." * (len(leaves) > 8)
