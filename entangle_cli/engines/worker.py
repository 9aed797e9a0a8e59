"""What runs on a cluster's nodes: it imports nothing heavy before it is given work."""

import os
import platform
import socket
from collections.abc import Callable
from typing import Any

from entangle_cli import __version__
from entangle_cli.errors import UsageError


def releases() -> dict[str, str]:
    """What must be the same on all nodes."""
    return {"entangle": __version__, "Python": platform.python_version()}


class Worker:
    """What runs on the cluster: does one unit after another in the folder of the command."""

    def __init__(self, folder: str) -> None:
        # read when torch is imported, which nothing here has done yet
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        self._folder = folder

    def hello(self) -> dict[str, str]:
        """Who it is.

        Raises:
            UsageError: the folder is not there.
        """
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise UsageError(
                f"{self._folder}: not there on {socket.gethostname()} ({error.strerror}); workers "
                "need the folders of the command, on a shared file system"
            ) from None
        return releases()

    def work(self, function: Callable[[Any], Any], task: Any) -> Any:
        """Do one unit."""
        return function(task)
