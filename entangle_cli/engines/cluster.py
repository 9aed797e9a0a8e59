"""Reaching a Ray cluster, or starting a private one that nobody else can reach.

A private cluster listens on the loopback interface only, wants a token that is made anew each
time, has no dashboard and sends no usage statistics; its files are removed with it.
"""

import contextlib
import importlib
import io
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entangle_cli.errors import UsageError

LOCAL = "local"
_PREFLIGHT_SECONDS = 3.0
_FOLDER = "entangle-ray-"
_OBJECT_STORE_BYTES = 100_000_000
# tokens came with 2.52, and what they leave open was closed in 2.54
OLDEST_RAY = (2, 54)
_PRIVATE = {
    "RAY_AUTH_MODE": "token",
    # Ray's name for staying on the loopback interface, on any system
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_QUIET = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def import_ray() -> Any:
    """The ray package.

    Raises:
        UsageError: it is not installed, or too old.
    """
    try:
        # it puts handlers of its own in place of those that commit what is done
        with kept_signals():
            ray = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UsageError(
            "--engine ray: Ray is not installed; pip install 'entangle-cli[ray]', or leave out "
            "--engine"
        ) from None
    release = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if release < OLDEST_RAY:
        raise UsageError(
            f"--engine ray: Ray {ray.__version__} is installed, whose authentication has known "
            f"holes; install {'.'.join(map(str, OLDEST_RAY))} or later"
        )
    return ray


def connect(address: str, *, workers: int | None, threads: int) -> tuple[Any, Path | None]:
    """Join the cluster at ``address``, or start a private one for ``local``.

    Args:
        address: ``local``, ``auto`` or HOST:PORT.
        workers: how many a private cluster has room for; None: as many as processors.
        threads: processors for each.

    Returns:
        The ray package, and the folder of a private cluster.

    Raises:
        UsageError: no Ray, or nothing answers at the address.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address == LOCAL:
        return _start_private(workers, threads)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = import_ray()
    found = _current_cluster() if address == "auto" else address
    _preflight(address, found)
    _init(ray, found, address=found)
    return ray, None


def disconnect(ray: Any, folder: Path | None) -> None:
    """Leave the cluster; a private one ends."""
    ray.shutdown()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _start_private(workers: int | None, threads: int) -> tuple[Any, Path]:
    os.environ |= _PRIVATE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    ray = import_ray()
    processors = (workers or max(1, len(os.sched_getaffinity(0)) // threads)) * threads
    _remove_left()
    # sockets lie in it, whose paths must be short
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir="/tmp"))
    try:
        _init(
            ray,
            LOCAL,
            address=LOCAL,
            num_cpus=processors,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=str(folder),
            _node_ip_address="127.0.0.1",
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return ray, folder


def _remove_left() -> None:
    """Remove the folders of our clusters whose commands were killed."""
    for folder in Path("/tmp").glob(f"{_FOLDER}*-*"):
        number = folder.name.removeprefix(_FOLDER).partition("-")[0]
        with contextlib.suppress(OSError):
            ours = number.isdecimal() and folder.stat().st_uid == os.getuid()
            if ours and not Path(f"/proc/{number}").exists():
                shutil.rmtree(folder, ignore_errors=True)


def _init(ray: Any, where: str, **options: Any) -> None:
    refused = (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError)
    try:
        with kept_signals():
            ray.init(**options, namespace="entangle", log_to_driver=False, logging_level="ERROR")
    except refused as error:
        raise UsageError(f"--address {where}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Why Ray refuses, in one line."""
    chain: list[BaseException] = [error]
    while (deeper := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(deeper)
    if any("AuthToken" in str(one) or "uthentication" in str(one) for one in chain):
        return (
            "the cluster's token is missing here or another; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )
    lines = str(error).strip().splitlines()
    return f"Ray refuses: {lines[0] if lines else type(error).__name__}"


def _current_cluster() -> str:
    """The cluster that this machine belongs to."""
    given = os.environ.get("RAY_ADDRESS", "")
    if given and given != "auto":
        return given
    folder = os.environ.get("RAY_TMPDIR", "/tmp")
    try:
        return (Path(folder) / "ray" / "ray_current_cluster").read_text().strip()
    except OSError:
        raise UsageError(
            "--address auto: this machine belongs to no Ray cluster (RAY_ADDRESS is not set); "
            "give HOST:PORT, or --address local"
        ) from None


def _preflight(given: str, address: str) -> None:
    """Ray itself tries a dead address for minutes.

    Raises:
        UsageError: nothing answers there.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "://" in address:
        raise UsageError(f"--address {address}: give auto, local, or HOST:PORT of a Ray head")
    try:
        reason = _greeting((host.strip("[]"), int(port)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason is not None:
        shown = given if given == address else f"{given} ({address})"
        raise UsageError(
            f"--address {shown}: no Ray head answers: {reason}; start one with 'ray start "
            "--head', or give --address local"
        )


def _greeting(place: tuple[str, int]) -> str | None:
    """What is wrong with what listens there, None where it speaks as Ray's servers do."""
    with socket.create_connection(place, _PREFLIGHT_SECONDS) as link:
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
            return None
        # HTTP/2 (RFC 9113, section 3.4), on which gRPC runs: each side begins with its settings
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        frame = link.recv(9)
    return None if len(frame) > 3 and frame[3] == 4 else "what listens there is no gRPC server"


@contextlib.contextmanager
def kept_signals() -> Iterator[None]:
    """Signal handlers are afterwards what they were."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            # only the main thread may
            with contextlib.suppress(ValueError, TypeError):
                signal.signal(number, handler)


@contextlib.contextmanager
def _stderr_aside() -> Iterator[None]:
    """Drop what Ray's own threads write to stderr meanwhile; what matters is raised."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def stdout_aside() -> Iterator[None]:
    """Keep what Ray prints on stdout away from the result; it says nothing that we do not."""
    with contextlib.redirect_stdout(_Nowhere()):
        yield


class _Nowhere(io.TextIOBase):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def fileno(self) -> int:
        return sys.__stdout__.fileno() if sys.__stdout__ else -1
