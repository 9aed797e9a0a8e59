"""What a first small batch shows: the shape of a store, and what is odd about the network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entangle_cli.activations.feed import Feed, row_bytes
from entangle_cli.activations.reducing import Reduce, reduce_map
from entangle_cli.activations.schema import FileSpec, StoredLayer
from entangle_cli.activations.self_checks import run_notes, seen, shape_notes
from entangle_cli.errors import ModelError
from entangle_cli.models import Model
from entangle_cli.text import plain

_ROWS = 2


@dataclass(frozen=True)
class Trial:
    """What a first small batch showed.

    ``checks`` are notes for people, ``row_bytes`` what a sample's input and values take together.
    """

    layers: tuple[StoredLayer, ...]
    classes: int | None
    row_bytes: int
    checks: tuple[str, ...] = ()

    def specification(
        self, feed: Feed, size: int, identity: dict[str, Any], provenance: dict[str, Any]
    ) -> FileSpec:
        """The store that these rows go into."""
        dataset = feed.dataset
        return FileSpec(
            rows=feed.rows,
            batch_size=size,
            layers=self.layers,
            classes=self.classes,
            labels=dataset.labels,
            class_names=dataset.class_names,
            ids=dataset.ids,
            identity=identity,
            provenance={**provenance, "checks": list(self.checks)},
        )


def try_out(model: Model, feed: Feed, layers: Sequence[str], reduce: Reduce, dtype: str) -> Trial:
    """Run the first samples.

    Raises:
        ModelError: the network fails, a layer gives nothing, or not one entry per sample.
        DataError: a sample does not fit.
    """
    start, rows = _different_rows(feed), min(_ROWS, feed.rows)
    inputs = feed.batch(start, start + rows)
    alone = feed.batch(start, start + 1) if rows > 1 else None
    known = {layer.name: layer for layer in model.layers(inputs)}
    first = seen(model, inputs, layers)
    missing = [plain(name) for name in layers if name not in first.values]
    if missing:
        raise ModelError(f"{model.path.name}: gave no values for {', '.join(missing)}")
    stored = []
    for name in layers:
        values = first.values[name]
        check_rows(name, values, rows)
        shape = reduce_map(values, reduce).shape[1:]
        kind = known[name].kind if name in known else ""
        stored.append(StoredLayer(name, shape, values.shape[1:], dtype, reduce, kind))
    tapped = sum(values.nbytes for values in first.values.values())
    scores = first.scores
    return Trial(
        layers=tuple(stored),
        classes=scores.shape[1] if scores is not None and len(scores) == rows else None,
        row_bytes=row_bytes(inputs, rows) + math.ceil(tapped / rows),
        checks=(*shape_notes(model, first), *run_notes(model, inputs, first, alone)),
    )


def check_rows(name: str, values: np.ndarray, rows: int) -> None:
    """Refuse values whose first axis is not the samples.

    Raises:
        ModelError: it is not.
    """
    if values.shape[:1] != (rows,):
        raise ModelError(
            f"layer {plain(name)}: gives {values.shape} for {rows} samples, its first axis is "
            "not the samples; leave it out with --exclude-layers"
        )


def _different_rows(feed: Feed) -> int:
    """Where two samples in a row differ: equal ones would not show that they are mixed."""
    places = (0, feed.rows // 2, feed.rows - _ROWS)
    for start in dict.fromkeys(place for place in places if 0 <= place <= feed.rows - _ROWS):
        one, other = (_arrays(feed.batch(row, row + 1)) for row in (start, start + 1))
        if any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True)):
            return start
    return 0


def _arrays(inputs: list) -> list[np.ndarray]:
    groups = (list(x.values()) if isinstance(x, dict) else [x] for x in inputs)
    return [array for group in groups for array in group]
