"""Arrays that lie in a file without a name, for what grows with the data; room on the disk.

The system writes their pages out and takes them back as it needs memory; the space on the disk is
given back when the array is gone, also where the process is killed.
"""

import contextlib
import ctypes
import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

# what file systems answer that cannot reserve space
_NOT_OFFERED = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
# fewer bytes than these do not show beside the programs that work on them
_SPILLED = 1 << 18


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
        reserve(file.fileno(), size)
        return np.asarray(np.memmap(file, dtype, mode="w+", shape=tuple(shape)))


def spilled_array(shape: Sequence[int], dtype: "DTypeLike") -> "np.ndarray":
    """Zeros, where they are many in an unlinked file in the system's folder for such files.

    For a few bytes a sample, kept to the end of a run. A full folder leaves them in memory.
    """
    import numpy as np

    dtype = np.dtype(dtype)
    if dtype.itemsize * int(np.prod(shape, dtype=np.int64)) >= _SPILLED:
        with contextlib.suppress(OSError):
            return scratch_array(shape, dtype, Path(tempfile.gettempdir()))
    return np.zeros(shape, dtype)


def give_back() -> None:
    """Return freed memory to the system, between the steps of a run, where the C library can.

    It keeps what lies between two pieces in use, and steps that follow each other would add up.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reserve(fd: int, size: int) -> None:
    """Claim ``size`` bytes for a file now, so that a full disk shows before the work.

    Raises:
        OSError: ``ENOSPC`` when they are not free.
    """
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is not None:
        try:
            allocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
        else:
            return
    if free_bytes(os.fstatvfs(fd)) < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(fd, size)


def free_bytes(volume: os.statvfs_result) -> int:
    """What anybody may still fill of a file system."""
    return volume.f_bavail * volume.f_frsize
