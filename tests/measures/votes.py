"""Random labels of neighbors, awkward on purpose, for tests against loops."""

import itertools
from dataclasses import dataclass

import numpy as np

from entangle_cli.measures.dknn import neighbor_labels


@dataclass
class Case:
    """One calibration set and one test set; neighbor labels are ``{layer: (n, k)}``."""

    classes: int
    k: int
    calibration: dict[str, np.ndarray]
    labels: np.ndarray  # of the calibration points, -1 where unknown
    test: dict[str, np.ndarray]
    model: np.ndarray
    zeros: str
    kind: str
    per_class: bool
    seed: int


POLICIES = list(
    itertools.product(["keep", "trim"], ["paper", "conformal", "smoothed"], [False, True])
)


def random_case(seed: int) -> Case:
    """Few neighbors and classes, so that scores tie; each policy in turn."""
    rng = np.random.default_rng(seed)
    classes, k = int(rng.integers(1, 6)), int(rng.integers(1, 9))
    names = [f"layer{i}" for i in range(rng.integers(1, 4))]
    purity, points = rng.choice([0.0, 0.5, 0.9, 1.0]), int(rng.integers(1, 25))
    # only some of the classes are calibrated, and some points carry no label
    calibrated = rng.choice(classes, size=rng.integers(1, classes + 1), replace=False)
    labels = rng.choice(calibrated, size=points)
    known = labels.copy()
    known[1:][rng.random(points - 1) < 0.1] = -1
    targets = rng.integers(0, classes, 6)
    test_purity = rng.choice([0.0, 0.3, 0.9, 1.0])
    calibration = {name: votes(rng, labels, (k, classes), purity) for name in names}
    test = {name: votes(rng, targets, (k, classes), test_purity) for name in names}
    if points > 3:  # duplicates
        for rows in calibration.values():
            rows[1] = rows[0]
        known[1] = known[0]
    zeros, kind, per_class = POLICIES[seed % len(POLICIES)]
    model = rng.integers(-1, classes + 1, 6)
    return Case(classes, k, calibration, known, test, model, zeros, kind, per_class, seed)


def votes(
    rng: np.random.Generator, targets: np.ndarray, shape: tuple[int, int], purity: float
) -> np.ndarray:
    """Labels of k neighbors per target: its own come first at the rate ``purity``, some miss.

    The training set behind them is small, so that k exceeds a class, or has plenty of each.
    """
    k, classes = shape
    train = rng.integers(0, classes, k + 2)
    if rng.random() < 0.7:
        train = np.concatenate([train, np.repeat(np.arange(classes), k)])
    distances = rng.random((len(targets), len(train)))
    near = (train == targets[:, None]) & (rng.random(distances.shape) < purity)
    indices = np.argsort(distances - near, axis=1)[:, :k]
    missing = rng.random(indices.shape) < (0.05 if purity < 1 else 0.0)
    return neighbor_labels(np.where(missing, -1, indices), train)
