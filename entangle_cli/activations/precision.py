"""Numbers as they are stored, without a loss that nobody hears of."""

import numpy as np

from entangle_cli.errors import StoreError
from entangle_cli.text import plain


def as_stored(name: str, values: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """``values`` in the stored type, contiguous and little-endian, and how many are not finite.

    NaN and infinities of the network are kept and counted. Rounding to the stored type is
    accepted; a finite number that would become infinite, or an integer that would change, is not.

    Raises:
        StoreError: a value does not fit ``dtype``, or values are not real numbers.
    """
    if values.dtype.kind not in "fbiu":
        raise StoreError(
            f"layer {plain(name)}: gives {values.dtype}, not real numbers; leave it out"
        )
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    finite = np.isfinite(stored)
    nonfinite = stored.size - int(np.count_nonzero(finite))
    lost = np.isfinite(values) & ~finite if nonfinite else None
    if values.dtype.kind in "iu":
        lost = stored != values.astype(np.float64)
    if lost is not None and lost.any():
        raise StoreError(
            f"layer {plain(name)}: {values[lost].flat[0]} does not fit {dtype}; give --dtype "
            f"{'float64' if dtype == 'float32' else 'float32'}"
        )
    return stored, nonfinite
