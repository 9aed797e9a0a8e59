"""Random evidence that every detector of the catalogue can be fitted on."""

import numpy as np

from entangle_cli.measures.ood.evidence import Evidence, Head, Known
from entangle_cli.neighbors.exact import ExactIndex

LAYERS = ("conv", "fc")
CLASSES, WIDTH, COUNT, K = 3, 8, 90, 7


def whole_known(seed: int = 0) -> tuple[Known, Evidence]:
    """What detectors are fitted on, and new inputs of which the last half are far away."""
    rng = np.random.default_rng(seed)
    head = Head(rng.normal(size=(CLASSES, WIDTH)), rng.normal(size=CLASSES))
    middles = rng.normal(size=(CLASSES, WIDTH)) * 3
    basis = {layer: rng.normal(size=(WIDTH, 10)) for layer in LAYERS}

    def drawn(count: int, spread: float = 1.0) -> dict:
        labels = rng.integers(0, CLASSES, count)
        noise = rng.normal(size=(count, WIDTH)) * spread
        features = np.maximum(middles[labels] + noise, 0)
        points = {layer: features @ basis[layer] for layer in LAYERS}
        return {
            "rows": count,
            "logits": head.logits(features),
            "features": features,
            "points": points,
            "channels": {layer: p[:, ::2] for layer, p in points.items()},
            "labels": labels,
        }

    training = drawn(COUNT)

    def near(parts: dict, *, exclude: bool = False) -> Evidence:
        found = {
            metric: {
                layer: ExactIndex(training["points"][layer], metric=metric).query(
                    parts["points"][layer], k=K, exclude=np.arange(COUNT) if exclude else None
                )
                for layer in LAYERS
            }
            for metric in ("cosine", "euclidean")
        }
        return Evidence(**parts, neighbors=found)

    inside, outside = drawn(20), drawn(20, spread=9.0)
    joined = {key: _joined(inside[key], outside[key]) for key in inside}
    return Known(near(training, exclude=True), near(drawn(60)), head, seed), near(joined)


def _joined(one, other):
    if isinstance(one, dict):
        return {key: np.concatenate([one[key], other[key]]) for key in one}
    return one + other if isinstance(one, int) else np.concatenate([one, other])
