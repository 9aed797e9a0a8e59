"""Where people read: the result on stdout, everything else on stderr."""

import sys
import time
from typing import TYPE_CHECKING

from entangle_cli.runs.shared.run_options import Format
from entangle_cli.text import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from entangle_cli.results import Result

_SECONDS_BETWEEN_LINES = 30.0


class Terminal:
    """Messages and progress on stderr; implements `entangle_cli.progress.Progress`.

    A bar on a terminal, a line now and then otherwise, nothing but errors with ``quiet``.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        from rich.console import Console

        self.quiet, self.verbose = quiet, verbose
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = None
        self._task = None
        self._name, self._total, self._done = "", 0, 0
        self._began_at = self._said_at = 0.0

    def note(self, message: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            self._say(plain(message))

    def detail(self, message: str) -> None:
        """Something only ``--verbose`` asks for."""
        if self.verbose:
            self._say(plain(message))

    def warn(self, message: str) -> None:
        """Something that may make the numbers mean less."""
        if not self.quiet:
            self._say(f"warning: {plain(message)}", style="yellow")

    def error(self, message: str) -> None:
        """What went wrong, in one line."""
        self._say(f"error: {plain(message)}", style="red")

    def _say(self, text: str, style: str = "") -> None:
        self._err.print(text, style=style, markup=False)

    def start(self, task: str, total: int) -> None:
        """Begin a step of ``total`` units; one that an error has left open ends."""
        self.finish()
        self._begin(task, total)
        if self._err.is_terminal and not self.quiet:
            self._bar = progress_bar(self._err)
            self._task = self._bar.add_task(self._name, total=total)
            self._bar.start()

    def _begin(self, task: str, total: int) -> None:
        self._name, self._total, self._done = plain(task), total, 0
        self._began_at = self._said_at = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        """Count ``amount`` units as done."""
        self._done += amount
        if not self._total:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done)
        elif not self.quiet and time.monotonic() - self._said_at > _SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            left = (
                (self._said_at - self._began_at) / max(1, self._done) * (self._total - self._done)
            )
            self._say(f"{self._name}: {self._done} of {self._total}, {duration(left)} left")

    def finish(self) -> None:
        """End the step."""
        self._total = 0
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 1:
        return "0 s" if seconds == 0 else "< 1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def progress_bar(console):
    """A bar with the count and the time left, not yet drawn."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Remaining(),
        console=console,
        transient=True,
    )


def show(result: "Result", format: Format, table: "RenderableType") -> None:
    """Print the result on stdout, as JSON, CSV or the given table."""
    if format is Format.json:
        sys.stdout.write(result.to_json(ascii=not speaks_unicode()) + "\n")
    elif format is Format.csv:
        sys.stdout.write(result.to_csv())
    else:
        stdout_console().print(table)


def stdout_console():
    """A console on stdout; wide where nobody's terminal sets the width."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(file=sys.stdout, highlight=False, width=width)


def speaks_unicode() -> bool:
    """Whether stdout can show block characters."""
    try:
        "▁█…∞".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
