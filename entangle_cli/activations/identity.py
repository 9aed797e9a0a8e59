"""What determines activations, and what a person wants to know about where they come from."""

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from entangle_cli import __version__
from entangle_cli.activations.feed import Feed
from entangle_cli.activations.reducing import Reduce
from entangle_cli.activations.schema import FORMAT_VERSION
from entangle_cli.models import Model

_ENGINES = {"onnx": "onnxruntime", "torchscript": "torch"}


def content_identity(
    model: Model, feed: Feed, layers: Sequence[str], *, reduce: Reduce, dtype: str
) -> dict[str, Any]:
    """Everything that determines the stored numbers, but the batch size.

    Two dumps with equal identities hold the same numbers: the model's and the data's checksums,
    the preprocessing, the layers and how they are stored, the device type and the release of the
    library that computed them.
    """
    preprocessing = feed.preprocessing
    return {
        "format_version": FORMAT_VERSION,
        "model_sha256": model.sha256,
        "model_format": model.format,
        "data_fingerprint": feed.dataset.fingerprint,
        "rows": feed.rows,
        "preprocessing": None if preprocessing is None else preprocessing.to_json(),
        "layers": list(layers),
        "reduce": reduce,
        "dtype": dtype,
        "device": model.device.partition(":")[0],
        "engine": _engine(model.format),
    }


def provenance(model: Model, feed: Feed) -> dict[str, Any]:
    """Names and versions; nothing that changes from run to run, and no path."""
    preprocessing = feed.preprocessing
    packages = (_ENGINES.get(model.format), "numpy", "h5py")
    return {
        "program": f"entangle {__version__}",
        "model": model.path.name,
        "data": feed.dataset.name,
        "preprocessing": None if preprocessing is None else preprocessing.describe(),
        "versions": {name: metadata.version(name) for name in packages if name},
    }


def _engine(model_format: str) -> str:
    name = _ENGINES.get(model_format)
    if name is None:
        return model_format
    return f"{name} {'.'.join(metadata.version(name).split('.')[:2])}"
