"""What a confined child does first: confine itself, before a library starts threads."""

import importlib
import json
import os
import socket
import sys
import tempfile
import threading
import time

from entangle_cli.models.sandbox.landlock import confine


def serve(number: int) -> None:
    """Do what stdin says; the other end of the socket ``number`` is told what comes of it."""
    setup = json.load(sys.stdin)
    sys.path[:] = setup["path"]
    # torch asks for a folder of temporary files when it is first run; this one is never written to
    tempfile.tempdir = os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.sep
    confine([*setup["readable"], *setup["path"]], setup["memory"])
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    # it imports numpy, which starts threads
    from entangle_cli.models.sandbox.channel import Channel, ChannelClosed

    module, _, name = setup["target"].partition(":")
    channel = Channel(socket.socket(fileno=number), largest=sys.maxsize)
    try:
        getattr(importlib.import_module(module), name)(channel, **setup["arguments"])
    except ChannelClosed:
        pass
    # no destructor of a stranger's object is waited for
    os._exit(0)


def _end_with_parent(parent: int) -> None:
    """Not by PR_SET_PDEATHSIG: it means the thread of the parent that started this process."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
