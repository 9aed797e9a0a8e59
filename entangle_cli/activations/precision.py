"""Numbers as they are stored, without a loss that nobody hears of."""

import numpy as np

from entangle_cli.errors import StoreError
from entangle_cli.text import plain


def as_stored(name: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """``values`` in the stored type, little-endian.

    NaN and infinities of the network are kept. Rounding to the stored type is accepted; a finite
    number that would become infinite, or an integer that would change, is not.

    Raises:
        StoreError: a value does not fit ``dtype``, or values are not real numbers.
    """
    if values.dtype.kind not in "fbiu":
        raise StoreError(
            f"layer {plain(name)}: gives {values.dtype}, not real numbers; leave it out"
        )
    wanted = np.dtype(dtype).newbyteorder("<")
    if values.dtype == wanted:
        return values
    with np.errstate(over="ignore"):
        stored = values.astype(wanted)
    lost = None
    if values.dtype.kind in "iu":
        lost = stored != values.astype(np.float64)
    elif count_nonfinite(stored):
        lost = np.isfinite(values) & ~np.isfinite(stored)
    if lost is not None and lost.any():
        raise StoreError(
            f"layer {plain(name)}: {values[lost].flat[0]} does not fit {dtype}; give --dtype "
            f"{'float64' if dtype == 'float32' else 'float32'}"
        )
    return stored


def count_nonfinite(values: np.ndarray) -> int:
    """How many of some floats are NaN or infinite."""
    # one of them makes the sum such a number; a sum that overflows is counted needlessly
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return 0
    return values.size - int(np.count_nonzero(np.isfinite(values)))
