"""Runs the real command in forks, so that the imports are paid once; started under the shim.

One JSON request per line on stdin, one JSON answer per line on stdout::

    {"do": "start", "argv": [...], "cwd": FOLDER, "fault": [mode, at, argument] or null,
     "log": FILE, "out": FILE, "err": FILE, "commit_bytes": N or null}   ->  {"pid": P}
    {"do": "wait", "pid": P}                       ->  {"status": exit code, or minus the signal}

A child runs `entangle_cli.app.main` with these words as its command line, nothing else.
``commit_bytes`` replaces the amount after which the store commits: a test cannot write gigabytes.
"""

import ctypes
import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import signal
import sys
import traceback
from types import ModuleType

from typer.testing import CliRunner

# a child that hangs says where, and ends with 1
LONGEST = 120
# imported by commands when they run; a fork should not pay for them again
_LIBRARIES = ("torch", "onnx", "onnxruntime", "h5py", "scipy.spatial", "sklearn.metrics", "rich")
_RICH = ("rich.console", "rich.table", "rich.box", "rich.progress", "rich.text")


def preload() -> ModuleType:
    """Import what the commands import late; returns the module that holds ``COMMIT_BYTES``."""
    import entangle_cli
    from entangle_cli.app import app

    skipped = ("entangle_cli.report", "entangle_cli.__main__")
    for name in (*_LIBRARIES, *_RICH):
        importlib.import_module(name)
    for found in pkgutil.walk_packages(entangle_cli.__path__, "entangle_cli."):
        if not found.name.startswith(skipped):
            importlib.import_module(found.name)
    # typer imports more when it parses
    assert CliRunner().invoke(app, ["inspect", "nothing of this name"]).exit_code == 2
    writer = importlib.import_module("entangle_cli.activations.writer")
    assert isinstance(writer.COMMIT_BYTES, int)
    return writer


def child(request: dict, shim: ctypes.CDLL, writer: ModuleType) -> None:
    """Be the command; never returns."""
    for fd, name in ((1, "out"), (2, "err")):
        target = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, fd)
        os.close(target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=2)
    os.chdir(request["cwd"])
    if request["commit_bytes"] is not None:
        writer.COMMIT_BYTES = request["commit_bytes"]
    sys.argv = ["entangle", *request["argv"]]
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    mode, at, argument = request["fault"] or (0, 0, 0)
    folder = ctypes.c_char_p(os.fsencode(request["cwd"]))
    shim.fault_arm(folder, mode, ctypes.c_long(at), argument, log)
    os._exit(_exit_code())


def _exit_code() -> int:
    from entangle_cli.app import main

    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        # what the interpreter would do with it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def wait(pid: int) -> int:
    """The exit code of a child, or minus the signal that ended it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def serve(shim: ctypes.CDLL) -> None:
    """Answer requests until stdin ends."""
    writer = preload()
    # children inherit the default, which ``main`` replaces
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        if request["do"] == "start":
            pid = os.fork()
            if pid == 0:
                child(request, shim, writer)
            answer = {"pid": pid}
        else:
            answer = {"status": wait(request["pid"])}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(ctypes.CDLL(sys.argv[1]))
