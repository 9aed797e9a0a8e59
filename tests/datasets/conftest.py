"""One tiny labelled image set."""

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class TinySet:
    """Six 32x32 color images of three classes, and a grey version for formats without color."""

    color: np.ndarray
    grey: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def tiny() -> TinySet:
    generator = np.random.default_rng(7)
    color = generator.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    return TinySet(color, color[..., :1].copy(), np.array([0, 0, 1, 1, 2, 2]))
