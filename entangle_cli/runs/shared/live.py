"""What ``entangle measure --watch`` shows while it grows.

On a terminal the table stands still and is drawn anew, with the progress below it and messages
above it; otherwise each checkpoint is a line, and the table comes at the end.
"""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from entangle_cli.results import Result
from entangle_cli.runs.measure.pairs import with_pairs
from entangle_cli.runs.shared.console import Terminal, progress_bar, show, stdout_console
from entangle_cli.runs.shared.run_options import Format
from entangle_cli.runs.shared.tables import measure_table, number, percent
from entangle_cli.text import plain

if TYPE_CHECKING:
    from rich.console import Console, Group

_TABLES = (Format.auto, Format.table)


class Board:
    """Lines on stdout, where the result is a table; on stderr, where stdout is for a program."""

    def __init__(self, format: Format, *, quiet: bool = False, verbose: bool = False) -> None:
        self.format = format
        self.terminal: Terminal = Terminal(quiet=quiet, verbose=verbose)

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def add(self, result: Result, newest: str) -> None:
        """Show what there is now; the checkpoint ``newest`` is new in it."""
        line = checkpoint_line(result, newest)
        if self.format in _TABLES:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        else:
            self.terminal.note(line)

    def end(self, result: Result) -> None:
        """Show the whole result."""
        show(result, self.format, with_pairs(measure_table(result), result))


class LiveBoard(Board):
    """One table on a terminal."""

    def __init__(self, format: Format, *, quiet: bool = False, verbose: bool = False) -> None:
        from rich.live import Live

        super().__init__(format)
        console = stdout_console()
        self._result: Result | None = None
        self.terminal: LiveTerminal = LiveTerminal(console, quiet=quiet, verbose=verbose)
        # what stands in for a redirected stdout does not tell its encoding
        self._live = Live(
            console=console,
            get_renderable=self._drawn,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "Board":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.finish()
        self._live.stop()

    def add(self, result: Result, newest: str) -> None:
        """Draw the table anew."""
        self._result = result
        self._live.refresh()

    def end(self, result: Result) -> None:
        """The table stays where it is."""

    def _drawn(self) -> "Group":
        from rich.console import Group

        table = [] if self._result is None else [measure_table(self._result)]
        bar = self.terminal.bar
        return Group(*table, *([] if bar is None else [bar]))


class LiveTerminal(Terminal):
    """Messages above the live table, the progress in it."""

    def __init__(self, console: "Console", *, quiet: bool, verbose: bool) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._out = console

    @property
    def bar(self):
        """The progress to draw, None where there is none."""
        return self._bar

    def _say(self, text: str, style: str = "") -> None:
        # where stderr goes elsewhere, messages go with it
        console = self._out if self._err.is_terminal else self._err
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def start(self, task: str, total: int) -> None:
        """Begin a step of ``total`` units."""
        self.finish()
        self._begin(task, total)
        if not self.quiet:
            self._bar = progress_bar(self._out)
            self._task = self._bar.add_task(self._name, total=total)

    def finish(self) -> None:
        """End the step."""
        self._total = 0
        self._bar = None


def board(format: Format, *, quiet: bool, verbose: bool) -> Board:
    """What suits this stdout and format."""
    drawable = sys.stdout.isatty() and not stdout_console().is_dumb_terminal
    live = format in _TABLES and drawable
    return (LiveBoard if live else Board)(format, quiet=quiet, verbose=verbose)


def checkpoint_line(result: Result, name: str) -> str:
    """One checkpoint in a line: its accuracy, its least and its most entangled layer."""
    rows = [row for row in result.rows if row["model"] == name]
    model = next((model for model in result.models if model["model"] == name), {})
    parts = [plain(name) if model.get("step") is None else f"{plain(name)} (step {model['step']})"]
    if model.get("accuracy") is not None:
        parts.append(f"accuracy {percent(model['accuracy'])}")
    known = sorted(
        (row["entanglement"], row["layer"]) for row in rows if row["entanglement"] is not None
    )
    if known:
        ends = known[:1] if len(known) == 1 else (known[0], known[-1])
        shown = " to ".join(f"{number(value)} ({plain(layer)})" for value, layer in ends)
        parts.append(f"entanglement {shown}")
    return f"{parts[0]}: {', '.join(parts[1:]) or f'{len(rows)} layers'}"
