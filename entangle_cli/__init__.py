"""entangle: how entangled the classes are in the layers of a saved model.

    model + data -> activations -> neighbors / distances -> measures -> report
    model.onnx      acts.h5        (per layer)              results.json

Importing this package costs nothing; the names below are loaded on first use.
"""

import os
from importlib import import_module

__version__ = "0.1.0"

# HDF5 would load code from wherever HDF5_PLUGIN_PATH points when a file asks for an unknown filter;
# read when h5py is imported
os.environ["HDF5_PLUGIN_PRELOAD"] = "::"

_PUBLIC = {
    "open_model": "entangle_cli.models.opening",
    "open_dataset": "entangle_cli.datasets",
    "Feed": "entangle_cli.activations.feed",
    "Preprocessing": "entangle_cli.datasets.preprocessing",
    "ActivationFile": "entangle_cli.activations.file",
    "dump": "entangle_cli.activations.dump",
    "soft_nearest_neighbor_loss": "entangle_cli.measures.snnl",
    "entanglement": "entangle_cli.measures.temperature",
    "DeepNeighbors": "entangle_cli.library.deep_neighbors",
    "Detectors": "entangle_cli.library.detectors",
    "Result": "entangle_cli.results",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'entangle_cli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
