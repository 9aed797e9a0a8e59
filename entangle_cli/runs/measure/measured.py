"""Layers that have been measured, kept beside the activations for the next run.

A row is found again by everything that determines it: the activations and labels, the layer, the
protocol and the releases of the program and the libraries that computed it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entangle_cli import __version__
from entangle_cli.measures.protocol import Protocol
from entangle_cli.text import parse_json

if TYPE_CHECKING:
    import numpy as np

    from entangle_cli.measures.class_pairs import ClassPair
    from entangle_cli.measures.temperature import Entanglement


class MeasuredLayers:
    """Measured layers below one folder, of points with ``labels`` under one protocol.

    A file that is damaged counts as absent. ``fresh``: nothing is read, everything is kept.
    """

    def __init__(
        self, folder: Path, protocol: Protocol, labels: "np.ndarray", *, device: str, fresh: bool
    ) -> None:
        from importlib import metadata

        self._folder, self._fresh = folder, fresh
        self._common = {
            "program": __version__,
            "torch": metadata.version("torch"),
            "device": device.partition(":")[0],
            "protocol": dict(protocol.to_json()),
            "labels": hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
        }

    def read(self, points: Mapping[str, Any], layer: str) -> "Entanglement | None":
        """What was measured of a layer of these points, None where it was not."""
        from entangle_cli.measures.temperature import Entanglement

        if self._fresh:
            return None
        try:
            kept = parse_json(self._path(points, layer).read_text(encoding="utf-8"))
            values = {field.name: kept[field.name] for field in fields(Entanglement)}
            return Entanglement(**values | {"notes": tuple(values["notes"])})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write(self, points: Mapping[str, Any], layer: str, found: "Entanglement") -> None:
        """Keep what was measured.

        A part of the file is no JSON, so one that was cut short is not believed.
        """
        self._write(self._path(points, layer), asdict(found))

    def read_pairs(self, points: Mapping[str, Any], layer: str) -> "tuple[ClassPair, ...] | None":
        """The pairs of classes of a layer of these points, None where they were not measured."""
        from entangle_cli.measures.class_pairs import ClassPair

        if self._fresh:
            return None
        try:
            kept = parse_json(self._pairs_path(points, layer).read_text(encoding="utf-8"))
            return tuple(ClassPair(**pair) for pair in kept["pairs"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write_pairs(
        self, points: Mapping[str, Any], layer: str, found: "tuple[ClassPair, ...]"
    ) -> None:
        """Keep the pairs of classes, as `write` keeps the layer."""
        content = {"pairs": [asdict(pair) for pair in found]}
        self._write(self._pairs_path(points, layer), content)

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _pairs_path(self, points: Mapping[str, Any], layer: str) -> Path:
        from entangle_cli.measures.class_pairs import MOST_CLASSES

        return self._path(points, layer, pairs_of=MOST_CLASSES)

    def _path(self, points: Mapping[str, Any], layer: str, **more: Any) -> Path:
        identity = self._common | {"points": points, "layer": layer} | more
        text = json.dumps(identity, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"
