"""A saved network as a function that torch can differentiate; ONNX files have no gradients."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from entangle_cli.errors import ModelError
from entangle_cli.models.formats import file_kind
from entangle_cli.models.safety import refusal
from entangle_cli.models.torchscript.network import Network


def open_differentiable(
    path: str | Path, *, device: str = "cpu", trust: bool = False
) -> Callable[[Tensor], Tensor]:
    """Class scores ``(n, C)`` of inputs ``(n, ...)`` as a differentiable function.

    Raises:
        ModelError: an ONNX file, or one that cannot be loaded.
    """
    path = Path(path)
    if path.is_file() and file_kind(path) == "onnx":
        raise ModelError(
            f"{path}: ONNX models give no gradients; attack a TorchScript copy, or transfer inputs "
            "from another network with --source MODEL.pt"
        )
    if (reason := refusal(path, trust=trust)) is not None:
        raise ModelError(f"{path}: {reason}")
    module = Network(path, device).instance()
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def scores(inputs: Tensor) -> Tensor:
        # batches of a few sizes only: without profiling no kernel is compiled for each of them
        with torch.jit.optimized_execution(False):
            return _class_scores(module(inputs), path)

    return scores


def _class_scores(answer: object, path: Path) -> Tensor:
    """The first output of floats that is ``(n, C)`` once trailing axes of length 1 are dropped."""
    for output in answer if isinstance(answer, Sequence) else [answer]:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            continue
        while output.ndim > 2 and output.shape[-1] == 1:
            output = output[..., 0]
        if output.ndim == 2 and output.shape[1] >= 2:
            return output
    raise ModelError(f"{path}: has no class scores (n, C) to attack")
