"""Arrays that lie in a file without a name, for what grows with the data.

The system writes their pages out and takes them back as it needs memory; the space on the disk is
given back when the array is gone, also where the process is killed.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike


def scratch_array(shape: Sequence[int], dtype: "DTypeLike", folder: Path | None) -> "np.ndarray":
    """An array to be filled, in an unlinked file in ``folder``, or in memory where that is None.

    Raises:
        OSError: the folder is missing, or the disk has no room for all of it.
    """
    import numpy as np

    dtype = np.dtype(dtype)
    size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if folder is None or size == 0:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:
        # a full disk is an error now, and not a bus error when a page is written
        os.posix_fallocate(file.fileno(), 0, size)
        return np.asarray(np.memmap(file, dtype, mode="w+", shape=tuple(shape)))
