"""What ``entangle ood`` has fitted, kept for ``entangle score``: one .npz file without pickles.

The file holds a JSON header (``header``, UTF-8 bytes) and the arrays that it refers to by number.
Neighbors are looked for among the training activations, which stay where the run stored them.
"""

import json
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entangle_cli.errors import MeasureError, UsageError
from entangle_cli.library.evidence import Penultimate
from entangle_cli.measures.ood.fitting import FittedDetector
from entangle_cli.measures.ood.state import from_state, to_state
from entangle_cli.neighbors.mapped import write_arrays
from entangle_cli.results import replace_whole
from entangle_cli.runs.ood.found import OODFound
from entangle_cli.text import parse_json

FILE_NAME = "fitted.npz"
_VERSION = 1
# what reading a damaged archive, array or header raises
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    SystemError,
    SyntaxError,
    OverflowError,
    MemoryError,
    tokenize.TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    MeasureError,
)


@dataclass(frozen=True)
class FittedRun:
    """Everything that scoring new inputs needs.

    Attributes:
        folder: the run's folder; ``train`` is relative to it.
        model_sha256: the model that the detectors belong to.
        preprocessing: settings of images, None where arrays pass untouched.
        layers: layers that detectors look at.
        reduce: how maps become points.
        penultimate: the last linear layer and where its input is stored.
        train: the training activations, None where there was no training data; ``train_identity``
            is what they must hold.
        search: k and method of the neighbor search.
        detectors: fitted, with thresholds.
        class_names: names of the classes, or None.
    """

    folder: Path
    model_sha256: str
    preprocessing: Mapping[str, Any] | None
    layers: tuple[str, ...]
    reduce: str
    penultimate: Penultimate
    train: str | None
    train_identity: Mapping[str, Any] | None
    search: Mapping[str, Any]
    detectors: tuple[FittedDetector, ...]
    class_names: tuple[str, ...] | None


def write_fitted(found: OODFound, folder: Path, *, reduce: str) -> Path:
    """Keep the detectors of a run in ``folder``; the file appears as a whole."""
    arrays: list[np.ndarray] = []
    preprocessing = found.prepared.resolved.preprocessing
    penultimate = found.penultimate
    header = {
        "version": _VERSION,
        "model_sha256": found.prepared.model.sha256,
        "preprocessing": None if preprocessing is None else preprocessing.to_json(),
        "layers": list(found.layers),
        "reduce": reduce,
        "features": penultimate.layer,
        "head": to_state(penultimate.head, arrays),
        "ends_in": penultimate.ends_in,
        "train": None if found.train is None else _relative(found.train.path, folder),
        "train_identity": None if found.train is None else found.train.identity,
        "search": {key: found.provenance[key] for key in ("k", "method", "seed")},
        "detectors": [to_state(one, arrays) for one in found.fitted if one.detector is not None],
        "class_names": _class_names(found),
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    named = {f"array_{number}": array for number, array in enumerate(arrays)}

    def write(path: Path) -> None:
        with open(path, "wb") as file:
            write_arrays(file, {"header": text, **named})
            file.flush()
            os.fsync(file.fileno())

    return replace_whole(folder / FILE_NAME, write)


def read_fitted(folder: Path) -> FittedRun:
    """What `write_fitted` has kept in a run's folder (or the file itself).

    Raises:
        UsageError: there is no such file, or it is damaged or of another version.
    """
    path = folder / FILE_NAME if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"{folder}: holds no {FILE_NAME}; give the output folder of entangle ood")
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path}: not a whole {FILE_NAME}; run entangle ood again")
    try:
        _check_sums(path)
        with warnings.catch_warnings(), np.load(path, allow_pickle=False) as stored:
            # numpy remarks on odd headers, and reads them
            warnings.simplefilter("ignore")
            header = parse_json(bytes(stored["header"]))
            arrays = [stored[f"array_{number}"] for number in range(len(stored.files) - 1)]
        if header["version"] != _VERSION:
            raise UsageError(
                f"{path}: has version {header['version']}, this program reads {_VERSION}; run "
                "entangle ood again"
            )
        return _run(path.parent, header, arrays)
    except _DAMAGE as error:
        raise UsageError(f"{path}: damaged ({error}); run entangle ood again") from None


def _check_sums(path: Path) -> None:
    """Before numpy parses headers: a flipped byte must not reach its parser."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"{broken} does not have its checksum")


def _run(folder: Path, header: Mapping[str, Any], arrays: list[np.ndarray]) -> FittedRun:
    head = from_state(header["head"], arrays)
    detectors = tuple(from_state(one, arrays) for one in header["detectors"])
    if not all(isinstance(one, FittedDetector) for one in detectors):
        raise TypeError("something else in the place of a detector")
    names = header["class_names"]
    return FittedRun(
        folder=folder,
        model_sha256=header["model_sha256"],
        preprocessing=header["preprocessing"],
        layers=tuple(header["layers"]),
        reduce=header["reduce"],
        penultimate=Penultimate(header["features"], head, header["ends_in"]),
        train=header["train"],
        train_identity=header["train_identity"],
        search=header["search"],
        detectors=detectors,
        class_names=None if names is None else tuple(names),
    )


def _class_names(found: OODFound) -> tuple[str, ...] | None:
    """Names of the network's classes: of the training data, else of the inside set."""
    logits = found.inside.stored.logits
    for one in (found.train, found.inside.dataset):
        names = None if one is None else one.class_names
        if names is not None and logits is not None and len(names) == logits.shape[1]:
            return tuple(names)
    return None


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
