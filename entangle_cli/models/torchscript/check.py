"""Whether this version of torch still has the graph interface that the taps are built on."""

from functools import cache

import torch

from entangle_cli.errors import ModelError
from entangle_cli.models.torchscript.graph import TapGraph


@cache
def check_graph_interface() -> None:
    """Tap a tiny network once: raises ModelError where torch's graphs no longer work this way."""
    try:
        works = _tiny_network_agrees()
    except (AttributeError, TypeError, RuntimeError, IndexError):
        works = False
    if not works:
        raise ModelError(
            f"torch {torch.__version__} has another graph interface for TorchScript than "
            "this was written for (2.13); install that version, or convert the model to ONNX"
        )


def _tiny_network_agrees() -> bool:
    class Inner(torch.jit.ScriptModule):
        pass

    class Outer(torch.jit.ScriptModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()
            self.inner.define("def forward(self, x, scale: int = 3):\n  return x * scale\n")
            self.define("def forward(self, x):\n  return self.inner(x) + 1\n")

    module, x, seen = Outer(), torch.ones(2), []
    graph = TapGraph(module)
    tapped = graph.tapped(frozenset(range(len(graph.sites))))
    output = tapped(module, [x], lambda site, value: seen.append((graph.sites[site].role, value)))
    roles = [role for role, _ in seen]
    values = [value for _, value in seen if value is not None]
    return (
        torch.equal(output, x * 3 + 1)
        and roles == ["enter", "op", "result", "leave", "op"]
        and all(map(torch.equal, values, [x * 3, x * 3, output]))
    )
