"""What the confined child does with a model: open it, and answer for it until nobody asks."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entangle_cli.models.sandbox.channel import Channel
from entangle_cli.models.sandbox.confinement import FAILURES, first_line

if TYPE_CHECKING:
    from entangle_cli.models import Layer, Model


def serve_model(channel: Channel, path: str, is_onnx: bool, trust: bool) -> None:
    """Open the model at ``path``, describe it, and answer the calls of `ConfinedModel`."""
    import_module(f"entangle_cli.models.{'onnx' if is_onnx else 'torchscript'}.model")
    channel.send("ready")
    from entangle_cli.models.opening import open_model

    held: list[Model] = []

    def opened() -> dict[str, Any]:
        held.append(open_model(Path(path), trust=trust))
        return _described(held[0])

    if not _answer(channel, opened):
        return
    (model,) = held
    calls: dict[str, Callable[..., dict[str, Any]]] = {
        "layers": lambda example: _layers(model, example),
        "run": lambda inputs, layers: _run(channel, model, inputs, layers),
        "head": lambda example: _head(model, example),
    }
    while True:
        call = channel.receive()
        answer = calls[call.pop("call")]
        _answer(channel, lambda: answer(**call) | {"notes": list(model.notes)})  # noqa: B023


def _answer(channel: Channel, work: Callable[[], dict[str, Any]]) -> bool:
    """Send what ``work`` returns, or how it failed; returns whether it did not."""
    try:
        answer = work()
    except MemoryError as error:
        channel.send({"failed": "memory", "why": first_line(error)})
    except FAILURES as error:
        channel.send({"failed": "model", "why": first_line(error)})
    else:
        channel.send(answer)
        return True
    return False


def _described(model: "Model") -> dict[str, Any]:
    return {
        "format": model.format,
        "sha256": model.sha256,
        "inputs": [[s.name, s.dtype, s.shape, s.declared] for s in model.inputs],
        "metadata": dict(model.metadata),
        "declared": dict(getattr(model, "declared", {})),
        "notes": list(model.notes),
    }


def _layers(model: "Model", example: Sequence[np.ndarray] | None) -> dict[str, Any]:
    def row(layer: "Layer") -> list[Any]:
        return [layer.name, layer.kind, layer.default, layer.shape, layer.aliases]

    return {"layers": [row(layer) for layer in model.layers(example)]}


def _run(
    channel: Channel, model: "Model", inputs: Sequence[np.ndarray], layers: Sequence[str]
) -> dict[str, Any]:
    def sink(name: str, values: np.ndarray) -> None:
        channel.send({"layer": name, "values": values})

    return {"outputs": list(model.run(inputs, layers, sink))}


def _head(model: "Model", example: Sequence[np.ndarray]) -> dict[str, Any]:
    head, reason = model.head_or_reason(example)
    found = None if head is None else vars(head)
    return {"head": found, "reason": reason}
