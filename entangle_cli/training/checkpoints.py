"""A trained network saved as ONNX and as TorchScript, with its preprocessing inside."""

import io
import json
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from entangle_cli.training.state import replace_file

# the key under which both formats carry the preprocessing
EMBEDDED_KEY = "entangle.json"


def export(
    network: nn.Module, example: Tensor, stem: Path, preprocessing: Mapping[str, Any]
) -> list[Path]:
    """Write ``stem.onnx`` (any batch size) and ``stem.pt`` (traced), in evaluation mode."""
    was_training = network.training
    network.eval()
    text = json.dumps(dict(preprocessing), sort_keys=True)
    stem.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # both exporters announce the end of TorchScript on every call
        warnings.simplefilter("ignore")
        files = [
            _export_onnx(network, example, stem.with_name(stem.name + ".onnx"), text),
            _export_torchscript(network, example, stem.with_name(stem.name + ".pt"), text),
        ]
    network.train(was_training)
    return files


def _export_onnx(network: nn.Module, example: Tensor, path: Path, text: str) -> Path:
    buffer = io.BytesIO()
    with redirect_stdout(io.StringIO()):
        torch.onnx.export(
            network,
            (example,),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.metadata_props.add(key=EMBEDDED_KEY, value=text)
    replace_file(path, model.SerializeToString(deterministic=True))
    return path


def _export_torchscript(network: nn.Module, example: Tensor, path: Path, text: str) -> Path:
    traced = torch.jit.trace(network, example)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer, _extra_files={EMBEDDED_KEY: text})
    replace_file(path, buffer.getvalue())
    return path
