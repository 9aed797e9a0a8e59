"""Random penultimate features with a last linear layer, for tests against loops."""

import numpy as np

from entangle_cli.measures.ood.evidence import Evidence, Head, Known


def random_known(
    seed: int,
    *,
    classes: int = 4,
    width: int = 12,
    count: int = 40,
    relu: bool = True,
    kind: str = "float64",
) -> Known:
    """Training and calibration data, labels mostly those that the layer predicts."""
    rng = np.random.default_rng(seed)
    # small numbers that every type of float holds exactly
    head = Head(grid(rng, classes, width), grid(rng, 1, classes)[0] + 1)
    return Known(
        training=evidence(rng, head, count, relu=relu, kind=kind),
        calibration=evidence(rng, head, count // 2, relu=relu, kind=kind),
        head=head,
        seed=seed,
    )


def evidence(
    rng: np.random.Generator, head: Head, count: int, *, relu: bool = True, kind: str = "float64"
) -> Evidence:
    """Features of which some are 0 throughout, equal, or tied, and their class scores."""
    features = grid(rng, count, head.weight.shape[1]) * 2
    features = np.maximum(features, 0) if relu else features
    features[:1] = 0.0
    features[2:3] = features[1:2]
    features[3:4, : features.shape[1] // 2] = 1.0
    logits = head.logits(features)
    labels = np.where(rng.random(count) < 0.8, logits.argmax(axis=1), 0)
    labels[-1:] = -1
    return of_features(features.astype(kind), logits=logits, labels=labels)


def of_features(features: np.ndarray, **rest: object) -> Evidence:
    """Evidence with nothing but features, and what is given."""
    return Evidence(rows=len(features), features=features, **rest)


def grid(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Normal numbers rounded to 1/64."""
    return np.round(rng.normal(size=shape) * 64) / 64
