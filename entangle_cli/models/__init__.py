"""A saved network becomes named layers.

`open_model` tells the format by the file's content and returns a `Model`. Imports of torch and
onnxruntime happen inside the implementations, when a file needs them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.models.head import LinearHead

    # receives each tapped value as (layer name, array (n, ...)); the array may be reused by the
    # model after the call returns, so a sink copies what it keeps
    Sink = Callable[[str, np.ndarray], None]


@dataclass(frozen=True)
class TensorSpec:
    """A model's declared input or output.

    ``shape`` has one entry per axis: a number, or None where any length is accepted; it is None
    when the file does not even declare the rank. ``declared`` is False for a shape that was
    inferred from the first weights (TorchScript files do not store input shapes).
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    declared: bool = True


@dataclass(frozen=True)
class Layer:
    """One tappable value of a network.

    ``name`` is the same for every file format (`docs/concepts.md`); ``aliases`` are the names
    the file itself uses. ``shape`` is per sample, without the batch axis, None if unknown.
    """

    name: str
    kind: str
    default: bool
    shape: tuple[int | None, ...] | None = None
    aliases: tuple[str, ...] = field(default=())


class Model(Protocol):
    """A saved network that names its layers and returns their outputs."""

    path: Path
    format: Literal["onnx", "torchscript"]
    # where it runs: cpu, cuda or cuda:1
    device: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    # texts that the file carries by name, such as how to prepare its input
    metadata: "Mapping[str, str]"
    notes: list[str]

    def layers(self, example: "Sequence[np.ndarray] | None" = None) -> tuple[Layer, ...]:
        """Every tappable layer in execution order; ``example`` is a small batch of inputs."""

    def run(
        self, inputs: "Sequence[np.ndarray]", layers: Sequence[str], sink: "Sink"
    ) -> "list[np.ndarray]":
        """Run one batch: every value of ``layers`` goes to ``sink``, the outputs are returned."""

    def head(self, example: "Sequence[np.ndarray]") -> "LinearHead | None":
        """The last linear layer before the class output, None where there is none."""

    def head_or_reason(self, example: "Sequence[np.ndarray]") -> "tuple[LinearHead | None, str]":
        """The last linear layer and an empty reason, or None and why there is none."""
