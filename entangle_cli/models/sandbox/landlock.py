"""What a process can be kept from for ever: Landlock of Linux, and limits.

Landlock (Linux 5.13 or later) by version: 1 reading and writing files, 4 TCP connections,
6 signals to other processes. `confine` leaves reading of the files that were given, of the
interpreter and of the libraries; nothing can be written, created, removed or executed.
"""

import ctypes
import os
import resource
import stat
import struct
import sys
from collections.abc import Iterable

# system calls, of one number on all machines that Linux was ported to since 2011
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
# rights over files by the version that introduced them: 1, 2 (move), 3 (truncate), 5 (ioctl)
_RIGHTS = ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1))
_TCP, _SCOPED = 0b11, 0b11

_READABLE = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/proc/meminfo", "/proc/self",
    "/sys/devices/system", "/dev/urandom",
)  # fmt: skip
# what is written to it is nowhere; libraries that torch imports open it for writing (dill)
_SINK = "/dev/null"


def landlock_version() -> int:
    """The version of Landlock that this kernel has, 0 for none; then the limits alone hold."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _system_call(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def confine(readable: Iterable[str], memory: int) -> int:
    """Confine this process, for ever; returns the version of Landlock, 0 where there is none.

    ``memory`` is the most private memory in bytes. Files it writes have no length, and it leaves
    no core dump.

    Raises:
        OSError: the kernel has Landlock but refuses the rules.
    """
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_DATA, memory),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    version = landlock_version()
    if version:
        own = (sys.prefix, sys.base_prefix, sys.exec_prefix)
        _restrict(version, [_SINK, *_READABLE, *own, *readable])
    return version


def machine_memory() -> int:
    """Bytes of memory that this process may hope for: the machine's, or its control group's."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            return min(total, int(file.read()))
    except (OSError, ValueError):
        return total


def _restrict(version: int, readable: Iterable[str]) -> None:
    rights = next(rights for since, rights in _RIGHTS if version >= since)
    attributes = struct.pack("=Q", rights)
    if version >= 4:
        attributes += struct.pack("=Q", _TCP)
    if version >= 6:
        attributes += struct.pack("=Q", _SCOPED)
    rules = _checked(_system_call(_CREATE_RULESET, attributes, len(attributes), 0))
    for path in dict.fromkeys(readable):
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)
        if path == _SINK and stat.S_ISCHR(os.stat(place).st_mode):
            allowed |= rights & (_WRITE_FILE | _TRUNCATE)
        rule = struct.pack("=Qi", allowed, place)
        _checked(_system_call(_ADD_RULE, rules, _PATH_BENEATH, rule, 0))
        os.close(place)
    _checked(_libc().prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(_system_call(_RESTRICT_SELF, rules, 0))
    os.close(rules)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    call = _libc().syscall
    call.restype = ctypes.c_long
    return call(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result
