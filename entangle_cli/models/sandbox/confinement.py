"""Code of ours that works on a stranger's file, in a child process that can do little else.

The child confines itself before it imports anything that has threads (`child`), so that every
thread it ever starts is confined. What holds it, each layer by itself:

* Landlock (`landlock`): it reads what it was given and its libraries, and writes nothing;
* limits: private memory (``RLIMIT_DATA``), files of no length (``RLIMIT_FSIZE``), no core dumps;
* time: the parent kills the child's whole session when the time for an answer is up;
* little to find: the child has few environment variables, and its answers are numbers and text
  of bounded length (`channel`), never a pickle.

Not held: reading what lies on ``sys.path``, UDP and other sockets, processor time within the time
limit, and faults of the kernel.
"""

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import entangle_cli
from entangle_cli.errors import EntangleError, ModelError
from entangle_cli.models.sandbox.channel import Channel, ChannelClosed, NoAnswer, Nonsense
from entangle_cli.models.sandbox.landlock import landlock_version, machine_memory
from entangle_cli.text import plain

__all__ = ["Confined", "Limits", "call_confined", "landlock_version"]

FAILURES = (EntangleError, OSError, RuntimeError, ValueError, TypeError, KeyError)
"""What a function that reads a stranger's file may raise; anything else ends the child."""

_ENVIRONMENT = (
    "PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "LD_LIBRARY_PATH",
    "TORCH_CPP_LOG_LEVEL",
)  # fmt: skip
_SERVE = "import sys; from entangle_cli.models.sandbox.child import serve; serve(int(sys.argv[1]))"
_HOME = Path(entangle_cli.__file__).resolve().parent


@dataclass(frozen=True)
class Limits:
    """What a child may use: wall-clock seconds for an answer, and bytes of private memory."""

    seconds: float = 600.0
    memory: int = field(default_factory=machine_memory)


class Confined:
    """A child that runs ``module:function(channel, **arguments)``.

    ``readable`` are the files and folders that it may read beside its libraries. It ends with this
    object, and with this process.
    """

    def __init__(
        self,
        target: str,
        arguments: Mapping[str, Any],
        *,
        readable: Sequence[Path],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        here, there = socket.socketpair()
        # what is imported from the current folder by accident would be readable there
        path = [place for place in sys.path if place and place != os.getcwd()]
        environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        with there:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE, str(there.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                env={**environment, "PYTHONPATH": os.pathsep.join([*path, str(_HOME.parent)])},
                start_new_session=True,
            )
        self._process = process
        self._channel = Channel(here, largest=self.limits.memory)
        self.close = weakref.finalize(self, _end, process, self._channel)
        setup = {
            "target": target,
            "arguments": dict(arguments),
            "readable": [str(_HOME), *(os.path.abspath(place) for place in readable)],
            "memory": self.limits.memory,
            "path": path,
        }
        self.wait(self.limits.seconds)
        # short enough for the pipe, so that nobody waits for a child that does not read
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(json.dumps(setup).encode())

    def wait(self, seconds: float) -> None:
        """From now on, give it so much time."""
        self._given, self._until = seconds, time.monotonic() + seconds

    def send(self, message: Any) -> None:
        """Ask something.

        Raises:
            ModelError: the child is gone, or does not listen within the time of the limits.
        """
        self.wait(self.limits.seconds)
        with self._explained():
            self._channel.send(message, until=self._until)

    def receive(self) -> Any:
        """The next part of the answer, before the time since the last `send` or `wait` is up.

        Raises:
            ModelError: the child is gone, takes too long, or sends what is no message.
        """
        with self._explained():
            return self._channel.receive(until=self._until)

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except NoAnswer:
            self.close()
            raise ModelError(f"stopped after {self._given:g} s without an end") from None
        except Nonsense:
            self.close()
            raise
        except ChannelClosed:
            self.close()
            code = self._process.returncode
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise ModelError(
                f"the confined process ended {how} and without an answer; it may have met its "
                f"limit of {self.limits.memory / 2**30:.1f} GiB"
            ) from None


def call_confined(
    target: str,
    arguments: Mapping[str, Any],
    *,
    readable: Sequence[Path],
    limits: Limits | None = None,
) -> Any:
    """The result of ``module:function(**arguments)`` in a confined child: JSON and arrays.

    Raises:
        ModelError: the function raised, took too long or too much memory, or the child crashed.
    """
    once = {"target": target, "arguments": dict(arguments)}
    child = Confined(f"{__name__}:answer_once", once, readable=readable, limits=limits)
    try:
        answer = child.receive()
    finally:
        child.close()
    if not isinstance(answer, dict) or "result" not in answer:
        failure = answer.get("error") if isinstance(answer, dict) else None
        raise ModelError(plain(str(failure))[:500])
    return answer["result"]


def _end(process: subprocess.Popen, channel: Channel) -> None:
    """End a child: at once if it has hung up, by force if it has not ended soon after."""
    channel.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    if process.returncode is None:
        # not reaped yet, so the number is still its own; what it started is of its session
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answer_once(channel: Channel, target: str, arguments: Mapping[str, Any]) -> None:
    """Call a function in the child and send what it returns."""
    try:
        answer = {"result": _function(target)(**arguments)}
    except MemoryError:
        answer = {"error": "more memory asked for than is allowed"}
    except FAILURES as failure:
        answer = {"error": first_line(failure)}
    channel.send(answer)


def first_line(failure: Exception) -> str:
    """What an exception says, without everything after the first line."""
    return next(iter(str(failure).splitlines()), "") or type(failure).__name__


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
