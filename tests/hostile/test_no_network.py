"""No command looks anything up: every attempt to name or reach another machine is seen here."""

import shlex
import subprocess
import sys

import pytest

# the audit events of Python for names and connections; what they see ends the process
WATCHED = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        os.write(2, f"REACHED OUT: {event} {arguments}".encode())
        os._exit(99)
sys.addaudithook(watch)
from entangle_cli.app import main
sys.argv[0] = "entangle"
main()
"""


def watched(words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", WATCHED, *shlex.split(words)], capture_output=True, text=True
    )


@pytest.mark.parametrize("words", ["measure vec.onnx vec.npz", "dump net.pt images.npz", "doctor"])
def test_no_command_reaches_out(make_bench, words):
    make_bench("network")
    done = watched(words)
    assert done.returncode == 0, done.stderr


def test_the_watch_sees_a_connection():
    broken = WATCHED.replace("main()", "import socket; socket.create_connection(('127.0.0.1', 9))")
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True)
    assert done.returncode == 99
    assert "REACHED OUT" in done.stderr
