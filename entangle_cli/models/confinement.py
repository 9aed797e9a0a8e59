"""A function of ours called on a stranger's file in a child process that can do little else.

The child confines itself before it imports anything that reads the file, so that every thread it
ever starts is confined. What holds it, each layer by itself:

* Landlock (Linux 5.13 or later): it may read the files it was given, the interpreter and the
  libraries, and nothing else; it writes, creates, removes and executes nothing, and from version 4
  on opens no TCP connection, from version 6 on signals no other process;
* limits: private memory (``RLIMIT_DATA``), files of no length (``RLIMIT_FSIZE``), no core dumps;
* time: the parent kills the child's whole session when the time is up;
* little to find: the child has few environment variables, and its answer is JSON of bounded
  length, never a pickle.

Not held: reading what lies on ``sys.path``, UDP and other sockets, processor time within the time
limit, and faults of the kernel. Landlock and CUDA have not been tried together: the child would
need to write to ``/dev/nvidia*``. No command uses this yet.
"""

import ctypes
import importlib
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entangle_cli.errors import EntangleError, ModelError
from entangle_cli.text import plain

# system calls, of one number on all machines that Linux was ported to since 2011
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
# rights over files by the version that introduced them: 1, 2 (move), 3 (truncate), 5 (ioctl)
_RIGHTS = ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1))
_TCP, _SCOPED = 0b11, 0b11

_ANSWER_LIMIT = 64 * 2**20
_READABLE = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/proc/meminfo", "/proc/self",
    "/sys/devices/system", "/dev/null", "/dev/urandom",
)  # fmt: skip
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LD_LIBRARY_PATH")
_FAILURES = (EntangleError, OSError, MemoryError, RuntimeError, ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class Limits:
    """What a child may use: wall-clock seconds, and bytes of private memory."""

    seconds: float = 600.0
    memory: int = 8 * 2**30


def landlock_version() -> int:
    """The version of Landlock that this kernel has, 0 for none; then the limits alone hold."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _system_call(_CREATE_RULESET, None, 0, _VERSION_FLAG))


def call_confined(
    target: str,
    arguments: Mapping[str, Any],
    *,
    readable: Sequence[Path],
    limits: Limits | None = None,
) -> Any:
    """The result of ``module:function(**arguments)`` in a confined child; all of it is JSON.

    ``readable`` are the files and folders that the child may read beside its libraries.

    Raises:
        ModelError: the function raised, took too long or too much memory, or the child crashed.
    """
    limits = limits or Limits()
    request = {
        "target": target,
        "arguments": dict(arguments),
        "readable": [os.path.abspath(path) for path in readable],
        "memory": limits.memory,
        "path": [entry for entry in sys.path if entry],
    }
    environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    with subprocess.Popen(
        [sys.executable, "-c", "from entangle_cli.models import confinement as c; c.serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": os.pathsep.join(request["path"])},
        start_new_session=True,
    ) as child:
        try:
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
            answer = _received(child.stdout.fileno(), limits)
            _await_end(child.pid)
        finally:
            # not reaped yet, so the number is still its own; what it started is of its session
            os.killpg(child.pid, signal.SIGKILL)
    return _understood(answer, child.returncode, limits)


def _received(source: int, limits: Limits) -> bytes:
    """All that the child says, until it is done.

    Raises:
        ModelError: it takes too long, or says too much.
    """
    end = time.monotonic() + limits.seconds
    answer = bytearray()
    while True:
        ready, _, _ = select.select([source], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise ModelError(f"stopped after {limits.seconds:g} s without an end; allow more time")
        part = os.read(source, 2**16)
        if not part:
            return bytes(answer)
        answer += part
        if len(answer) > _ANSWER_LIMIT:
            raise ModelError(f"stopped: it answered with more than {_ANSWER_LIMIT >> 20} MiB")


def _await_end(pid: int, seconds: float = 5.0) -> None:
    """Give a child that has said everything the time to end by itself."""
    end = time.monotonic() + seconds
    how = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, pid, how) is None and time.monotonic() < end:
        time.sleep(0.01)


def _understood(answer: bytes, code: int, limits: Limits) -> Any:
    try:
        content = json.loads(answer)
        failure = content["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise ModelError(
            f"the confined process ended {how} and without an answer; it may have met its limit of "
            f"{limits.memory / 2**30:.1f} GiB"
        ) from None
    if failure is not None:
        raise ModelError(plain(str(failure))[:500])
    return content["result"]


def serve() -> None:
    """What the child does: confine itself, call, answer on what was its stdout."""
    request = json.load(sys.stdin)
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.path[:] = request["path"]
    # torch asks for a folder of temporary files when it is first run; this one is never written to
    tempfile.tempdir = os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.sep
    confine([*request["readable"], *request["path"]], request["memory"])
    module, _, name = request["target"].partition(":")
    error, result = None, None
    try:
        result = getattr(importlib.import_module(module), name)(**request["arguments"])
    except MemoryError:
        error = f"more memory asked for than the {request['memory'] / 2**30:.1f} GiB allowed"
    except _FAILURES as failure:
        error = next(iter(str(failure).splitlines()), "") or type(failure).__name__
    data = json.dumps({"error": error, "result": result}).encode()
    while data:
        data = data[os.write(answers, data) :]
    # no destructor of a stranger's object is waited for
    os._exit(0)


def confine(readable: Iterable[str], memory: int) -> int:
    """Confine this process, for ever; returns the version of Landlock, 0 where there is none.

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
        _restrict(version, [*_READABLE, *own, *readable])
    return version


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


def examine(path: str, *, trust: bool = False) -> dict[str, Any]:
    """Inputs and layers of the model at ``path``: what `call_confined` is meant for first."""
    from entangle_cli.models.opening import open_model

    model = open_model(path, trust=trust)
    inputs = [[spec.name, spec.dtype, spec.shape] for spec in model.inputs]
    layers = [[layer.name, layer.kind, layer.shape] for layer in model.layers()]
    return {"sha256": model.sha256, "inputs": inputs, "layers": layers, "notes": model.notes}
