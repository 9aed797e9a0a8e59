"""Where numbers come from: versions, models, data, and the accuracy as a sanity check."""

import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from entangle_cli.results import Row
from entangle_cli.runs.shared.console import Terminal
from entangle_cli.runs.shared.preparing import Prepared

if TYPE_CHECKING:
    from entangle_cli.activations.file import ActivationFile
    from entangle_cli.datasets.dataset import Dataset

_PACKAGES = ("torch", "onnxruntime", "numpy", "h5py")


def provenance(**more: Any) -> Row:
    """Versions of what computed the numbers, and whatever else the command adds."""
    versions = {package: metadata.version(package) for package in _PACKAGES}
    return {"python": platform.python_version(), "versions": versions, **more}


def described(dataset: "Dataset") -> Row:
    """A data set as provenance."""
    return {
        "name": dataset.name,
        "reference": str(dataset.reference),
        "samples": len(dataset),
        "fingerprint": dataset.fingerprint,
    }


def sanity(stored: "ActivationFile", prepared: Prepared, terminal: Terminal) -> float | None:
    """Say the preprocessing and the model's accuracy on the labeled data; return the latter.

    An accuracy below twice chance usually means wrong preprocessing, and is warned about.
    """
    from entangle_cli.activations.logits import accuracy

    name = prepared.model.path.name
    how = how_fed(prepared)
    found, reason = accuracy(stored)
    if found is None:
        terminal.note(f"{name}: {how}; accuracy unknown: {reason}")
        return None
    terminal.note(f"{name}: {how}; accuracy {100 * found:.2f} % on {stored.rows} samples")
    classes = stored.logits.shape[1]
    if found < 2 / classes:
        terminal.warn(
            f"{name}: accuracy {100 * found:.2f} % is below twice chance ({classes} classes); an "
            "untrained network, or the wrong preprocessing or data (--preprocess)"
        )
    return found


def how_fed(prepared: Prepared) -> str:
    """The preprocessing and where it comes from."""
    resolved = prepared.resolved
    if resolved.preprocessing is None:
        return resolved.source
    return f"{resolved.preprocessing.describe()} ({resolved.source})"


def model_row(prepared: Prepared, accuracy: float | None, step: int | None) -> Row:
    """One entry of the result's ``models``."""
    return {
        "model": prepared.model.path.name,
        "sha256": prepared.model.sha256,
        "format": prepared.model.format,
        "step": step,
        "accuracy": accuracy,
        "preprocessing": how_fed(prepared),
    }
