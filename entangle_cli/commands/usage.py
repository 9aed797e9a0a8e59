"""A wrong command line answered like every other mistake: in one line on stderr."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from entangle_cli.text import plain

# typer has no public name for it
_WrongUsage: type[Exception] = typer.BadParameter.__bases__[0]


class OneLineUsage(TyperGroup):
    """A group of commands whose usage errors are one ``error:`` line, exit code 2."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command that the words of the command line name, and exit."""
        try:
            code = super().main(*args, **options | {"standalone_mode": False})
        except _WrongUsage as error:
            command = error.ctx.command_path if error.ctx else "entangle"
            message = " ".join(error.format_message().split()).rstrip(".")
            if type(error).__name__ == "NoArgsIsHelpError":
                # no mistake, a question: its message is the help
                error.show()
            else:
                sys.stderr.write(f"error: {plain(message)}; '{command} --help' has the options\n")
            code = 2
        sys.exit(code)
