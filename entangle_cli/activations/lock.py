"""One writer per output, also where file systems do not lock.

The lock is the file ``NAME.lock`` with the writer's process, host and boot in it. On one machine
the kernel's ``flock`` on it tells whether the writer is alive; where that is not offered, the
process number does. A dead writer's lock is taken over; another host's is never touched.
"""

import contextlib
import fcntl
import json
import os
import socket
from pathlib import Path

from entangle_cli.activations.schema import lock_path
from entangle_cli.errors import StoreError
from entangle_cli.text import parse_json

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ATTEMPTS = 16


class OutputLock:
    """Held from `acquire` to `release`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def acquire(cls, output: Path) -> "OutputLock":
        """Lock the store at ``output``.

        Raises:
            StoreError: somebody else is writing it.
            OSError: the lock file cannot be made here.
        """
        path = lock_path(output)
        for _ in range(_ATTEMPTS):
            fd, new = _open(path)
            try:
                alone = _flock(fd)
                if not _is_at(fd, path):
                    # its writer finished and removed it in between
                    os.close(fd)
                    continue
                if not new or alone is False:
                    _refuse_if_held(output, path, fd, alone)
                _sign(fd)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(fd)
                raise
            return cls(path, fd)
        raise StoreError(f"{output}: its lock {path.name} keeps changing hands; try again")

    def release(self) -> None:
        """Let the next writer in."""
        # unlinked before closed: nobody may lock a file that is about to lose its name
        with contextlib.suppress(OSError):
            if _is_at(self._fd, self.path):
                self.path.unlink()
        os.close(self._fd)


def _open(path: Path) -> tuple[int, bool]:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644), False


def _flock(fd: int) -> bool | None:
    """True: nobody on this machine holds it; False: somebody does; None: cannot be told."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _refuse_if_held(output: Path, path: Path, fd: int, alone: bool | None) -> None:
    holder = _holder(fd)
    if not _held(holder, alone):
        return
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    hint = "" if alone is False else f"; if that has died, delete {path}"
    raise StoreError(
        f"{output}: is being written by {who}; wait for it or give another output{hint}"
    )


def _held(holder: dict | None, alone: bool | None) -> bool:
    if alone is False:
        return True
    if holder is None:
        # no name in it: its maker died between creating and signing, or is just about to
        return alone is None
    here = _signature()
    same_boot = holder["boot"] == here["boot"]
    if holder["host"] != here["host"] and not (same_boot and here["boot"]):
        return True
    return not alone and same_boot and _alive(holder["pid"])


def _holder(fd: int) -> dict | None:
    try:
        value = parse_json(os.pread(fd, 4096, 0))
        return {"pid": int(value["pid"]), "host": str(value["host"]), "boot": str(value["boot"])}
    except (ValueError, KeyError, TypeError):
        return None


def _signature() -> dict:
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return {"pid": os.getpid(), "host": socket.gethostname(), "boot": boot}


def _sign(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(_signature()).encode(), 0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return pid != os.getpid()
