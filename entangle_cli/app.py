"""The command line: registers the commands, turns errors into one line and an exit code.

0 done · 1 a bug here (with a traceback) · 2 wrong use or bad input · 3 partly done, what is
committed is kept · 4 a ``--fail-if`` gate · 130 / 143 / 129 stopped by a signal.
"""

import contextlib
import errno
import functools
import os
import shlex
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from entangle_cli import __version__
from entangle_cli.commands import (
    attack,
    between,
    demo,
    dknn,
    doctor,
    dump,
    inspect,
    layers,
    map,
    measure,
    merge,
    ood,
    report,
    reproduce,
    score,
    search,
    train,
    verify,
)
from entangle_cli.commands.usage import OneLineUsage
from entangle_cli.errors import EntangleError
from entangle_cli.results import invocation
from entangle_cli.runs.shared.impatience import end_at_second_signal
from entangle_cli.runs.shared.stopping import Stopped, stop_at, stop_no_more
from entangle_cli.text import plain, shortened

# rich help would double the time of --help
app = typer.Typer(
    name="entangle",
    cls=OneLineUsage,
    help="Measure how entangled the classes are in the layers of saved models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_STOPPED = "stopped; what was committed is kept, the same command resumes"
# beyond it a message is a name made to fill the terminal; two paths of ordinary length fit
_LONGEST = 1200
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _answering(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with its errors turned into one line on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except EntangleError as error:
            line, code = f"error: {plain(str(error))}", error.exit_code
        except (Stopped, KeyboardInterrupt) as stop:
            line, code = _STOPPED, getattr(stop, "exit_code", 128 + signal.SIGINT)
        except BrokenPipeError:
            # the reader of our stdout is gone (| head); nothing is left to say
            raise typer.Exit(0) from None
        except (OSError, MemoryError) as error:
            line, code = _out_of_our_hands(error)
        else:
            return
        if Stopped.last:
            # a library in whose callback the signal came may have made another error of it
            line, code = _STOPPED, 128 + Stopped.last
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{shortened(line, _LONGEST)}\n")
        raise typer.Exit(code)

    return run


def _out_of_our_hands(error: OSError | MemoryError) -> tuple[str, int]:
    """What the machine refused, in one line, and the exit code: 3 where a rerun goes on."""
    if isinstance(error, MemoryError):
        return "error: not enough memory; give a smaller --batch-size or --limit", 3
    where = "" if error.filename is None else f"{plain(str(error.filename))}: "
    line = f"error: {where}{plain(error.strerror or str(error))}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{line}; free some space, then the same command resumes", 3
    if error.errno == errno.EIO:
        return f"{line}; once the disk works, the same command resumes", 3
    return f"{line}; check the path and its permissions", 2


_COMMANDS = (
    measure, dknn, ood, between, map, score, attack, dump, merge, layers, inspect, verify, report,
    train, search, reproduce, demo, doctor,
)  # fmt: skip
for module in _COMMANDS:
    name = module.__name__.rpartition(".")[2]
    app.command(name)(_answering(getattr(module, name)))


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"entangle {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    # threads that spin while they wait make a shared machine many times slower; read by OpenMP
    # when torch is imported, which no command has done yet
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # remarks on its own future that torch writes past Python's warnings; read by torch likewise
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        stop_at(_SIGNALS)
        end_at_second_signal(_SIGNALS)
        _open_streams()
        invocation.set(shlex.join(["entangle", *sys.argv[1:]]))
        app()
    except BaseException as error:
        # the first thing: a call would let a signal in
        Stopped.too_late = True
        # stopped outside of a command, or an error that a library made of being stopped
        line, code = _STOPPED, 128 + Stopped.last
        if not Stopped.last and isinstance(error, OSError):
            # --help or --version into a full disk
            line, code = _out_of_our_hands(error)
        elif not Stopped.last or isinstance(error, SystemExit):
            raise
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{shortened(line, _LONGEST)}\n")
        raise SystemExit(code) from None
    finally:
        # nothing is left to commit
        stop_no_more(_SIGNALS)
        _let_go_of_stdout()


def _open_streams() -> None:
    """Streams that accept any text: a closed one becomes a sink, odd characters become escapes."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    sys.stdout.reconfigure(errors="backslashreplace")


def _let_go_of_stdout() -> None:
    """Leave nothing in the buffer that the interpreter would fail to write at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
