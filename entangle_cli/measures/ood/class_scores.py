"""What a network's class output holds: logits, probabilities, or their logarithms."""

import numpy as np

# softmax in half precision is this far from summing to one
_TOLERANCE = 2e-3


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether every row ``(n, C)`` lies in [0, 1] and sums to 1."""
    outputs = np.asarray(outputs, dtype=np.float64)
    if not len(outputs) or not ((outputs >= 0) & (outputs <= 1 + _TOLERANCE)).all():
        return False
    return bool((np.abs(outputs.sum(axis=1) - 1) <= _TOLERANCE).all())


def are_log_probabilities(outputs: np.ndarray) -> bool:
    """Whether the exponentials of every row ``(n, C)`` are probabilities."""
    outputs = np.asarray(outputs, dtype=np.float64)
    return bool((outputs <= _TOLERANCE).all()) and are_probabilities(np.exp(outputs))


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities ``(n, C)`` float64; that of 0 is minus infinity."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probabilities, dtype=np.float64))
